"""``wherry commit``"""

from __future__ import annotations

from wherry.cli import references
from wherry.cli.command import Command, between
from wherry.cli.commands.pull import repository
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, LIST, STRING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _commit(session: Session, options: Options, arguments: list[str]) -> int:
    name, tag = "", ""
    if len(arguments) > 1:
        references.check(arguments[1])
        name = repository(arguments[1])
        tag = references.split(arguments[1])[1] or "latest"
    query: dict[str, Any] = {
        "container": arguments[0],
        "repo": name,
        "tag": tag,
        "comment": options["message"],
        "author": options["author"],
        "changes": options["change"],
        "pause": None if options["pause"] and not options["no-pause"] else False,
    }
    session.say(str(session.client.call("POST", "/commit", query=query).get("Id", "")))
    return 0


COMMIT = Command(
    "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    _commit,
    flags=(
        Flag("author", "a", STRING, 'Author (e.g., "Ada Lovelace <ada@example.org>")'),
        Flag("change", "c", LIST, "Apply a Dockerfile instruction to the created image"),
        Flag("message", "m", STRING, "Commit message"),
        Flag("pause", "p", BOOL, "Pause the container during commit", default=True),
        Flag("no-pause", "", BOOL, "Do not pause the container during commit", hidden=True),
    ),
    arguments=between(1, 2),
)
