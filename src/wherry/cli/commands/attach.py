"""``wherry attach``"""

from __future__ import annotations

from wherry.cli.attaching import SignalProxy, Streams, WindowSize, exit_code, keys_of, register_wait
from wherry.cli.command import Command, exactly
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, STRING
from wherry.cli.terminal import RawTerminal
from wherry.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _check(state: dict[str, Any]) -> None:
    if not state.get("Running"):
        raise CliError("You cannot attach to a stopped container, start it first")
    if state.get("Paused"):
        raise CliError("You cannot attach to a paused container, unpause it first")
    if state.get("Restarting"):
        raise CliError("You cannot attach to a restarting container, wait until it is running")


def _attach(session: Session, options: Options, arguments: list[str]) -> int:
    client = session.client
    container = quote(arguments[0])
    info = client.call("GET", f"/containers/{container}/json")
    _check(info["State"])
    tty = bool(info["Config"]["Tty"])
    stdin = bool(info["Config"]["OpenStdin"]) and not options["no-stdin"]
    if stdin and tty and not session.stdin_is_terminal:
        raise CliError("the input device is not a TTY")
    keys, sequence = keys_of(session, options["detach-keys"])
    query: dict[str, Any] = {"stream": True, "stdout": True, "stderr": True}
    query["stdin"] = stdin or None
    query["detachKeys"] = keys or None
    waiting = register_wait(client, container, "not-running")
    with SignalProxy(client, container, options["sig-proxy"] and not tty):
        connection = client.hijack(f"/containers/{container}/attach", query=query)
        streams = Streams(connection, tty=tty, stdin=stdin, keys=sequence)
        with (
            RawTerminal(tty and stdin),
            WindowSize(client, f"/containers/{container}/resize", tty, redraw=True),
        ):
            streams.copy()
    if streams.detached:
        session.warn("read escape sequence")
        return 1
    return exit_code(session, waiting)


ATTACH = Command(
    "attach [OPTIONS] CONTAINER",
    _attach,
    flags=(
        Flag("detach-keys", "", STRING, "Override the keys that detach"),
        Flag("no-stdin", "", BOOL, "Do not attach STDIN"),
        Flag("sig-proxy", "", BOOL, "Pass received signals to the process", default=True),
    ),
    arguments=exactly(1),
)
