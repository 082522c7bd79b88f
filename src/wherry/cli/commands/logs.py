"""``wherry logs``"""

from __future__ import annotations

import sys

from wherry.cli.attaching import write_all
from wherry.cli.command import Command, exactly
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, STRING
from wherry.cli.moments import moment
from wherry.client.api import quote
from wherry.client.frames import STDERR, frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _logs(session: Session, options: Options, arguments: list[str]) -> int:
    client = session.client
    info = client.call("GET", f"/containers/{quote(arguments[0])}/json")
    query: dict[str, Any] = {
        "stdout": True,
        "stderr": True,
        "since": moment(options["since"]),
        "until": moment(options["until"]),
        "timestamps": options["timestamps"] or None,
        "details": options["details"] or None,
        "follow": options["follow"] or None,
        "tail": options["tail"],
    }
    response = client.request("GET", f"/containers/{info['Id']}/logs", query=query)
    sys.stdout.flush()
    if info["Config"]["Tty"]:
        for data in response:
            write_all(1, data)
        return 0
    for stream, data in frames(response.read_some):
        write_all(2 if stream == STDERR else 1, data)
    return 0


LOGS = Command(
    "logs [OPTIONS] CONTAINER",
    _logs,
    flags=(
        Flag("details", "", BOOL, "Show extra attributes of the log"),
        Flag("follow", "f", BOOL, "Follow the output"),
        Flag("since", "", STRING, "Show what came after a time (RFC 3339, Unix or 42m)"),
        Flag("until", "", STRING, "Show what came before a time (RFC 3339, Unix or 42m)"),
        Flag("tail", "n", STRING, "Number of lines from the end of the log", default="all"),
        Flag("timestamps", "t", BOOL, "Show timestamps"),
    ),
    arguments=exactly(1),
)
