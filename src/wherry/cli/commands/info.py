"""``wherry info``"""

from __future__ import annotations

from wherry.cli.client_info import client_info
from wherry.cli.command import Command, none
from wherry.cli.commands.inspect import missing
from wherry.cli.errors import CliError
from wherry.cli.failures import message
from wherry.cli.flags import Flag
from wherry.cli.gotemplate import TemplateError
from wherry.cli.gotemplate.evaluator import Record
from wherry.cli.gotemplate.functions import to_json
from wherry.cli.gotemplate.template import no_such_field
from wherry.cli.kinds import STRING
from wherry.cli.tables import template
from wherry.cli.units import binary_size
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

    Info = dict[str, Any]


class _View(Record):
    """The whole answer, as templates see it."""

    type_name = "system.dockerInfo"

    def __init__(self, data: Info) -> None:
        self._data = data

    def field(self, name: str) -> Any:
        if name in self._data:
            return self._data[name]
        return no_such_field(self._data, name)

    def as_dict(self) -> dict[str, Any]:
        return self._data


def _yes(value: object) -> str:
    return "true" if value else "false"


def _client_lines(client: dict[str, Any], debug: bool) -> list[str]:
    return [
        "Client: Wherry",
        f" Version:    {client['Version']}",
        f" Context:    {client['Context']}",
        f" Debug Mode: {_yes(debug)}",
    ]


def _top(info: Info) -> list[str]:
    lines = [
        f" Containers: {info.get('Containers', 0)}",
        f"  Running: {info.get('ContainersRunning', 0)}",
        f"  Paused: {info.get('ContainersPaused', 0)}",
        f"  Stopped: {info.get('ContainersStopped', 0)}",
        f" Images: {info.get('Images', 0)}",
    ]
    for title, key in (("Server Version", "ServerVersion"), ("Storage Driver", "Driver")):
        if info.get(key):
            lines.append(f" {title}: {info[key]}")
    lines += [f"  {name}: {value}" for name, value in info.get("DriverStatus") or []]
    for title, key in (
        ("Logging Driver", "LoggingDriver"),
        ("Cgroup Driver", "CgroupDriver"),
        ("Cgroup Version", "CgroupVersion"),
    ):
        if info.get(key):
            lines.append(f" {title}: {info[key]}")
    plugins = info.get("Plugins") or {}
    lines.append(" Plugins:")
    for kind in ("Volume", "Network", "Authorization", "Log"):
        if kind != "Authorization" or plugins.get(kind):
            lines.append(f"  {kind}: {' '.join(plugins.get(kind) or [])}")
    if directories := info.get("CDISpecDirs"):
        lines.append(" CDI spec directories:")
        lines += [f"  {directory}" for directory in directories]
    return lines


def _runtime(info: Info) -> list[str]:
    lines = [f" Swarm: {(info.get('Swarm') or {}).get('LocalNodeState', '')}"]
    if runtimes := info.get("Runtimes"):
        lines.append(f" Runtimes: {' '.join(sorted(runtimes))}")
        lines.append(f" Default Runtime: {info.get('DefaultRuntime', '')}")
    if info.get("OSType") == "linux":
        lines.append(f" Init Binary: {info.get('InitBinary', '')}")
        for name in ("containerd", "runc", "init"):
            commit = info.get(f"{name.capitalize()}Commit") or {}
            lines.append(f" {name} version: {commit.get('ID', '')}")
    if options := info.get("SecurityOptions"):
        lines.append(" Security Options:")
        for option in options:
            fields = dict(pair.partition("=")[::2] for pair in option.split(","))
            lines.append(f"  {fields.pop('name', option)}")
            lines += [f"   {key.capitalize()}: {value}" for key, value in fields.items()]
    return lines


_MACHINE = (
    ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
)


def _machine(info: Info) -> list[str]:
    lines = [f" {title}: {info[key]}" for title, key in _MACHINE if info.get(key)]
    lines.append(f" CPUs: {info.get('NCPU', 0)}")
    lines.append(f" Total Memory: {binary_size(info.get('MemTotal') or 0)}")
    lines += [f" {key}: {info[key]}" for key in ("Name", "ID") if info.get(key)]
    lines.append(f" Docker Root Dir: {info.get('DockerRootDir', '')}")
    lines.append(f" Debug Mode: {_yes(info.get('Debug'))}")
    if info.get("Debug"):
        for title, key in (
            ("File Descriptors", "NFd"),
            ("Goroutines", "NGoroutines"),
            ("System Time", "SystemTime"),
            ("EventsListeners", "NEventsListener"),
        ):
            lines.append(f"  {title}: {info.get(key, '')}")
    for title, key in (
        ("HTTP Proxy", "HttpProxy"),
        ("HTTPS Proxy", "HttpsProxy"),
        ("No Proxy", "NoProxy"),
    ):
        if info.get(key):
            lines.append(f" {title}: {info[key]}")
    return lines


def _rest(info: Info) -> list[str]:
    lines = []
    if labels := info.get("Labels"):
        lines.append(" Labels:")
        lines += [f"  {label}" for label in labels]
    lines.append(f" Experimental: {_yes(info.get('ExperimentalBuild'))}")
    registry = info.get("RegistryConfig") or {}
    insecure = [
        name
        for name, entry in sorted((registry.get("IndexConfigs") or {}).items())
        if not entry.get("Secure")
    ] + list(registry.get("InsecureRegistryCIDRs") or [])
    if insecure:
        lines.append(" Insecure Registries:")
        lines += [f"  {name}" for name in insecure]
    if mirrors := registry.get("Mirrors"):
        lines.append(" Registry Mirrors:")
        lines += [f"  {mirror}" for mirror in mirrors]
    lines.append(f" Live Restore Enabled: {_yes(info.get('LiveRestoreEnabled'))}")
    if build := info.get("ProductLicense"):
        lines.append(f" Product License: {build}")
    if pools := info.get("DefaultAddressPools"):
        lines.append(" Default Address Pools:")
        lines += [f"   Base: {pool['Base']}, Size: {pool['Size']}" for pool in pools]
    return lines


def info_lines(info: Info) -> list[str]:
    """The ``Server:`` part, line by line."""
    return ["Server:", *_top(info), *_runtime(info), *_machine(info), *_rest(info), ""]


def _info(session: Session, options: Options, arguments: list[str]) -> int:
    form = options["format"]
    parsed = template(form) if form and form != "json" else None
    client = {**client_info(session.context_name), "Debug": session.options["debug"]}
    info: Info = {}
    failure = ""
    try:
        info = session.client.call("GET", "/info")
    except WherryError as error:
        failure = message(error)
    if form:
        data = {**info, "ClientInfo": client}
        if failure:
            data["ServerErrors"] = [failure]
        try:
            session.say(parsed.render(_View(data), missing) if parsed else to_json(data))
        except TemplateError as error:
            session.say("")
            raise CliError(str(error)) from None
        if failure:
            raise CliError(failure)
        return 0
    lines = _client_lines(client, session.options["debug"])
    if failure:
        session.write("\n".join([*lines, "", "Server:", ""]))
        raise CliError(f"{failure}\nerrors pretty printing info")
    session.write("\n".join([*lines, "", *info_lines(info), ""]))
    for warning in info.get("Warnings") or []:
        session.warn(str(warning))
    return 0


INFO = Command(
    "info [OPTIONS]",
    _info,
    flags=(Flag("format", "f", STRING, "Format output: json, or a TEMPLATE"),),
    arguments=none,
)
