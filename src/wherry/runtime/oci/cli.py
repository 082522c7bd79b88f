"""The ``wherry-oci`` command line, with the commands and flags that engines expect of runc."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from wherry import __version__
from wherry.errors import WherryError
from wherry.linux import process
from wherry.runtime.bundle import StartFailed
from wherry.runtime.oci import execute, lifecycle, report
from wherry.runtime.oci.create import CreateOptions, create
from wherry.runtime.oci.state import DEFAULT_ROOT, OCI_VERSION, Container, load


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wherry-oci", description="Run OCI bundles.")
    version = f"wherry-oci version {__version__}\nspec: {OCI_VERSION}"
    parser.add_argument("--version", "-v", action="version", version=version)
    parser.add_argument("--root", default=DEFAULT_ROOT, help="folder of container states")
    parser.add_argument("--log", default="", help="file for error messages")
    parser.add_argument("--log-format", default="text", choices=("text", "json"))
    parser.add_argument("--debug", action="store_true", help="accepted for compatibility")
    parser.add_argument(
        "--systemd-cgroup", action="store_true", help="read slice:prefix:name paths"
    )
    parser.add_argument("--rootless", default="auto", help="accepted for compatibility")
    parser.add_argument("--criu", default="", help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    for name, text in (("create", "make a container"), ("run", "make and start a container")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--bundle", "-b", default=".")
        command.add_argument("--pid-file", default="")
        command.add_argument("--console-socket", default="")
        command.add_argument("--preserve-fds", type=int, default=0)
        command.add_argument("--no-pivot", action="store_true")
        command.add_argument("--no-new-keyring", action="store_true")
        if name == "run":
            command.add_argument("--detach", "-d", action="store_true")
            command.add_argument("--keep", action="store_true")
            command.add_argument("--no-subreaper", action="store_true")
        command.add_argument("id")

    for name, text in (
        ("start", "start a created container"),
        ("state", "print a container's state"),
        ("pause", "freeze a container"),
        ("resume", "thaw a container"),
    ):
        commands.add_parser(name, help=text).add_argument("id")

    command = commands.add_parser("kill", help="send a signal")
    command.add_argument("--all", "-a", action="store_true")
    command.add_argument("id")
    command.add_argument("signal", nargs="?", default="TERM")

    command = commands.add_parser("delete", help="take a container away")
    command.add_argument("--force", "-f", action="store_true")
    command.add_argument("id", nargs="+")

    command = commands.add_parser("list", help="list containers")
    command.add_argument("--format", "-f", default="table", choices=("table", "json"))
    command.add_argument("--quiet", "-q", action="store_true")

    command = commands.add_parser("ps", help="list a container's processes")
    command.add_argument("--format", "-f", default="table", choices=("table", "json"))
    command.add_argument("id")
    command.add_argument("arguments", nargs=argparse.REMAINDER)

    command = commands.add_parser("events", help="print counters")
    command.add_argument("--stats", action="store_true")
    command.add_argument("--interval", default="5s")
    command.add_argument("id")

    commands.add_parser("features", help="print what this runtime can do")
    _add_exec(commands.add_parser("exec", help="run one more process"))
    _add_update(commands.add_parser("update", help="change limits"))
    return parser


def _add_exec(command: argparse.ArgumentParser) -> None:
    command.add_argument("--process", "-p", default="")
    command.add_argument("--env", "-e", action="append", default=[])
    command.add_argument("--cap", "-c", action="append", default=[])
    command.add_argument("--cwd", default="")
    command.add_argument("--user", "-u", default="")
    command.add_argument("--additional-gids", "-g", action="append", type=int, default=[])
    command.add_argument("--tty", "-t", action="store_true")
    command.add_argument("--detach", "-d", action="store_true")
    command.add_argument("--no-new-privs", action="store_true")
    command.add_argument("--apparmor", default="")
    command.add_argument("--process-label", default="")
    command.add_argument("--pid-file", default="")
    command.add_argument("--console-socket", default="")
    command.add_argument("--preserve-fds", type=int, default=0)
    command.add_argument("--ignore-paused", action="store_true")
    command.add_argument("--cgroup", default="")
    command.add_argument("id")
    command.add_argument("arguments", nargs=argparse.REMAINDER)


_UPDATE_FLAGS = {
    "--memory": ("memory", "limit"),
    "--memory-reservation": ("memory", "reservation"),
    "--memory-swap": ("memory", "swap"),
    "--cpu-period": ("cpu", "period"),
    "--cpu-quota": ("cpu", "quota"),
    "--cpu-burst": ("cpu", "burst"),
    "--cpu-share": ("cpu", "shares"),
    "--cpu-rt-period": ("cpu", "realtimePeriod"),
    "--cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "--cpuset-cpus": ("cpu", "cpus"),
    "--cpuset-mems": ("cpu", "mems"),
    "--pids-limit": ("pids", "limit"),
    "--blkio-weight": ("blockIO", "weight"),
}


def _add_update(command: argparse.ArgumentParser) -> None:
    command.add_argument("--resources", "-r", default="")
    for flag in _UPDATE_FLAGS:
        command.add_argument(flag, default=None, type=str if "cpuset" in flag else int)
    command.add_argument("id")


def _create_options(arguments: argparse.Namespace) -> CreateOptions:
    return CreateOptions(
        bundle=arguments.bundle,
        pid_file=arguments.pid_file,
        console_socket=arguments.console_socket,
        preserve_fds=arguments.preserve_fds,
        systemd_cgroup=arguments.systemd_cgroup,
    )


def _run(arguments: argparse.Namespace) -> int:
    container, master = create(arguments.root, arguments.id, _create_options(arguments))
    try:
        execute.forward_signals(os.pidfd_open(container.pid))
        lifecycle.start(container)
        return 0 if arguments.detach else execute.wait(container.pid, master)
    finally:
        if not arguments.detach and not arguments.keep:
            lifecycle.delete(container, force=True)


def _exec(arguments: argparse.Namespace) -> int:
    command = arguments.arguments
    options = execute.ExecOptions(
        process_file=arguments.process,
        command=command[1:] if command[:1] == ["--"] else command,
        environment=arguments.env,
        capabilities=arguments.cap,
        cwd=arguments.cwd,
        user=arguments.user,
        groups=arguments.additional_gids,
        tty=arguments.tty,
        detach=arguments.detach,
        no_new_privileges=arguments.no_new_privs,
        apparmor=arguments.apparmor,
        selinux=arguments.process_label,
        pid_file=arguments.pid_file,
        console_socket=arguments.console_socket,
        preserve_fds=arguments.preserve_fds,
    )
    return execute.execute(load(arguments.root, arguments.id), options)


def _resources(arguments: argparse.Namespace) -> dict[str, dict[str, object]]:
    if arguments.resources:
        return report.read_resources(arguments.resources)
    resources: dict[str, dict[str, object]] = {}
    for flag, (controller, key) in _UPDATE_FLAGS.items():
        value = getattr(arguments, flag[2:].replace("-", "_"))
        if value is not None:
            resources.setdefault(controller, {})[key] = value
    return resources


def _seconds(text: str) -> float:
    for suffix, factor in (("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600)):
        if text.endswith(suffix):
            return float(text.removesuffix(suffix)) * factor
    return float(text)


def _create(arguments: argparse.Namespace) -> None:
    create(arguments.root, arguments.id, _create_options(arguments))


def _state(arguments: argparse.Namespace) -> None:
    print(json.dumps(load(arguments.root, arguments.id).view(), indent=2))


def _kill(arguments: argparse.Namespace) -> None:
    number = lifecycle.parse_signal(arguments.signal)
    lifecycle.kill(load(arguments.root, arguments.id), number, everyone=arguments.all)


def _events(arguments: argparse.Namespace) -> None:
    container = load(arguments.root, arguments.id)
    report.events(container, once=arguments.stats, interval=_seconds(arguments.interval))


def _update(arguments: argparse.Namespace) -> None:
    report.update(load(arguments.root, arguments.id), _resources(arguments))


def _list(arguments: argparse.Namespace) -> None:
    report.list_all(arguments.root, arguments.format, arguments.quiet)


def _ps(arguments: argparse.Namespace) -> None:
    container = load(arguments.root, arguments.id)
    report.processes(container, arguments.format, arguments.arguments)


def _features(_: argparse.Namespace) -> None:
    print(json.dumps(report.features(), indent=2))


def _delete(arguments: argparse.Namespace) -> None:
    for name in arguments.id:
        try:
            container = load(arguments.root, name)
        except WherryError:
            if arguments.force:
                continue
            raise
        lifecycle.delete(container, force=arguments.force)


def _of_container(action: Callable[[Container], None]) -> Callable[[argparse.Namespace], None]:
    return lambda arguments: action(load(arguments.root, arguments.id))


_COMMANDS: Mapping[str, Callable[[argparse.Namespace], int | None]] = {
    "create": _create,
    "run": _run,
    "start": _of_container(lifecycle.start),
    "state": _state,
    "kill": _kill,
    "delete": _delete,
    "pause": _of_container(lifecycle.pause),
    "resume": _of_container(lifecycle.resume),
    "exec": _exec,
    "list": _list,
    "ps": _ps,
    "events": _events,
    "update": _update,
    "features": _features,
}


def dispatch(arguments: argparse.Namespace) -> int:
    """Do one command; its exit code."""
    return _COMMANDS[arguments.command](arguments) or 0


def _report(arguments: argparse.Namespace, message: str) -> None:
    print(f"wherry-oci: {message}", file=sys.stderr)
    if not arguments.log:
        return
    with open(arguments.log, "a") as file:
        if arguments.log_format == "json":
            now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            file.write(json.dumps({"level": "error", "msg": message, "time": now}) + "\n")
        else:
            file.write(f"level=error msg={json.dumps(message)}\n")


def main(argv: list[str] | None = None) -> int:
    """Entry point of ``wherry-oci``."""
    arguments = _parser().parse_args(argv)
    process.heed_signals()
    if os.geteuid() != 0:
        _report(arguments, "root is needed")
        return 1
    try:
        return dispatch(arguments)
    except StartFailed as error:
        _report(arguments, f"unable to start container process: {error}")
        return error.exit_code if arguments.command in ("exec", "run") else 1
    except (WherryError, OSError) as error:
        _report(arguments, str(error))
        return 1
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # A bundle is JSON of any shape that somebody else wrote; all that was made is undone.
        _report(arguments, f"malformed specification: {error!r}")
        return 1
