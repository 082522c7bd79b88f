"""The structs of Docker's client in which answers are held, as ``{{.}}`` prints them.

A struct prints its fields' values in their order, those that the answer leaves out too:
``{{.HostConfig.RestartPolicy}}`` is ``{always 0}``. Only the types that are worth printing are
here; a pointer inside a struct, of which Go prints the address, is printed as what it points to.
"""

from __future__ import annotations

from wherry.cli.gotemplate.evaluator import NilPointer, SelfPrinting, go_string
from wherry.golang import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ZERO = {"s": "", "i": 0, "b": False, "l": [], "m": {}, "p": NilPointer()}
"""Zero values of a string, number, boolean, slice, map and pointer."""

# Fields in order with their types: a letter of `_ZERO`, d (duration), t (time), a struct by its
# name, *NAME, []NAME, map:NAME and map:[]NAME.
_STRUCTS = {
    "State": "Status:s Running:b Paused:b Restarting:b OOMKilled:b Dead:b Pid:i ExitCode:i Error:s"
    " StartedAt:s FinishedAt:s Health:*Health",
    "Health": "Status:s FailingStreak:i Log:[]Result",
    "Result": "Start:t End:t ExitCode:i Output:s",
    "MountPoint": "Type:s Name:s Source:s Destination:s Driver:s Mode:s RW:b Propagation:s",
    "RestartPolicy": "Name:s MaximumRetryCount:i",
    "LogConfig": "Type:s Config:m",
    "PortBinding": "HostIp:s HostPort:s",
    "Ulimit": "Name:s Hard:i Soft:i",
    "Mount": "Type:s Source:s Target:s ReadOnly:b Consistency:s BindOptions:p VolumeOptions:p"
    " ImageOptions:p TmpfsOptions:p ClusterOptions:p",
    "Config": "Hostname:s Domainname:s User:s AttachStdin:b AttachStdout:b AttachStderr:b"
    " ExposedPorts:map:Nothing Tty:b OpenStdin:b StdinOnce:b Env:l Cmd:l Healthcheck:*Healthcheck"
    " ArgsEscaped:b Image:s Volumes:map:Nothing WorkingDir:s Entrypoint:l NetworkDisabled:b"
    " MacAddress:s OnBuild:l Labels:m StopSignal:s StopTimeout:p Shell:l",
    "Healthcheck": "Test:l Interval:d Timeout:d StartPeriod:d StartInterval:d Retries:i",
    "Endpoint": "IPAMConfig:p Links:l Aliases:l MacAddress:s DriverOpts:m GwPriority:i NetworkID:s"
    " EndpointID:s Gateway:s IPAddress:s IPPrefixLen:i IPv6Gateway:s GlobalIPv6Address:s"
    " GlobalIPv6PrefixLen:i DNSNames:l",
    "Driver": "Data:m Name:s",
    "IPAM": "Driver:s Options:m Config:[]Pool",
    "Pool": "Subnet:s IPRange:s Gateway:s AuxiliaryAddresses:m",
    "Member": "Name:s EndpointID:s MacAddress:s IPv4Address:s IPv6Address:s",
    "Reference": "Network:s",
    "Network": "Name:s Id:s Created:t Scope:s Driver:s EnableIPv4:b EnableIPv6:b IPAM:IPAM"
    " Internal:b Attachable:b Ingress:b ConfigFrom:Reference ConfigOnly:b Containers:map:Member"
    " Options:m Labels:m Peers:l Services:m",
    "Volume": "ClusterVolume:p CreatedAt:s Driver:s Labels:m Mountpoint:s Name:s Options:m Scope:s"
    " Status:m UsageData:p",
    "RootFS": "Type:s Layers:l",
    "Metadata": "LastTagTime:t",
    "Nothing": "",
}
# Objects that are too large to be printed: only their fields have types.
_FIELDS = {
    "container": "State:State Mounts:[]MountPoint HostConfig:HostConfig Config:Config"
    " NetworkSettings:NetworkSettings GraphDriver:Driver",
    "HostConfig": "RestartPolicy:RestartPolicy LogConfig:LogConfig PortBindings:map:[]PortBinding"
    " Ulimits:[]Ulimit Mounts:[]Mount",
    "NetworkSettings": "Ports:map:[]PortBinding Networks:map:Endpoint",
    "image": "GraphDriver:Driver RootFS:RootFS Metadata:Metadata",
    "network": "",
    "volume": "",
}
_OBJECTS = {"network": "Network", "volume": "Volume"}


class Struct(SelfPrinting):
    """A JSON object that prints as a struct of the given name."""

    __slots__ = ("_name",)

    def __init__(self, name: str, values: dict[str, Any]) -> None:
        super().__init__(values)
        self._name = name

    def __str__(self) -> str:
        if self._name == "Ulimit":  # it has a String method
            return f"{self.get('Name', '')}={self.get('Soft', 0)}:{self.get('Hard', 0)}"
        fields = (field.partition(":") for field in _STRUCTS[self._name].split())
        return "{" + " ".join(self._shown(name, kind) for name, _, kind in fields) + "}"

    def _shown(self, name: str, kind: str) -> str:
        value = self.get(name)
        if kind == "d":
            return format_duration(value or 0)
        if kind == "t":
            return go_time(value or "0001-01-01T00:00:00Z")
        if value is None or value == []:
            if kind in _STRUCTS:
                return str(Struct(kind, {}))
            sort = "l" if kind.startswith("[]") else "m" if kind.startswith("map:") else kind
            return go_string(_ZERO.get(sort, _ZERO["p"]))
        return go_string(value)


def go_time(text: str) -> str:
    """A moment of RFC 3339 as Go's time.Time prints it."""
    day, _, rest = text.partition("T")
    clock = rest.removesuffix("Z")
    whole, dot, fraction = clock.partition(".")
    fraction = fraction.rstrip("0")
    return f"{day} {whole}{dot if fraction else ''}{fraction} +0000 UTC"


def typed(value: Any, kind: str) -> Any:
    """``value``, an answer about an object of ``kind`` (container, …), with its structs."""
    if not isinstance(value, dict) or kind not in _FIELDS:
        return value
    if kind in _OBJECTS:
        return _typed(value, _OBJECTS[kind])
    known = dict(field.split(":", 1) for field in _FIELDS[kind].split())
    for name, inner in known.items():
        if name in value:
            value[name] = _typed(value[name], inner)
    return value


def _typed(value: Any, kind: str) -> Any:
    if kind.startswith("map:") and isinstance(value, dict):
        for key in value:
            value[key] = _typed(value[key], kind[4:])
        return value
    if kind.startswith("[]") and isinstance(value, list) and value:
        return [_typed(item, kind[2:]) for item in value]
    kind = kind.removeprefix("*")
    if kind in _FIELDS:
        return typed(value, kind)
    if kind in _STRUCTS and isinstance(value, dict):
        made = Struct(kind, value)
        for field in _STRUCTS[kind].split():
            name, _, inner = field.partition(":")
            if name in made:
                made[name] = _typed(made[name], inner)
        return made
    return value
