"""The flags that ``run`` and ``create`` share."""

from __future__ import annotations

from wherry.cli.flags import Flag
from wherry.cli.kinds import (
    BOOL,
    BYTES,
    DURATION,
    INT,
    LIST,
    MAP,
    MEMORY_SWAP,
    NANO_CPUS,
    STRING,
    UINT,
    UINT16,
    Kind,
    checked_list,
)
from wherry.cli.options import checks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _mount(text: str, current: list[Any]) -> list[Any]:
    from wherry.cli.options.mounts import parse_mount

    return [*current, parse_mount(text)]


def _network(text: str, current: list[Any]) -> list[Any]:
    from wherry.cli.options.networks import parse_network

    return [*current, parse_network(text)]


def _gpus(text: str, current: list[Any]) -> list[Any]:
    from wherry.cli.options.gpus import parse_gpus

    return [*current, parse_gpus(text)]


def _entry(check: Any) -> Any:
    return lambda text, current: [*current, check(text)]


def _sysctl(text: str, current: dict[str, str]) -> dict[str, str]:
    name, _, value = checks.sysctl(text).partition("=")
    return {**current, name: value}


ENVIRONMENT = checked_list(checks.environment)
LABELS = checked_list(checks.label)
NETWORK = Kind("network", [], _network)
ULIMIT = Kind("ulimit", [], _entry(checks.ulimit))
EXTRA_HOSTS = checked_list(checks.extra_host)

PROCESS = (
    Flag("attach", "a", checked_list(checks.stream), "Attach to STDIN, STDOUT or STDERR"),
    Flag("interactive", "i", BOOL, "Keep STDIN open even if not attached"),
    Flag("tty", "t", BOOL, "Allocate a pseudo-terminal"),
    Flag("user", "u", STRING, "User name or id (<name|uid>[:<group|gid>])"),
    Flag("workdir", "w", STRING, "Working directory inside the container"),
    Flag("entrypoint", "", STRING, "Replace the image's ENTRYPOINT"),
    Flag("env", "e", ENVIRONMENT, "Set environment variables"),
    Flag("env-file", "", LIST, "Read environment variables from a file"),
    Flag("hostname", "h", STRING, "Host name of the container"),
    Flag("domainname", "", STRING, "NIS domain name of the container"),
    Flag("init", "", BOOL, "Run an init that forwards signals and reaps processes"),
    Flag("group-add", "", LIST, "Join additional groups"),
    Flag("stop-signal", "", STRING, "Signal that stops the container"),
    Flag("stop-timeout", "", INT, "Seconds to wait for a stop before killing"),
    Flag("rm", "", BOOL, "Remove the container and its anonymous volumes when it exits"),
    Flag("restart", "", STRING, "Restart policy to apply when the container exits", default="no"),
    Flag("label", "l", LABELS, "Set metadata on the container"),
    Flag("label-file", "", LIST, "Read labels from a file, one a line"),
    Flag("annotation", "", MAP, "Add an annotation for the OCI runtime"),
    Flag("runtime", "", STRING, "Runtime to use for this container"),
    Flag("isolation", "", STRING, "Isolation technology"),
    Flag("cidfile", "", STRING, "Write the container's id to this file"),
    Flag("name", "", STRING, "Assign a name to the container"),
    Flag("platform", "", STRING, "Platform of the image (os/arch[/variant])"),
    Flag(
        "pull",
        "",
        STRING,
        'Pull the image before ("always", "missing", "never")',
        default="missing",
    ),
    Flag("quiet", "q", BOOL, "No output of a pull"),
    Flag("help", "", BOOL, "Print usage", hidden=True),
    Flag("disable-content-trust", "", BOOL, "Skip image verification", default=True, hidden=True),
)

NAMESPACES = (
    Flag("pid", "", STRING, "PID namespace to use"),
    Flag("ipc", "", STRING, "IPC mode to use"),
    Flag("uts", "", STRING, "UTS namespace to use"),
    Flag("userns", "", STRING, "User namespace to use"),
    Flag("cgroupns", "", STRING, "Cgroup namespace to use (host|private)"),
)

SECURITY = (
    Flag("privileged", "", BOOL, "Give extended privileges to this container"),
    Flag("cap-add", "", LIST, "Add Linux capabilities"),
    Flag("cap-drop", "", LIST, "Drop Linux capabilities"),
    Flag("security-opt", "", LIST, "Security options"),
    Flag("read-only", "", BOOL, "Mount the root file system read only"),
    Flag("sysctl", "", Kind("map", {}, _sysctl), "Kernel parameters of the namespaces"),
    Flag("use-api-socket", "", BOOL, "Give the container the engine's socket and credentials"),
)

NETWORKING = (
    Flag("network", "", NETWORK, "Connect the container to a network"),
    Flag("net", "", NETWORK, "Connect the container to a network", alias_of="network"),
    Flag("network-alias", "", LIST, "Add a name for the container on its network"),
    Flag(
        "net-alias",
        "",
        LIST,
        "Add a name for the container on its network",
        alias_of="network-alias",
    ),
    Flag("ip", "", STRING, "IPv4 address (e.g., 172.30.100.104)"),
    Flag("ip6", "", STRING, "IPv6 address (e.g., 2001:db8::33)"),
    Flag("link", "", checked_list(checks.link), "Add a link to another container"),
    Flag("link-local-ip", "", checked_list(checks.ip_address), "IPv4/IPv6 link-local addresses"),
    Flag("mac-address", "", STRING, "MAC address (e.g., 92:d0:c6:0a:29:33)"),
    Flag("publish", "p", LIST, "Publish container ports to the host"),
    Flag("publish-all", "P", BOOL, "Publish all exposed ports to random ports"),
    Flag("expose", "", LIST, "Expose a port or a range of ports"),
    Flag("add-host", "", EXTRA_HOSTS, "Add a host-to-address mapping (host:ip)"),
    Flag("dns", "", checked_list(checks.ip_address), "Set DNS servers"),
    Flag("dns-option", "", LIST, "Set DNS options"),
    Flag("dns-opt", "", LIST, "Set DNS options", alias_of="dns-option"),
    Flag("dns-search", "", checked_list(checks.dns_search), "Set DNS search domains"),
)

