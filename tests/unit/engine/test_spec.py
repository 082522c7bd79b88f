"""The OCI spec of a container, compared as data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from wherry.engine.config.container import ContainerConfig
from wherry.engine.config.host import DeviceMapping, HostConfig, Ulimit
from wherry.engine.config.mountpoints import parse_bind
from wherry.engine.spec import SpecInput, build, mounts
from wherry.engine.spec.resources import linux_resources
from wherry.engine.spec.runtimespec import environment, namespaces, sysctls
from wherry.engine.spec.security import (
    DEFAULT_CAPABILITIES,
    capabilities,
    parse_security_options,
)
from wherry.errors import InvalidParameter

BASE = SpecInput(
    config=ContainerConfig(hostname="box"),
    host=HostConfig(network_mode="bridge", ipc_mode="private", cgroupns_mode="private",
                    shm_size=1 << 20),
    args=("sh",),
    first_id=524288,
)  # fmt: skip


def kinds(given: SpecInput) -> list[str]:
    return [one["type"] for one in namespaces(given)]


def test_by_default_every_namespace_is_its_own() -> None:
    assert kinds(BASE) == ["user", "mount", "pid", "uts", "ipc", "network", "cgroup"]


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"pid_mode": "host"}, "pid"),
        ({"network_mode": "host"}, "network"),
        ({"ipc_mode": "host"}, "ipc"),
        ({"uts_mode": "host"}, "uts"),
        ({"cgroupns_mode": "host"}, "cgroup"),
    ],
)
def test_host_modes_leave_a_namespace_out(change: dict[str, str], missing: str) -> None:
    assert missing not in kinds(replace(BASE, host=replace(BASE.host, **change)))


def test_joined_namespaces_are_paths() -> None:
    joined = replace(BASE, joined={"network": "/proc/7/ns/net", "user": "/proc/7/ns/user"})
    found = {one["type"]: one.get("path") for one in namespaces(joined)}
    assert (found["network"], found["user"]) == ("/proc/7/ns/net", "/proc/7/ns/user")
    assert sysctls(joined) == {}


def test_the_host_s_message_queues_are_shared_where_there_are_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = replace(BASE, host=replace(BASE.host, ipc_mode="host"))
    for place, expected in ((tmp_path, True), (tmp_path / "none", False)):
        monkeypatch.setattr(mounts, "_HOST_QUEUES", str(place))
        targets = {one["destination"] for one in build(shared)["mounts"]}
        assert ("/dev/mqueue" in targets) is expected


def test_ids_are_mapped_only_with_a_user_namespace() -> None:
    linux = build(BASE)["linux"]
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": 524288, "size": 65536}]
    assert "uidMappings" not in build(replace(BASE, first_id=None))["linux"]


def test_environment_in_docker_s_order_and_with_removal() -> None:
    config = ContainerConfig(hostname="h", tty=True, env=("A=1", "PATH=/x", "TERM"))
    assert environment(config, ["LINK=2"]) == ["PATH=/x", "HOSTNAME=h", "LINK=2", "A=1"]


def test_capabilities() -> None:
    plain = capabilities((), (), privileged=False, last=40)
    assert plain == list(DEFAULT_CAPABILITIES)
    assert capabilities(("net_admin",), ("ALL",), privileged=False, last=40) == ["CAP_NET_ADMIN"]
    everything = capabilities(("ALL",), ("CAP_SYS_ADMIN",), privileged=False, last=40)
    assert len(everything) == 40
    assert "CAP_SYS_ADMIN" not in everything
    assert len(capabilities((), ("ALL",), privileged=True, last=40)) == 41


def test_no_process_ever_has_inheritable_or_ambient_capabilities() -> None:
    for host in (BASE.host, replace(BASE.host, privileged=True)):
        sets = build(replace(BASE, host=host))["process"]["capabilities"]
        assert (sets["inheritable"], sets["ambient"]) == ([], [])


@pytest.mark.parametrize("option", ["bogus", "foo=bar", "no-new-privileges=maybe", "seccomp={"])
def test_security_options_that_are_none(option: str) -> None:
    with pytest.raises(InvalidParameter):
        parse_security_options([option])


def test_security_options() -> None:
    options = parse_security_options(
        ["no-new-privileges", "seccomp=unconfined", "label=disable", "apparmor:x"]
    )
    assert (options.no_new_privileges, options.seccomp, options.apparmor) == (
        True,
        "unconfined",
        "x",
    )


def test_cpus_become_a_quota() -> None:
    assert linux_resources(HostConfig(nano_cpus=500_000_000))["cpu"] == {
        "period": 100_000,
        "quota": 50_000,
    }


def test_nothing_asked_is_nothing_set() -> None:
    assert linux_resources(HostConfig()) == {}


def test_everything_is_denied_but_the_known_devices() -> None:
    rules = build(BASE)["linux"]["resources"]["devices"]
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"} in rules


def test_a_device_that_is_not_there_is_refused() -> None:
    host = replace(BASE.host, devices=(DeviceMapping("/dev/nosuch", "", ""),))
    with pytest.raises(InvalidParameter, match='custom device "/dev/nosuch"'):
        build(replace(BASE, host=host))


def test_what_is_asked_for_covers_the_engine_s_files() -> None:
    given = replace(
        BASE,
        mounts=[parse_bind("/mine:/etc/hosts"), parse_bind("/x:/data:ro")],
        files={"/etc/hosts": "/ours", "/etc/hostname": "/name"},
    )
    binds = {
        one["destination"]: (one["source"], one["options"])
        for one in build(given)["mounts"]
        if one["type"] == "bind"
    }
    assert binds["/etc/hosts"][0] == "/mine"
    assert binds["/etc/hostname"][0] == "/name"
    assert "ro" in binds["/data"][1] and "rro" in binds["/data"][1]


def test_a_volume_on_a_parent_does_not_hide_the_engine_s_files() -> None:
    given = replace(
        BASE,
        mounts=[parse_bind("/x:/etc"), parse_bind("/y:/etc/below/it")],
        files={"/etc/hosts": "/ours"},
    )
    order = [one["destination"] for one in build(given)["mounts"] if one["type"] == "bind"]
    assert order[-3:] == ["/etc", "/etc/hosts", "/etc/below/it"]


def test_a_read_only_root_and_its_limits() -> None:
    host = replace(BASE.host, readonly_rootfs=True, ulimits=(Ulimit("nofile", 20, 10),))
    files = {"/etc/hosts": "/ours"}
    spec = build(replace(BASE, host=host, files=files, ulimits={"core": (0, 0), "nofile": (1, 1)}))
    hosts = next(one for one in spec["mounts"] if one["destination"] == "/etc/hosts")
    assert "ro" in hosts["options"]
    assert spec["root"]["readonly"] is True
    assert spec["process"]["rlimits"] == [
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20},
    ]
