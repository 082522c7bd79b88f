"""Making containers for tests straight through the runtime: a busybox root and an OCI spec."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wherry.linux.cgroups import Cgroup
from wherry.linux.root import OverlayRoot
from wherry.runtime.bundle import Bundle, LogConfig

DEFAULT_CAPABILITIES = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
]
MASKED = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
RANGE = 1_000_000_000
"""First host id of the tests' user namespaces."""

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def make_busybox_root(folder: Path) -> None:
    """A root file system out of the static busybox of the host."""
    for name in ("bin", "etc", "tmp", "root", "proc", "sys", "dev", "var"):
        (folder / name).mkdir(parents=True)
    (folder / "tmp").chmod(0o1777)
    shutil.copy("/bin/busybox", folder / "bin/busybox")
    for applet in os.popen("/bin/busybox --list").read().split():
        if applet != "busybox":
            (folder / "bin" / applet).symlink_to("busybox")
    (folder / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"
    )
    (folder / "etc/group").write_text("root:x:0:\nextra:x:2000:app\nother:x:2001:\napp:x:1000:\n")
    folder.chmod(0o755)


def mounts(*, tmpfs_dev: bool = True) -> list[dict[str, Any]]:
    """Docker's default mounts."""
    strict = ["nosuid", "noexec", "nodev"]
    devices = [
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {
            "destination": "/dev/shm",
            "type": "tmpfs",
            "source": "shm",
            "options": [*strict, "mode=1777", "size=67108864"],
        },
        {
            "destination": "/dev/mqueue",
            "type": "mqueue",
            "source": "mqueue",
            "options": list(strict),
        },
    ]
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": list(strict)},
        *(devices if tmpfs_dev else []),
        {
            "destination": "/sys",
            "type": "sysfs",
            "source": "sysfs",
            "options": [*strict, "ro"],
        },
        {
            "destination": "/sys/fs/cgroup",
            "type": "cgroup",
            "source": "cgroup",
            "options": ["ro", *strict],
        },
    ]


def make_spec(args: list[str], *, user_namespace: bool = True) -> dict[str, Any]:
    """A spec as the engine makes it by default; tests change what they test."""
    capabilities = {
        name: list(DEFAULT_CAPABILITIES) for name in ("bounding", "effective", "permitted")
    }
    kinds = ["mount", "pid", "uts", "ipc", "network", "cgroup"]
    linux: dict[str, Any] = {
        "maskedPaths": list(MASKED),
        "readonlyPaths": list(READ_ONLY),
        "resources": {"devices": [{"allow": False, "access": "rwm"}, *_default_device_rules()]},
    }
    if user_namespace:
        kinds.insert(0, "user")
        mapping = [{"containerID": 0, "hostID": RANGE, "size": 65536}]
        linux |= {"uidMappings": mapping, "gidMappings": mapping}
    linux["namespaces"] = [{"type": kind} for kind in kinds]
    return {
        "ociVersion": "1.2.0",
        "process": {
            "args": args,
            "env": [_PATH],
            "cwd": "/",
            "user": {"uid": 0, "gid": 0},
            "capabilities": capabilities,
        },
        "root": {"path": "rootfs"},
        "hostname": "box",
        "mounts": mounts(),
        "linux": linux,
    }


def _default_device_rules() -> list[dict[str, Any]]:
    known = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, None)]
    rules: list[dict[str, Any]] = [
        {"allow": True, "type": kind, "access": "m"} for kind in ("c", "b")
    ]
    for major, minor in known:
        rule = {"allow": True, "type": "c", "major": major, "access": "rwm"}
        rules.append(rule if minor is None else {**rule, "minor": minor})
    return rules


@dataclass
class Workshop:
    """A temporary place where tests make bundles on one shared busybox layer."""

    folder: Path
    lower: Path
    cgroup: str = field(default_factory=lambda: f"/wherry-test-{uuid.uuid4().hex[:8]}")

    def bundle(self, spec: dict[str, Any], **values: Any) -> Bundle:
        """A bundle for ``spec`` with a fresh upper directory."""
        container = uuid.uuid4().hex
        place = self.folder / container
        for name in ("upper", "work"):
            (place / name).mkdir(parents=True)
        (place / "upper").chmod(0o755)
        defaults: dict[str, Any] = {
            "id": container,
            "spec": spec,
            "root": OverlayRoot((str(self.lower),), f"{place}/upper", f"{place}/work"),
            "directory": str(place),
            "socket": f"{place}/shim.sock",
            "cgroup": f"{self.cgroup}/{container}",
            "log": LogConfig(path=f"{place}/log.json"),
        }
        return Bundle(**{**defaults, **values})

    def clean(self) -> None:
        """Kill what still runs and remove the cgroups."""
        group = Cgroup(self.cgroup)
        if group.exists():
            group.kill()
            group.remove()


@contextmanager
def workshop() -> Iterator[Workshop]:
    """A `Workshop` that takes everything away again."""
    folder = Path(tempfile.mkdtemp(prefix="wherry-test-"))
    try:
        lower = folder / "busybox"
        lower.mkdir()
        make_busybox_root(lower)
        shop = Workshop(folder, lower)
        yield shop
        shop.clean()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
