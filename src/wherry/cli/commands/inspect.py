"""``wherry inspect`` and the inspect of containers, images, networks and volumes."""

from __future__ import annotations

import json

from wherry.cli.command import Command, at_least
from wherry.cli.errors import CliError
from wherry.cli.failures import message
from wherry.cli.flags import Flag
from wherry.cli.gostructs import typed
from wherry.cli.gotemplate import TemplateError
from wherry.cli.gotemplate.evaluator import MissingKey, NilList, NilMap, NilPointer, NoValue
from wherry.cli.gotemplate.functions import to_json
from wherry.cli.gotemplate.template import no_such_field
from wherry.cli.kinds import BOOL, STRING
from wherry.cli.tables import template
from wherry.client.api import quote
from wherry.client.errors import NotFoundError
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

    Fetch = Callable[[str], Any]

_TYPES = (
    "config",
    "container",
    "image",
    "network",
    "node",
    "plugin",
    "secret",
    "service",
    "task",
    "volume",
)
# Fields that answers leave out when they are empty, with the value that templates see then.
_LEFT_OUT: dict[str, Any] = {
    name: value
    for value, names in (
        (
            None,
            "Health Healthcheck Init StopTimeout SizeRw SizeRootFs GraphDriver Status UsageData "
            "ImageManifestDescriptor Descriptor Manifests ClusterVolume ConfigFrom Config",
        ),
        ((), "Mounts Shell OnBuild RepoTags RepoDigests Binds Links Aliases DNSNames"),
        ((), "DeviceRequests"),
        ({}, "Tmpfs Sysctls StorageOpt Annotations ExposedPorts Labels Volumes DriverOpts"),
        (
            "",
            "StopSignal Runtime MacAddress Comment Parent Author Container Variant OsVersion User "
            "WorkingDir Hostname Domainname AppArmorProfile Platform DockerVersion CreatedAt",
        ),
        (0, "VirtualSize NetworkDisabled ArgsEscaped"),
    )
    for name in str(names).split()
}
_NAMES_OF_USERS = frozenset(
    (
        *("Labels", "Options", "Networks", "Ports", "PortBindings", "ExposedPorts", "Volumes"),
        *(
            "Sysctls",
            "Tmpfs",
            "StorageOpt",
            "Annotations",
            "DriverOpts",
            "Data",
            "Containers",
            "Attributes",
        ),
    )
)
_POINTERS = frozenset(
    ("IPAMConfig", "Init", "OomKillDisable", "PidsLimit", "MemorySwappiness", "StopTimeout")
)


class _UserMap(dict[str, "Any"]):
    """A map whose keys users choose: a missing one has no value, and that is no error."""


class _NilUserMap(_UserMap, NilMap):
    """Such a map that is null in the answer."""


def prepared(value: Any, key: str = "") -> Any:
    """A copy of an answer in which maps of users' names are told from objects."""
    if isinstance(value, dict):
        if key in _NAMES_OF_USERS:  # a Go map, which prints in the order of its keys
            return _UserMap({name: prepared(value[name], name) for name in sorted(value)})
        return {name: prepared(item, name) for name, item in value.items()}
    if value is None:  # null stands for an empty map, a nil pointer, or mostly an empty list
        if key in _NAMES_OF_USERS:
            return _NilUserMap()
        return NilPointer() if key in _POINTERS else NilList()
    if isinstance(value, list):
        return [prepared(item) for item in value]
    return value


def missing(data: dict[str, Any], name: str) -> Any:
    """What templates see for a field that an answer does not have."""
    if isinstance(data, _UserMap):
        return NoValue(name)
    try:
        return no_such_field(data, name)
    except MissingKey:
        if name in _LEFT_OUT:
            return NilPointer(name) if _LEFT_OUT[name] is None else _LEFT_OUT[name]
        raise


def inspect_all(session: Session, form: str, names: list[str], fetch: Fetch) -> int:
    """Print what ``fetch`` brings for each name, as JSON or through a template."""
    parsed = template(form) if form and form != "json" else None
    shown: list[Any] = []
    lines: list[str] = []
    failures: list[str] = []
    for name in names:
        try:
            value = fetch(name)
        except WherryError as error:
            failures.append(message(error))
            continue
        except CliError as error:
            failures.append(str(error))
            continue
        if parsed is None:
            shown.append(value)
            continue
        try:
            lines.append(parsed.render(typed(prepared(value), _kind_of(value)), missing))
        except TemplateError as error:
            session.write("".join(f"{line}\n" for line in lines) or "\n")
            raise CliError(f"template parsing error: {error}") from None
    if parsed is not None:
        session.write("".join(f"{line}\n" for line in lines) or "\n")
    elif form == "json":
        session.say(to_json(shown))
    else:
        session.say(json.dumps(shown, indent=4, ensure_ascii=False))
    if failures:
        raise CliError("\n".join(failures))
    return 0


