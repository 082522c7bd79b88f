"""``wherry start``"""

from __future__ import annotations

from wherry.cli.attaching import SignalProxy, Streams, follow, keys_of, register_wait
from wherry.cli.command import Command, at_least
from wherry.cli.errors import CliError
from wherry.cli.failures import message
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, STRING
from wherry.client.api import quote
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _start(session: Session, options: Options, arguments: list[str]) -> int:
    if options["checkpoint"] or options["checkpoint-dir"]:
        raise CliError("Wherry has no checkpoints: start the container without --checkpoint")
    if options["attach"] or options["interactive"]:
        return _attached(session, options, arguments)
    failed = []
    for name in arguments:
        try:
            session.client.call("POST", f"/containers/{quote(name)}/start")
        except WherryError as error:
            session.warn(message(error))
            failed.append(name)
        else:
            session.say(name)
    if failed:
        raise CliError(f"Error: failed to start containers: {', '.join(failed)}")
    return 0


def _attached(session: Session, options: Options, arguments: list[str]) -> int:
    if len(arguments) > 1:
        raise CliError("you cannot start and attach multiple containers at once")
    client = session.client
    info = client.call("GET", f"/containers/{quote(arguments[0])}/json")
    container = info["Id"]
    config = info["Config"]
    tty = bool(config["Tty"])
    stdin = options["interactive"] and bool(config["OpenStdin"])
    if stdin and tty and not session.stdin_is_terminal:
        raise CliError("the input device is not a TTY")
    keys, sequence = keys_of(session, options["detach-keys"])
    query: dict[str, Any] = {
        "stream": True,
        "stdin": stdin or None,
        "stdout": config["AttachStdout"] or None,
        "stderr": config["AttachStderr"] or None,
        "detachKeys": keys or None,
    }
    with SignalProxy(client, container, not tty):
        connection = client.hijack(f"/containers/{container}/attach", query=query)
        removed = bool(info["HostConfig"]["AutoRemove"])
        waiting = register_wait(client, container, "removed" if removed else "next-exit")
        streams = Streams(connection, tty=tty, stdin=stdin, keys=sequence)
        return follow(
            session, container, streams, waiting, tty=tty, raw=tty and stdin, removed=removed
        )


START = Command(
    "start [OPTIONS] CONTAINER [CONTAINER...]",
    _start,
    flags=(
        Flag("attach", "a", BOOL, "Attach STDOUT/STDERR and forward signals"),
        Flag("interactive", "i", BOOL, "Attach the container's STDIN"),
        Flag("detach-keys", "", STRING, "Override the keys that detach"),
        Flag("checkpoint", "", STRING, "Restore from this checkpoint", hidden=True),
        Flag("checkpoint-dir", "", STRING, "Where checkpoints are stored", hidden=True),
    ),
    arguments=at_least(1),
)
