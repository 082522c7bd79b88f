"""``wherry stop``"""

from __future__ import annotations

from wherry.cli.command import Command, at_least
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.kinds import INT, STRING
from wherry.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

STOP_FLAGS = (
    Flag("signal", "s", STRING, "Signal to send to the container"),
    Flag("timeout", "t", INT, "Seconds to wait before killing the container"),
    Flag(
        "time",
        "",
        INT,
        "Seconds to wait before killing the container",
        deprecated="use --timeout instead",
    ),
)


def stop_query(options: Options) -> dict[str, Any]:
    """The query of stop and restart; raises CliError when both spellings are given."""
    if options.given("time") and options.given("timeout"):
        raise CliError("conflicting options: cannot specify both --timeout and --time")
    chosen = "time" if options.given("time") else "timeout"
    return {
        "signal": options["signal"] or None,
        "t": options[chosen] if options.given(chosen) else None,
    }


def _stop(session: Session, options: Options, arguments: list[str]) -> int:
    query = stop_query(options)
    return session.each(
        arguments,
        lambda name: session.client.call("POST", f"/containers/{quote(name)}/stop", query=query),
    )


STOP = Command(
    "stop [OPTIONS] CONTAINER [CONTAINER...]", _stop, flags=STOP_FLAGS, arguments=at_least(1)
)
