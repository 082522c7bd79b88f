"""Finding cgroup hierarchies from what /proc says."""

from __future__ import annotations

from wherry.linux.cgroups.layout import layout_of
from wherry.linux.mountinfo import parse_line

V1 = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
"""
UNIFIED = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
V2 = "24 22 0:22 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
OWN = "4:memory:/\n3:name=systemd:/\n1:cpu,cpuacct:/\n0::/\n"


def mounts(text: str) -> list[object]:
    return [parse_line(line) for line in text.splitlines()]


def test_version_1() -> None:
    layout = layout_of(mounts(V1), OWN, "")  # type: ignore[arg-type]
    assert layout.version == 1 and layout.unified is None
    assert layout.v1_mount("cpuacct") == "/sys/fs/cgroup/cpu,cpuacct"
    assert layout.hierarchies() == [
        "/sys/fs/cgroup/cpu,cpuacct",
        "/sys/fs/cgroup/memory",
        "/sys/fs/cgroup/systemd",
    ]


def test_hybrid() -> None:
    layout = layout_of(mounts(V1 + UNIFIED), OWN, "hugetlb")  # type: ignore[arg-type]
    assert layout.version == 1 and layout.unified == "/sys/fs/cgroup/unified"
    assert layout.has("hugetlb") and layout.has("memory") and not layout.has("io")


def test_version_2() -> None:
    layout = layout_of(mounts(V2), "0::/init.scope\n", "cpu memory pids io")  # type: ignore[arg-type]
    assert layout.version == 2
    assert layout.hierarchies() == ["/sys/fs/cgroup"]


def test_mountinfo_escapes_and_optional_fields() -> None:
    line = r"36 35 98:0 /a\040b /mnt/c\134d rw,noatime shared:1 master:2 - ext3 /dev/x rw,errors=ro"
    info = parse_line(line)
    assert (info.root, info.target, info.propagation) == (
        "/a b",
        r"/mnt/c\d",
        ("shared:1", "master:2"),
    )
    assert (info.kind, info.source, info.super_options) == ("ext3", "/dev/x", ("rw", "errors=ro"))