def _kind_of(value: Any) -> str:
    """What kind of object an answer describes."""
    marks = {"State": "container", "RootFS": "image", "IPAM": "network", "Mountpoint": "volume"}
    return next((kind for mark, kind in marks.items() if mark in value), "")


def _getter(session: Session, kind: str, query: dict[str, Any] | None = None) -> Fetch:
    paths = {
        "container": "/containers/{}/json",
        "image": "/images/{}/json",
        "network": "/networks/{}",
        "volume": "/volumes/{}",
    }
    safe = "/:@" if kind == "image" else ""
    path = paths[kind]
    return lambda name: session.client.call("GET", path.format(quote(name, safe)), query=query)


def _inspect(session: Session, options: Options, arguments: list[str]) -> int:
    kind = options["type"]
    if options.given("type") and kind not in _TYPES:
        if not kind:
            raise CliError('type is empty: must be one of "' + '", "'.join(_TYPES) + '"')
        raise CliError(f'unknown type: "{kind}": must be one of "' + '", "'.join(_TYPES) + '"')
    size = {"size": options["size"] or None}
    form = options["format"]
    if kind in ("container", "image", "network", "volume"):
        query = size if kind == "container" else None
        return inspect_all(session, form, arguments, _getter(session, kind, query))
    if kind:
        raise CliError(f"Wherry has no objects of type {kind}")
    getters = [
        _getter(session, "container", size),
        *(_getter(session, other) for other in ("image", "network", "volume")),
    ]

    def fetch(name: str) -> Any:
        for getter in getters:
            try:
                return getter(name)
            except NotFoundError:
                continue
        raise CliError(f"Error: No such object: {name}")

    return inspect_all(session, form, arguments, fetch)


def _of_kind(kind: str) -> Any:
    def run(session: Session, options: Options, arguments: list[str]) -> int:
        query: dict[str, Any] = {}
        if options.get("size"):
            query["size"] = True
        if options.get("verbose"):
            query["verbose"] = True
        if options.get("platform"):
            query["platform"] = _platform(options["platform"])
        return inspect_all(session, options["format"], arguments, _getter(session, kind, query))

    return run


def _platform(text: str) -> dict[str, str]:
    """``os/arch[/variant]`` as an OCI platform."""
    parts = text.split("/")
    keys = ("os", "architecture", "variant")
    if len(parts) > 3 or not all(parts):
        raise CliError(f"invalid platform: {text}")
    return dict(zip(keys, parts, strict=False))


_FORMAT = Flag("format", "f", STRING, "Format output: json, or a TEMPLATE")
_SIZE = Flag("size", "s", BOOL, "Display total file sizes of containers")

INSPECT = Command(
    "inspect [OPTIONS] NAME|ID [NAME|ID...]",
    _inspect,
    flags=(_FORMAT, _SIZE, Flag("type", "", STRING, "Only inspect objects of the given type")),
    arguments=at_least(1),
)
CONTAINER = Command(
    "inspect [OPTIONS] CONTAINER [CONTAINER...]",
    _of_kind("container"),
    flags=(_FORMAT, _SIZE),
    arguments=at_least(1),
)
IMAGE = Command(
    "inspect [OPTIONS] IMAGE [IMAGE...]",
    _of_kind("image"),
    flags=(_FORMAT, Flag("platform", "", STRING, "Inspect this platform (os/arch[/variant])")),
    arguments=at_least(1),
)
NETWORK = Command(
    "inspect [OPTIONS] NETWORK [NETWORK...]",
    _of_kind("network"),
    flags=(_FORMAT, Flag("verbose", "v", BOOL, "Verbose output for diagnostics")),
    arguments=at_least(1),
)
VOLUME = Command(
    "inspect [OPTIONS] VOLUME [VOLUME...]",
    _of_kind("volume"),
    flags=(_FORMAT,),
    arguments=at_least(1),
)