STORAGE = (
    Flag("volume", "v", LIST, "Mount a volume or a path of the host"),
    Flag("mount", "", Kind("mount", [], _mount), "Attach a file system to the container"),
    Flag("tmpfs", "", LIST, "Mount a tmpfs directory"),
    Flag("volumes-from", "", LIST, "Mount the volumes of other containers"),
    Flag("volume-driver", "", STRING, "Volume driver for the container"),
    Flag("storage-opt", "", LIST, "Storage driver options for the container"),
)

_WEIGHT_DEVICES = Kind("list", [], _entry(checks.weight_device))
_BPS_DEVICES = Kind("list", [], _entry(checks.throttle_bps))
_IOPS_DEVICES = Kind("list", [], _entry(checks.throttle_iops))

RESOURCES = (
    Flag("cpus", "", NANO_CPUS, "Number of CPUs"),
    Flag("cpu-shares", "c", INT, "CPU shares (relative weight)"),
    Flag("cpu-period", "", INT, "CPU scheduler period in microseconds"),
    Flag("cpu-quota", "", INT, "CPU scheduler quota in microseconds"),
    Flag("cpu-rt-period", "", INT, "Real-time period in microseconds"),
    Flag("cpu-rt-runtime", "", INT, "Real-time run time in microseconds"),
    Flag("cpuset-cpus", "", STRING, "CPUs to run on (0-3, 0,1)"),
    Flag("cpuset-mems", "", STRING, "Memory nodes to use (0-3, 0,1)"),
    Flag("cpu-count", "", INT, "CPU count (Windows only)"),
    Flag("cpu-percent", "", INT, "CPU percent (Windows only)"),
    Flag("memory", "m", BYTES, "Memory limit"),
    Flag("memory-reservation", "", BYTES, "Memory soft limit"),
    Flag("memory-swap", "", MEMORY_SWAP, "Limit of memory plus swap: '-1' for unlimited swap"),
    Flag("memory-swappiness", "", INT, "Swappiness (0 to 100)", default=-1),
    Flag("kernel-memory", "", BYTES, "Kernel memory limit", hidden=True),
    Flag("oom-kill-disable", "", BOOL, "Disable the OOM killer"),
    Flag("oom-score-adj", "", INT, "OOM preference (-1000 to 1000)"),
    Flag("pids-limit", "", INT, "Limit of processes (-1 for unlimited)"),
    Flag("shm-size", "", BYTES, "Size of /dev/shm"),
    Flag("blkio-weight", "", UINT16, "Block I/O weight, 10 to 1000, or 0 to disable"),
    Flag("blkio-weight-device", "", _WEIGHT_DEVICES, "Block I/O weight of a device"),
    Flag("device-read-bps", "", _BPS_DEVICES, "Limit read rate in bytes per second"),
    Flag("device-write-bps", "", _BPS_DEVICES, "Limit write rate in bytes per second"),
    Flag("device-read-iops", "", _IOPS_DEVICES, "Limit read operations per second"),
    Flag("device-write-iops", "", _IOPS_DEVICES, "Limit write operations per second"),
    Flag("io-maxbandwidth", "", BYTES, "Maximum I/O bandwidth (Windows only)"),
    Flag("io-maxiops", "", UINT, "Maximum I/O operations (Windows only)"),
    Flag("cgroup-parent", "", STRING, "Parent cgroup of the container"),
    Flag("device", "", LIST, "Add a device of the host"),
    Flag("device-cgroup-rule", "", checked_list(checks.device_rule), "Allow devices by a rule"),
    Flag("gpus", "", Kind("gpu-request", [], _gpus), "GPU devices to add ('all' for all)"),
    Flag("ulimit", "", ULIMIT, "Resource limits of processes"),
)

LOGGING = (
    Flag("log-driver", "", STRING, "Logging driver of the container"),
    Flag("log-opt", "", LIST, "Log driver options"),
)

HEALTH = (
    Flag("health-cmd", "", STRING, "Command that checks the health"),
    Flag("health-interval", "", DURATION, "Time between checks (ms|s|m|h)"),
    Flag("health-retries", "", INT, "Failures in a row that mean unhealthy"),
    Flag("health-start-interval", "", DURATION, "Time between checks at the start (ms|s|m|h)"),
    Flag("health-start-period", "", DURATION, "Time to start before failures count (ms|s|m|h)"),
    Flag("health-timeout", "", DURATION, "Longest time of one check (ms|s|m|h)"),
    Flag("no-healthcheck", "", BOOL, "Disable the image's HEALTHCHECK"),
)

CONTAINER_FLAGS = (
    *PROCESS,
    *NAMESPACES,
    *SECURITY,
    *NETWORKING,
    *STORAGE,
    *RESOURCES,
    *LOGGING,
    *HEALTH,
)

WINDOWS_ONLY = ("cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops")
