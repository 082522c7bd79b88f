"""A root file system as a list of operations: compared as data, nothing is mounted."""

from __future__ import annotations

from typing import Any

import pytest
from tests.containers import make_spec

from wherry.errors import InvalidParameter
from wherry.linux import mounts as m
from wherry.linux.cgroups import Layout
from wherry.linux.root import DirectoryRoot, OverlayRoot
from wherry.runtime import rootplan as plan
from wherry.runtime.rootplan import RootPlan, parse_options, plan_root

V2 = Layout((), "/sys/fs/cgroup", ("cpu", "memory"))
V1 = Layout(
    (("cpu", "/c/cpu,cpuacct"), ("cpuacct", "/c/cpu,cpuacct"), ("name=systemd", "/c/systemd")),
    None,
    (),
)
ROOT = OverlayRoot(("/l/top", "/l/base"), "/d/c/upper", "/d/c/work")
STRICT = m.ATTR_NOSUID | m.ATTR_NOEXEC | m.ATTR_NODEV


def planned(spec: dict[str, Any], root: Any = ROOT, **values: Any) -> RootPlan:
    return plan_root(spec, root, **{"tty": False, "cgroup": "/w/1", "layout": V2, **values})


def bare(**values: Any) -> dict[str, Any]:
    return {"linux": {"namespaces": [{"type": "cgroup"}]}, **values}


def test_overlay_comes_first_and_needs_its_id_map() -> None:
    made = planned(bare())
    assert made.building[0] == plan.Overlay((0, 1), 2, "upper", "work")
    assert made.sources[:3] == (
        plan.Tree("/l/top", required_idmap=True),
        plan.Tree("/l/base", required_idmap=True),
        plan.Tree("/d/c", required_idmap=True),
    )


def test_directory_root() -> None:
    made = planned(bare(), DirectoryRoot("/b/rootfs"))
    assert made.building[0] == plan.Directory(0)
    assert made.sources[0].path == "/b/rootfs"  # type: ignore[union-attr]


def test_default_spec_in_order() -> None:
    made = planned(make_spec(["true"]))
    targets = [getattr(operation, "target", None) for operation in made.building]
    assert targets == [
        None,
        "/proc",
        "/dev",
        "/dev/pts",
        "/dev/shm",
        "/dev/mqueue",
        "/sys",
        "/sys/fs/cgroup",
    ]
    assert made.building[1] == plan.Filesystem("proc", "/proc", (), STRICT, "proc")
    assert made.building[-1] == plan.Filesystem(
        "cgroup2", "/sys/fs/cgroup", (), STRICT | m.ATTR_RDONLY, "cgroup"
    )
    assert plan.ReadOnly("/proc/sys") in made.sealing
    assert made.sealing.index(plan.ReadOnly("/proc/sys")) < made.sealing.index(
        plan.Mask("/proc/keys")
    )


def test_devices_below_dev_are_in_its_tree_and_others_apart() -> None:
    spec = make_spec(["true"])
    spec["linux"]["devices"] = [
        {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o600},
        {"path": "/opt/x", "type": "b", "major": 8, "minor": 1},
    ]
    made = planned(spec)
    trees = [s for s in made.sources if isinstance(s, plan.DeviceTree)]
    assert plan.Node("net/tun", "c", 10, 200, 0o600) in trees[0].nodes
    assert trees[1].nodes == (plan.Node("0", "b", 8, 1, 0o666),)
    assert made.building[-1] == plan.DeviceFile(made.sources.index(trees[1]), "0", "/opt/x")


def test_a_bound_dev_gets_no_nodes() -> None:
    spec = bare(
        mounts=[{"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"]}]
    )
    made = planned(spec)
    assert not [s for s in made.sources if isinstance(s, plan.DeviceTree)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["rbind", "ro"], {"recursive": True, "set_attributes": m.ATTR_RDONLY}),
        (["bind", "rw"], {"recursive": False, "clear_attributes": m.ATTR_RDONLY}),
        (["rbind", "rro"], {"recursive": True, "set_recursively": m.ATTR_RDONLY}),
        (["rbind", "rshared"], {"recursive": True, "propagation": m.MS_SHARED | m.MS_REC}),
        (["bind", "slave"], {"propagation": m.MS_SLAVE}),
        (["bind", "noidmap"], {"idmap": False}),
    ],
)
def test_bind_options(options: list[str], expected: dict[str, Any]) -> None:
    entry = {"destination": "/x/../y", "type": "bind", "source": "/src", "options": options}
    made = planned(bare(mounts=[entry]))
    wanted = {"path": "/src", "propagation": m.MS_PRIVATE | m.MS_REC, **expected}
    assert made.sources[3] == plan.Tree(**wanted)
    assert plan.Bind(3, "/y") in made.building


def test_later_options_win_and_unknown_ones_are_data() -> None:
    parsed = parse_options(["ro", "rw", "nosuid", "suid", "noexec", "size=1m", "defaults"])
    assert parsed.set == m.ATTR_NOEXEC
    assert parsed.clear == m.ATTR_RDONLY | m.ATTR_NOSUID
    assert parsed.data == ("size=1m",)


