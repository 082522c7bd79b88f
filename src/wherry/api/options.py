"""The options of ``wherry daemon``: dockerd's flags, and the same keys from a JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from wherry.errors import InvalidParameter
from wherry.numbers import whole_number

Kind = Literal["text", "flag", "number", "list", "map", "nested", "objects", "ulimits"]
DEFAULT_CONFIG_FILE = "/etc/wherry/daemon.json"
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


@dataclass(frozen=True, slots=True)
class Option:
    """One option: ``flag`` on the command line, ``key`` in the file ("" where it has none)."""

    flag: str
    kind: Kind
    help: str
    key: str = ""
    short: str = ""
    default: Any = None


def _option(
    flag: str, kind: Kind, help: str, key: str | None = None, short: str = "", default: Any = None
) -> Option:
    return Option(flag, kind, help, flag if key is None else key, short, default)


OPTIONS: tuple[Option, ...] = (
    _option("add-runtime", "objects", "Register an additional OCI runtime: NAME=PATH", "runtimes"),
    _option("allowed-host", "list", "Names that requests over TCP without TLS may be addressed to,"
            " besides addresses, localhost and the host's own", "allowed-hosts"),
    _option("bip", "text", "Address and network of the default bridge (CIDR)"),
    _option("bip6", "text", "IPv6 address and network of the default bridge (CIDR)"),
    _option("bridge", "text", 'Existing bridge for containers; "none" disables', short="b"),
    _option("cgroup-parent", "text", "Parent cgroup for all containers"),
    _option("config-file", "text", "Configuration file", "", default=DEFAULT_CONFIG_FILE),
    _option("data-root", "text", "Root directory of persistent state", default="/var/lib/wherry"),
    _option("debug", "flag", "Log more", short="D", default=False),
    _option("default-address-pool", "objects", "Pool for networks: base=CIDR,size=BITS",
            "default-address-pools"),
    _option("default-cgroupns-mode", "text", "Default cgroup namespace: host or private",
            default="private"),
    _option("default-gateway", "text", "Default gateway of the default bridge (IPv4)"),
    _option("default-gateway-v6", "text", "Default gateway of the default bridge (IPv6)"),
    _option("default-ipc-mode", "text", "Default IPC mode: shareable or private",
            default="private"),
    _option("default-network-opt", "nested", "Default options of new networks:"
            " DRIVER=OPTION=VALUE", "default-network-opts"),
    _option("default-registry", "text", "Registry of names without a host (Wherry's own)"),
    _option("default-runtime", "text", "Default OCI runtime", default="wherry"),
    _option("default-shm-size", "text", "Default size of /dev/shm", default="64MiB"),
    _option("default-ulimit", "ulimits", "Default ulimits: NAME=SOFT[:HARD]", "default-ulimits"),
    _option("dns", "list", "DNS servers"),
    _option("dns-opt", "list", "DNS options", "dns-opts"),
    _option("dns-search", "list", "DNS search domains"),
    _option("exec-opt", "list", "Runtime options: native.cgroupdriver=cgroupfs", "exec-opts"),
    _option("exec-root", "text", "Root directory of run-time state", default="/run/wherry"),
    _option("experimental", "flag", "Enable experimental features", default=False),
    _option("feature", "map", "Enable features: NAME=BOOL", "features"),
    _option("fixed-cidr", "text", "IPv4 range for addresses of the default bridge"),
    _option("fixed-cidr-v6", "text", "IPv6 range for addresses of the default bridge"),
    _option("group", "text", "Group of the unix socket", short="G", default="docker"),
    _option("host", "list", "Sockets to listen on: unix://, tcp://, fd://", "hosts", short="H"),
    _option("host-gateway-ip", "list", 'Address that "host-gateway" stands for',
            "host-gateway-ips"),
    _option("http-proxy", "text", "Proxy for HTTP registries"),
    _option("https-proxy", "text", "Proxy for HTTPS registries"),
    _option("icc", "flag", "Let containers on the default bridge talk", default=True),
    _option("init", "flag", "Run an init in every container", default=False),
    _option("init-path", "text", "Static program to use as the init instead of the built-in one"),
    _option("insecure-registry", "list", "Registries without TLS", "insecure-registries"),
    _option("ip", "text", "Default address for published ports", default="0.0.0.0"),
    _option("ip-forward", "flag", "Enable IP forwarding", default=True),
    _option("ip-masq", "flag", "Masquerade traffic to the outside", default=True),
    _option("ip6tables", "flag", "Set firewall rules for IPv6", default=True),
    _option("iptables", "flag", "Set firewall rules", default=True),
    _option("ipv6", "flag", "IPv6 on the default bridge", default=False),
    _option("label", "list", "Labels of the daemon: KEY=VALUE", "labels"),
    _option("live-restore", "flag", "Leave containers running when the daemon ends",
            default=True),
    _option("log-driver", "text", "Default log driver", default="json-file"),
    _option("log-format", "text", "Format of the daemon's log: text or json", default="text"),
    _option("log-level", "text", "debug, info, warn, error or fatal", short="l", default="info"),
    _option("log-opt", "map", "Options of the default log driver", "log-opts"),
    _option("max-concurrent-downloads", "number", "Layers pulled at once", default=3),
    _option("max-concurrent-uploads", "number", "Layers pushed at once", default=5),
    _option("max-download-attempts", "number", "Attempts for each layer", default=5),
    _option("mtu", "number", "MTU of the default bridge", default=1500),
    _option("no-new-privileges", "flag", "no-new-privileges for new containers", default=False),
    _option("no-proxy", "text", "Hosts reached without a proxy"),
    _option("oom-score-adjust", "number", "oom_score_adj of the daemon", default=0),
    _option("pidfile", "text", "PID file", short="p", default="/run/wherry.pid"),
    _option("raw-logs", "flag", "Log without colours, which Wherry does always", default=False),
    _option("registry-mirror", "list", "Mirrors of the default registry", "registry-mirrors"),
    _option("reset", "flag", "Begin anew where the state store is lost: what nobody knows any more"
            " is set aside", "", default=False),
    _option("seccomp-profile", "text", "Default seccomp profile, or unconfined"),
    _option("selinux-enabled", "flag", "Enable SELinux labels", default=False),
    _option("shutdown-timeout", "number", "Seconds that containers have to end, when they end with"
            " the daemon; -1 for ever", default=15),
    _option("storage-driver", "text", "Storage driver", short="s"),
    _option("storage-opt", "list", "Options of the storage driver", "storage-opts"),
    _option("tls", "flag", "Use TLS on TCP; implied by --tlsverify", default=False),
    _option("tlscacert", "text", "Trust certificates signed by this CA only"),
    _option("tlscert", "text", "The daemon's certificate"),
    _option("tlskey", "text", "The daemon's key"),
    _option("tlsverify", "flag", "Use TLS and ask clients for a certificate", default=False),
    _option("userland-proxy", "flag", "No difference: the kernel forwards published ports, one"
            " relay serves loopback", default=True),
    _option("userns-remap", "text", 'Each container has ids of its own ("default"); "host" turns'
            " that off"),
    _option("validate", "flag", "Check the configuration and exit", "", default=False),
    _option("version", "flag", "Print the version and exit", "", short="v", default=False),
)  # fmt: skip

_NO_CONTAINERD = "Wherry runs containers by itself, without containerd"
_NO_SWARM = "Wherry has no swarm mode"
REFUSED: Mapping[str, str] = {
    "allow-direct-routing": "a container's address is never reachable past its published ports;"
    ' give a network the option "com.docker.network.bridge.gateway_mode_ipv4=routed"',
    "authorization-plugins": "Wherry has no authorization plugins; use TLS client certificates",
    "cdi-spec-dirs": "Wherry does not read CDI specifications; use --device",
    "containerd": _NO_CONTAINERD,
    "containerd-namespace": _NO_CONTAINERD,
    "containerd-plugins-namespace": _NO_CONTAINERD,
    "cpu-rt-period": "Wherry does not share real-time scheduling out; set it in the cgroup parent",
    "cpu-rt-runtime": "Wherry does not share real-time scheduling out; set it in the cgroup parent",
    "cri-containerd": _NO_CONTAINERD,
    "ip-forward-no-drop": "Wherry never drops what other programs forward",
    "metrics-addr": "Wherry's daemon has no metrics address; use GET /containers/ID/stats",
    "network-control-plane-mtu": _NO_SWARM,
    "node-generic-resources": _NO_SWARM,
    "rootless": "Wherry's daemon needs root",
    "swarm-default-advertise-addr": _NO_SWARM,
    "userland-proxy-path": "the relay for loopback is built in",
}
"""Keys of dockerd for what does not exist here, and why."""
_REFUSED_FLAGS = {
    **{key: key for key in REFUSED},
    "authorization-plugin": "authorization-plugins",
    "cdi-spec-dir": "cdi-spec-dirs",
    "node-generic-resource": "node-generic-resources",
}

_BY_FLAG = {option.flag: option for option in OPTIONS}
_BY_SHORT = {option.short: option for option in OPTIONS if option.short}
_BY_KEY = {option.key: option for option in OPTIONS if option.key}
_FILE_ONLY = frozenset({"proxies", "builder", "allow-nondistributable-artifacts"})


def usage() -> str:
    """The help text."""
    lines = ["Usage:  wherry daemon [OPTIONS]", "", "Run the engine", "", "Options:"]
    for option in OPTIONS:
        short = f"-{option.short}, " if option.short else "    "
        value = "" if option.kind == "flag" else f" {option.kind}"
        lines.append(f"  {short}--{option.flag + value:<34} {option.help}")
    return "\n".join(lines) + "\n"


def parse_flags(arguments: Sequence[str]) -> dict[str, Any]:
    """Values by flag name, only of what was given; raises InvalidParameter."""
    values: dict[str, Any] = {}
    words = list(arguments)
    while words:
        word = words.pop(0)
        option, text = _recognise(word)
        if option.kind == "flag":
            text = "true" if text is None else text
        elif text is None:
            if not words:
                raise InvalidParameter(f"flag needs an argument: {word}")
            text = words.pop(0)
        values[option.flag] = _convert(option, text, values.get(option.flag))
    return values


def _recognise(word: str) -> tuple[Option, str | None]:
    if word.startswith("--"):
        name, equals, text = word[2:].partition("=")
        if name in _BY_FLAG:
            return _BY_FLAG[name], text if equals else None
        if name in _REFUSED_FLAGS:
            raise InvalidParameter(f"--{name}: {REFUSED[_REFUSED_FLAGS[name]]}")
        raise InvalidParameter(f"unknown flag: --{name}")
    if word.startswith("-") and word[1:2] in _BY_SHORT:
        rest = word[2:].removeprefix("=")
        return _BY_SHORT[word[1]], rest if word[2:] else None
    if word.startswith("-"):
        raise InvalidParameter(f"unknown shorthand flag: {word}")
    raise InvalidParameter(f'"wherry daemon" accepts no arguments: {word}')


def _convert(option: Option, text: str, before: Any) -> Any:
    if option.kind == "flag":
        if text not in _BOOLEANS:
            raise InvalidParameter(
                f'invalid argument "{text}" for "--{option.flag}": not a boolean'
            )
        return _BOOLEANS[text]
    if option.kind == "number":
        try:
            return int(text)
        except ValueError:
            raise InvalidParameter(
                f'invalid argument "{text}" for "--{option.flag}": not a number'
            ) from None
    if option.kind == "text":
        return text
    if option.kind == "list":
        return [*(before or ()), text]
    if option.kind == "objects" and option.flag == "default-address-pool":
        return [*(before or ()), _address_pool(text)]
    key, equals, value = text.partition("=")
    if not equals:
        raise InvalidParameter(f'invalid argument "{text}" for "--{option.flag}": not KEY=VALUE')
    if option.kind == "objects":
        return {**(before or {}), key: {"path": value}}
    if option.kind == "nested":
        name, equals, value = value.partition("=")
        if not equals:
            raise InvalidParameter(
                f'invalid argument "{text}" for "--{option.flag}": not {key}=OPTION=VALUE'
            )
        known = before or {}
        return {**known, key: {**known.get(key, {}), name: value}}
    return {**(before or {}), key: _ulimit(key, value) if option.kind == "ulimits" else value}


def _ulimit(name: str, text: str) -> dict[str, Any]:
    soft, _, hard = text.partition(":")
    try:
        return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}
    except ValueError:
        raise InvalidParameter(f"invalid ulimit argument: {name}={text}") from None


def _address_pool(text: str) -> dict[str, Any]:
    fields = dict(part.partition("=")[::2] for part in text.split(","))
    size = whole_number(fields.get("size", ""))
    if set(fields) != {"base", "size"} or size is None:
        raise InvalidParameter(f"invalid default address pool {text!r}: base=CIDR,size=BITS")
    return {"base": fields["base"], "size": size}


def read_file(path: str, *, required: bool) -> dict[str, Any]:
    """The keys of a configuration file; raises InvalidParameter."""
    try:
        with open(path, encoding="utf-8") as file:
            content = file.read()
    except FileNotFoundError:
        if required:
            raise InvalidParameter(f"open {path}: no such file or directory") from None
        return {}
    except OSError as error:
        raise InvalidParameter(f"open {path}: {error.strerror}") from None
    try:
        data = json.loads(content) if content.strip() else {}
    except ValueError as error:
        raise InvalidParameter(f"{path}: invalid JSON: {error}") from None
    if not isinstance(data, dict):
        raise InvalidParameter(f"{path}: the configuration must be a JSON object")
    return data


def merge(flags: Mapping[str, Any], file: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Every option's value by flag name: flag, else file, else default.

    Raises InvalidParameter for keys that are not known, of the wrong type, or given twice.
    """
    where = f"unable to configure the daemon with file {path}"
    for key, value in file.items():
        if key in REFUSED and value:
            raise InvalidParameter(f"{where}: {key}: {REFUSED[key]}")
    known = {*_BY_KEY, *_FILE_ONLY, *REFUSED}
    unknown = sorted(key for key in file if key not in known)
    if unknown:
        raise InvalidParameter(
            f"{where}: the following directives don't match any configuration option:"
            f" {', '.join(unknown)}"
        )
    both = [
        f"{key}: (from flag: {_shown(flags[option.flag])}, from file: {_shown(file[key])})"
        for key, option in _BY_KEY.items()
        if key in file and option.flag in flags and option.kind not in ("map", "nested", "ulimits")
    ]
    if both:
        raise InvalidParameter(
            f"{where}: the following directives are specified both as a flag and in the"
            f" configuration file: {', '.join(both)}"
        )
    values: dict[str, Any] = {}
    for option in OPTIONS:
        value = option.default
        if option.key and option.key in file:
            value = _checked(option, file[option.key], where)
        if option.flag in flags:
            given = flags[option.flag]
            value = {**value, **given} if isinstance(value, dict) else given
        if value is None:
            value = _empty(option.kind)
        values[option.flag] = value
    for name in ("http-proxy", "https-proxy", "no-proxy"):
        proxies = file.get("proxies")
        if isinstance(proxies, dict) and not values[name]:
            values[name] = str(proxies.get(name) or "")
    return values


