"""``wherry exec``"""

from __future__ import annotations

from wherry.cli.attaching import Streams, WindowSize, keys_of
from wherry.cli.command import Command, at_least
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, LIST, STRING
from wherry.cli.options.container_flags import ENVIRONMENT
from wherry.cli.options.files import read_lines
from wherry.cli.terminal import RawTerminal, size
from wherry.client.api import quote
from wherry.client.execs import exec_exit_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _body(session: Session, options: Options, command: list[str]) -> dict[str, Any]:
    try:
        lines = [
            line for path in options["env-file"] for line in read_lines(path, from_environment=True)
        ]
    except OSError as error:
        raise CliError(f"open {error.filename}: {(error.strerror or '').lower()}") from None
    except ValueError as error:
        raise CliError(str(error)) from None
    attached = not options["detach"]
    body: dict[str, Any] = {
        "User": options["user"],
        "Privileged": options["privileged"],
        "Tty": options["tty"],
        "AttachStdin": attached and options["interactive"],
        "AttachStderr": attached,
        "AttachStdout": attached,
        "Detach": options["detach"],
        "DetachKeys": keys_of(session, options["detach-keys"])[0],
        "Env": [*lines, *options["env"]] or None,
        "WorkingDir": options["workdir"],
        "Cmd": command,
    }
    if options["tty"]:
        body["ConsoleSize"] = list(size())
    return body


def _exec(session: Session, options: Options, arguments: list[str]) -> int:
    client = session.client
    container = quote(arguments[0])
    client.call("GET", f"/containers/{container}/json")
    tty, stdin = options["tty"], options["interactive"] and not options["detach"]
    if not options["detach"] and stdin and tty and not session.stdin_is_terminal:
        raise CliError("the input device is not a TTY")
    body = _body(session, options, arguments[1:])
    identity = client.call("POST", f"/containers/{container}/exec", body=body).get("Id")
    if not identity:
        raise CliError("exec ID empty")
    start: dict[str, Any] = {"Detach": options["detach"], "Tty": tty}
    if "ConsoleSize" in body:
        start["ConsoleSize"] = body["ConsoleSize"]
    if options["detach"]:
        client.call("POST", f"/exec/{identity}/start", body=start)
        return 0
    connection = client.hijack(f"/exec/{identity}/start", body=start)
    keys = keys_of(session, options["detach-keys"])[1]
    streams = Streams(connection, tty=tty, stdin=stdin, keys=keys)
    with RawTerminal(tty and stdin), WindowSize(client, f"/exec/{identity}/resize", tty):
        streams.copy()
    if streams.detached:
        session.warn("read escape sequence")
        return 1
    return exec_exit_code(client, identity)


EXEC = Command(
    "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
    _exec,
    flags=(
        Flag("detach", "d", BOOL, "Run the command in the background"),
        Flag("detach-keys", "", STRING, "Override the keys that detach"),
        Flag("env", "e", ENVIRONMENT, "Set environment variables"),
        Flag("env-file", "", LIST, "Read environment variables from a file"),
        Flag("interactive", "i", BOOL, "Keep STDIN open even if not attached"),
        Flag("privileged", "", BOOL, "Give extended privileges to the command"),
        Flag("tty", "t", BOOL, "Allocate a pseudo-terminal"),
        Flag("user", "u", STRING, "User name or id (<name|uid>[:<group|gid>])"),
        Flag("workdir", "w", STRING, "Working directory inside the container"),
    ),
    arguments=at_least(2),
    interspersed=False,
)