CGROUP = {"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro", "nosuid"]}


def test_cgroup_v1_in_a_namespace_of_its_own() -> None:
    made = planned(bare(mounts=[CGROUP]), layout=V1)
    attributes = m.ATTR_RDONLY | m.ATTR_NOSUID
    assert made.building[1:7] == (
        plan.Filesystem("tmpfs", "/sys/fs/cgroup", ("mode=755",), m.ATTR_NOSUID, "tmpfs"),
        plan.Filesystem(
            "cgroup", "/sys/fs/cgroup/cpu,cpuacct", ("cpu", "cpuacct"), attributes, "cgroup"
        ),
        plan.Link("/sys/fs/cgroup/cpu", "cpu,cpuacct"),
        plan.Link("/sys/fs/cgroup/cpuacct", "cpu,cpuacct"),
        plan.Filesystem(
            "cgroup", "/sys/fs/cgroup/systemd", ("none", "name=systemd"), attributes, "cgroup"
        ),
        plan.Remount("/sys/fs/cgroup", m.ATTR_RDONLY),
    )


def test_cgroup_v1_in_the_hosts_namespace_shows_its_own_part() -> None:
    made = planned({"mounts": [CGROUP]}, layout=V1)
    paths = [s.path for s in made.sources if isinstance(s, plan.Tree)]
    assert "/c/cpu,cpuacct/w/1" in paths and "/c/systemd/w/1" in paths


def test_console_only_with_a_terminal() -> None:
    spec = bare(process={"consoleSize": {"height": 2, "width": 3}})
    assert plan.Console(2, 3) in planned(spec, tty=True).building
    assert not [o for o in planned(spec).building if isinstance(o, plan.Console)]


def test_read_only_root_is_sealed_last() -> None:
    spec = bare(root={"readonly": True})
    spec["linux"]["maskedPaths"] = ["/proc/keys"]
    assert planned(spec).sealing == (plan.Mask("/proc/keys"), plan.ReadOnlyRoot())


def test_a_relative_destination_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="not an absolute path: 'data'"):
        planned(bare(mounts=[{"destination": "data", "type": "tmpfs"}]))


def test_layers_of_an_image_are_trees_with_the_id_map() -> None:
    options = ["ro", "lowerdir+=/l/top", "lowerdir+=/l/base", "part=etc/x"]
    entry = {"destination": "/image", "type": "overlay", "source": "overlay", "options": options}
    made = planned(bare(mounts=[entry]))
    assert made.building[1] == plan.Layers((3, 4), "/image", "etc/x")
    assert made.sources[3:5] == (
        plan.Tree("/l/top", required_idmap=True),
        plan.Tree("/l/base", required_idmap=True),
    )


def test_an_overlay_without_layers_of_ours_is_an_ordinary_mount() -> None:
    entry = {"destination": "/o", "type": "overlay", "options": ["lowerdir=/a:/b"]}
    made = planned(bare(mounts=[entry]))
    assert made.building[1] == plan.Filesystem("overlay", "/o", ("lowerdir=/a:/b",), 0, "overlay")


@pytest.mark.parametrize(
    "destination",
    ["/proc/sys", "/proc//sys", "//proc/x", "/proc/../proc/x", "/x/../proc/self", "/proc/1/attr"],
)
@pytest.mark.parametrize("kind", ["bind", "tmpfs", "proc"])
def test_nothing_is_mounted_inside_proc(destination: str, kind: str) -> None:
    entry = {"destination": destination, "type": kind, "source": "/tmp"}
    with pytest.raises(InvalidParameter, match="inside /proc"):
        planned(bare(mounts=[entry]))


@pytest.mark.parametrize("destination", ["/proc", "//proc/", "/a/../proc"])
def test_only_a_procfs_or_a_tree_that_may_be_one_comes_to_proc(destination: str) -> None:
    entry = {"destination": destination, "type": "tmpfs", "source": "tmpfs"}
    with pytest.raises(InvalidParameter, match="not of type proc"):
        planned(bare(mounts=[entry]))
    bound = {**entry, "type": "", "options": ["rbind"], "source": "/proc"}
    assert plan.Bind(3, "/proc") in planned(bare(mounts=[bound])).building


@pytest.mark.parametrize("name", sorted(plan.OVER_PROC))
def test_files_of_numbers_may_be_covered(name: str) -> None:
    entry = {"destination": name, "type": "bind", "source": "/tmp/x"}
    assert plan.Bind(3, name) in planned(bare(mounts=[entry])).building


@pytest.mark.parametrize("destination", ["/process", "/procfs/x", "/host/proc/sys"])
def test_other_places_are_free(destination: str) -> None:
    entry = {"destination": destination, "type": "bind", "source": "/tmp"}
    assert plan.Bind(3, destination) in planned(bare(mounts=[entry])).building