def _empty(kind: Kind) -> Any:
    if kind == "list":
        return []
    return "" if kind == "text" else {}


def _checked(option: Option, value: Any, where: str) -> Any:
    types: dict[Kind, tuple[type, ...]] = {
        "text": (str,), "flag": (bool,), "number": (int,), "list": (list,), "map": (dict,),
        "nested": (dict,), "ulimits": (dict,), "objects": (dict, list),
    }  # fmt: skip
    expected = types[option.kind]
    if option.key == "host-gateway-ips" and isinstance(value, str):
        return [value]
    if not isinstance(value, expected) or (option.kind == "number" and isinstance(value, bool)):
        raise InvalidParameter(f"{where}: {option.key}: {_shown(value)} has the wrong type")
    if isinstance(value, list) and option.kind == "list":
        for item in value:
            if not isinstance(item, str):
                raise InvalidParameter(f"{where}: {option.key}: {_shown(item)} is no string")
    return value


def _shown(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value


def load(arguments: Sequence[str]) -> dict[str, Any]:
    """Flags and file together; raises InvalidParameter."""
    flags = parse_flags(arguments)
    path = os.path.abspath(flags.get("config-file", DEFAULT_CONFIG_FILE))
    return merge(flags, read_file(path, required="config-file" in flags), path)
