"""Entry point of the ``wherry`` command: global flags, finding the command, exit codes."""

from __future__ import annotations

import os
import sys

from wherry.cli import index
from wherry.cli.errors import ArgumentsError, CliError, Exit, UsageError
from wherry.cli.flags import Flag, FlagSet, HelpRequested
from wherry.cli.kinds import BOOL, LIST, STRING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Options

_RUN_LIKE = frozenset(("run", "create", "container run", "container create"))


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader has gone, as `| head` does; what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def global_flags() -> list[Flag]:
    """The flags before the command's name."""
    from wherry.cli.config import config_directory

    directory = config_directory(None)
    certificates = os.environ.get("DOCKER_CERT_PATH") or directory
    return [
        Flag("config", "", STRING, "Location of client config files", default=directory),
        Flag("context", "c", STRING, "Name of the context to use to reach the engine"),
        Flag("debug", "D", BOOL, "Enable debug mode"),
        Flag("host", "H", LIST, "Daemon socket to connect to"),
        Flag(
            "log-level",
            "l",
            STRING,
            'Set the logging level ("debug", "info", "warn", "error", "fatal")',
            default="info",
        ),
        Flag("tls", "", BOOL, "Use TLS; implied by --tlsverify"),
        Flag(
            "tlscacert",
            "",
            STRING,
            "Trust certs signed only by this CA",
            default=f"{certificates}/ca.pem",
        ),
        Flag(
            "tlscert",
            "",
            STRING,
            "Path to TLS certificate file",
            default=f"{certificates}/cert.pem",
        ),
        Flag("tlskey", "", STRING, "Path to TLS key file", default=f"{certificates}/key.pem"),
        Flag("tlsverify", "", BOOL, "Use TLS and verify the remote"),
        Flag("version", "v", BOOL, "Print version information and quit"),
    ]


def _dispatch(words: list[str]) -> int:
    if words in (["--version"], ["-v"]):
        return _print_version()
    flags = global_flags()
    try:
        options, rest = FlagSet(flags, interspersed=False).parse(words)
    except HelpRequested:
        return _print_main_help(flags)
    except UsageError as error:
        _say(
            f"{error}\n\nUsage:  wherry [OPTIONS] COMMAND [ARG...]\n\n"
            "Run 'wherry --help' for more information"
        )
        return error.code
    if options["version"]:
        return _print_version()
    if not rest:
        return _print_main_help(flags)
    if rest[0] == "__complete":
        return _complete(options, rest[1:])
    if rest[0] == "help":
        return _help(rest[1:], flags)
    return _command(options, rest)


def _print_version() -> int:
    from wherry import __version__

    print(f"Wherry version {__version__}")
    return 0


def _print_main_help(flags: list[Flag]) -> int:
    from wherry.cli.help import main_help

    sys.stdout.write(main_help(flags))
    return 0


def _help(rest: list[str], flags: list[Flag]) -> int:
    if not rest:
        return _print_main_help(flags)
    return main([*rest, "--help"])


def _complete(options: Options, words: list[str]) -> int:
    """Print the words that a shell may offer; failures are silence."""
    from wherry.cli.commands.completion import complete
    from wherry.cli.session import Session
    from wherry.errors import WherryError

    session = Session(options, "")
    try:
        print("\n".join(complete(session, words)))
    except (WherryError, CliError):
        return 1
    finally:
        session.close()
    return 0


def _command(options: Options, words: list[str]) -> int:
    """Find the command that ``words`` start with, and run it."""
    name, rest = words[0], words[1:]
    if name in index.GROUP_NAMES:
        if not rest or rest[0] in ("--help", "-h"):
            from wherry.cli.help import group_help

            (sys.stdout if rest else sys.stderr).write(group_help(name))
            return 0
        if rest[0] == "help":
            return main([name, *rest[1:], "--help"])
        if rest[0].startswith("-"):
            kind = "unknown flag" if rest[0].startswith("--") else "unknown shorthand flag"
            shown = rest[0] if rest[0].startswith("--") else f"'{rest[0][1:2]}' in {rest[0]}"
            _say(
                f"{kind}: {shown}\n\nUsage:  wherry {name} COMMAND\n\n"
                f"Run 'wherry {name} --help' for more information"
            )
            return 125
        group, name, rest = name, f"{name} {rest[0]}", rest[1:]
    else:
        group = ""
    path = index.resolve(name)
    if path is None:
        return _unknown(name, group)
    if path in ("daemon", "hub"):
        return _serve(path, rest)
    return _run(options, path, rest)


def _serve(name: str, words: list[str]) -> int:
    """Run a server, which knows its own flags."""
    from wherry.cli.commands import servers

    try:
        return servers.daemon(words) if name == "daemon" else servers.hub(words)
    except CliError as error:
        _say(str(error))
        return error.code


def _unknown(name: str, group: str) -> int:
    if name in index.NOT_OFFERED:
        _say(
            f"wherry: '{name}' is not offered: Wherry is one engine on one machine and has no "
            f"{index.NOT_OFFERED[name]}"
        )
        return 1
    usage = f"Usage:  wherry {group}\n\n" if group else ""
    command = f"wherry {group}" if group else "wherry"
    _say(
        f"wherry: unknown command: wherry {name}\n\n{usage}"
        f"Run '{command} --help' for more information"
    )
    return 1


def _run(options: Options, path: str, words: list[str]) -> int:
    from wherry.cli.command import check_arguments
    from wherry.cli.session import Session
    from wherry.errors import WherryError

    command = index.load(path)
    session = Session(options, path)
    try:
        own, arguments = command.flags.parse(words, warn=_say)
        check_arguments(command, path, arguments)
        return command.run(session, own, arguments) or 0
    except HelpRequested as request:
        from wherry.cli.help import command_help

        if request.shorthand:
            _say("Flag shorthand -h has been deprecated, use --help")
        sys.stdout.write(command_help(command, path))
        return 0
    except (UsageError, ArgumentsError) as error:
        from wherry.cli.help import usage_line

        hint = error.hint if isinstance(error, ArgumentsError) else "Run"
        _say(
            f"{error}\n\n{usage_line(command, path)}\n\n"
            f"{hint} 'wherry {path}' --help' for more information".replace("' --help", " --help")
        )
        return error.code
    except CliError as error:
        if str(error):
            _say(str(error))
        return error.code
    except Exit as end:
        return end.code
    except WherryError as error:
        from wherry.cli.failures import describe

        return describe(error, path)
    except BrokenPipeError:
        raise
    except OSError as error:
        _say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return 1
    finally:
        session.close()


def _say(text: str) -> None:
    sys.stdout.flush()
    print(text, file=sys.stderr)
