"""Requests become dataclasses and come back as the API shows them; what is wrong is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.engine.config import rules
from wherry.engine.config.codec import decode, encode
from wherry.engine.config.container import ContainerConfig
from wherry.engine.config.host import HostConfig, Resources, RestartPolicy
from wherry.engine.config.limits import (
    HostFacts,
    check_resources,
    parse_number_set,
    show_number_set,
)
from wherry.engine.config.merge import complete_host, merge_image
from wherry.engine.config.mount import Mount
from wherry.engine.config.mountpoints import bind_propagation, parse_bind, parse_mount, parse_tmpfs
from wherry.engine.config.signals import parse_signal
from wherry.engine.options import EngineConfig
from wherry.errors import InvalidParameter

FACTS = HostFacts(frozenset({0, 1}), frozenset({0}), 1, frozenset())


def test_hostconfig_has_the_69_fields_of_the_api_in_their_order() -> None:
    shown = encode(
        HostConfig(
            annotations={"a": "b"},
            storage_opt={"size": "1g"},
            tmpfs={"/t": ""},
            sysctls={"net.x": "1"},
            runtime="r",
            mounts=(Mount("bind", "/a", "/b"),),
            init=True,
        )
    )
    assert len(shown) == 69
    assert list(shown)[:4] == ["Binds", "ContainerIDFile", "LogConfig", "NetworkMode"]
    assert list(shown)[-4:] == ["Mounts", "MaskedPaths", "ReadonlyPaths", "Init"]


def test_keys_match_without_regard_to_case_and_null_means_not_given() -> None:
    host = decode(HostConfig, {"memory": 7, "CPUSHARES": 5, "Binds": None, "Unknown": 1})
    assert (host.memory, host.cpu_shares, host.binds) == (7, 5, None)


@pytest.mark.parametrize(
    ("cls", "body", "message"),
    [
        (HostConfig, {"Memory": "1"}, "cannot unmarshal string into Go struct field"),
        (HostConfig, {"Memory": 2**63}, f"cannot unmarshal number {2**63}"),
        (HostConfig, {"Privileged": 1}, "HostConfig.Privileged of type bool"),
        (ContainerConfig, {"Env": "A=b"}, "ContainerConfig.Env of type []string"),
        (ContainerConfig, {"Cmd": 3}, "ContainerConfig.Cmd of type []string"),
        (ContainerConfig, {"Labels": {"a": 1}}, "cannot unmarshal number"),
    ],
)
def test_a_wrong_type_is_told_in_known_words(cls: Any, body: Any, message: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid JSON: json: ") as failure:
        decode(cls, body)
    assert message in str(failure.value)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
_NAMES = st.sampled_from([one.metadata["name"] for one in HostConfig.__dataclass_fields__.values()])


@given(st.dictionaries(_NAMES, _JSON, max_size=4))
def test_any_json_is_parsed_or_refused_and_what_is_parsed_survives(body: dict[str, Any]) -> None:
    try:
        parsed = decode(HostConfig, body)
    except InvalidParameter:
        return
    # Compared as shown: a list that is left out when empty does not tell [] from null.
    assert encode(decode(HostConfig, encode(parsed))) == encode(parsed)


def test_a_command_may_be_one_string() -> None:
    assert decode(ContainerConfig, {"Cmd": "ls -l"}).cmd == ("ls -l",)


def test_an_entrypoint_of_one_s_own_leaves_the_image_s_command_behind() -> None:
    image = ContainerConfig(entrypoint=("/entry",), cmd=("arg",), env=("A=1", "B=2"))
    assert merge_image(ContainerConfig(), image).cmd == ("arg",)
    assert merge_image(ContainerConfig(cmd=("x",)), image).entrypoint == ("/entry",)
    own = merge_image(ContainerConfig(entrypoint=("/own",)), image)
    assert (own.entrypoint, own.cmd) == (("/own",), None)
    cleared = merge_image(ContainerConfig(entrypoint=("",), cmd=("x",)), image)
    assert cleared.entrypoint is None
    assert merge_image(ContainerConfig(env=("A=9",)), image).env == ("A=9", "B=2")


def test_memory_alone_allows_as_much_swap() -> None:
    host = complete_host(HostConfig(memory=100 << 20), EngineConfig(), 1)
    assert host.memory_swap == 200 << 20
    assert (host.network_mode, host.ipc_mode, host.restart_policy.name) == (
        "bridge",
        "private",
        "no",
    )
    assert complete_host(HostConfig(privileged=True), EngineConfig(), 2).masked_paths is None


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"memory": 4 << 20}, "Minimum memory limit allowed is 6MB"),
        ({"memory": 8 << 20, "memory_swap": 7 << 20}, "larger than memory limit"),
        ({"memory_swap": 7 << 20}, "always set the Memory limit"),
        ({"memory_swappiness": 101}, "valid memory swappiness range is 0-100"),
        ({"memory_reservation": 1}, "Minimum memory reservation allowed is 6MB"),
        ({"memory": 7 << 20, "memory_reservation": 8 << 20}, "less than memory reservation"),
        ({"nano_cpus": 1, "cpu_period": 5000}, "Nano CPUs and CPU Period cannot both be set"),
        ({"nano_cpus": 3 * 10**9}, "range of CPUs is from 0.01 to 2.00"),
        ({"cpu_period": 999}, "CPU cfs period can not be less than 1ms"),
        ({"cpu_quota": 999}, "CPU cfs quota can not be less than 1ms"),
        ({"cpuset_cpus": "0-5"}, "Requested CPUs are not available - requested 0-5, available:"),
        ({"cpuset_cpus": "x"}, "Invalid value x for cpuset cpus"),
        ({"cpuset_cpus": "1-2147483647"}, "Invalid value"),
        ({"blkio_weight": 5}, "Range of blkio weight is from 10 to 1000"),
    ],
)
def test_limits_that_cannot_be(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameter) as failure:
        check_resources(Resources(**given_), FACTS)
    assert message in str(failure.value)


def test_what_the_host_lacks_is_dropped_with_a_warning() -> None:
    v2 = replace(FACTS, cgroup_version=2, swap_limit=False)
    asked = Resources(memory=8 << 20, memory_swap=9 << 20, memory_swappiness=3)
    changed, warnings = check_resources(asked, v2)
    assert (changed.memory_swap, changed.memory_swappiness) == (-1, None)
    assert len(warnings) == 2


def test_the_swappiness_that_clients_send_for_none_is_none() -> None:
    changed, warnings = check_resources(Resources(memory_swappiness=-1), FACTS)
    assert (changed.memory_swappiness, warnings) == (None, [])


def test_no_volumes_are_told_as_none() -> None:
    merged = merge_image(ContainerConfig(volumes=(), cmd=("a",)), ContainerConfig())
    assert merged.volumes is None


@given(st.sets(st.integers(0, 200), min_size=1))
def test_number_sets_round_trip(numbers: set[int]) -> None:
    assert parse_number_set(show_number_set(numbers)) == numbers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a:/b", ("bind", "/a", "/b", True, "")),
        ("/a:/b:ro,rslave", ("bind", "/a", "/b", False, "rslave")),
        ("vol:/b:ro", ("volume", "", "/b", False, "")),
        ("/b", ("volume", "", "/b", True, "")),
        ("/a/../c:/b//d/", ("bind", "/c", "/b/d", True, "")),
    ],
)
def test_binds(text: str, expected: tuple[Any, ...]) -> None:
    point = parse_bind(text)
    found = (point.type, point.source, point.destination, point.read_write, point.propagation)
    assert found == expected


@pytest.mark.parametrize(
    ("source", "within"),
    [
        *(("/d/r", True), ("/d/r/x/y", True), ("/d", True), ("/", True)),
        *(("/d/r2", False), ("/e", False), ("/d/s", False), ("/dd", False)),
    ],
)
def test_propagation_of_binds_near_the_data_root(source: str, within: bool) -> None:
    assert bind_propagation(source, "", "/d/r") == ("rslave" if within else "rprivate")
    for asked in ("rslave", "rshared"):
        assert bind_propagation(source, asked, "/d/r") == asked
    for asked in ("private", "rprivate", "slave", "shared"):
        if not within:
            assert bind_propagation(source, asked, "/d/r") == asked
            continue
        with pytest.raises(InvalidParameter, match=r'must use either .* "rslave" or "rshared"'):
            bind_propagation(source, asked, "/d/r")


@pytest.mark.parametrize(
    "text", ["/a:b", "/a:/", "a:b:c:d", "/a:/b:bad", "/a:/b:ro,rw", "x:/b", ""]
)
def test_binds_that_cannot_be(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse_bind(text)


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        (Mount("bind", "/a"), "field Target must not be empty"),
        (Mount("bind", "", "/b"), "field Source must not be empty"),
        (Mount("bind", "a", "/b"), "mount path must be absolute"),
        (Mount("tmpfs", "/a", "/b"), "field Source must not be specified"),
        (Mount("nosuch", "/a", "/b"), 'mount config for type "nosuch": mount type unknown'),
        (Mount("volume", "v1", "/"), "destination can't be '/'"),
    ],
)
def test_mounts_that_cannot_be(mount: Mount, message: str) -> None:
    with pytest.raises(InvalidParameter) as failure:
        parse_mount(mount)
    assert message in str(failure.value)


def test_tmpfs_options_are_checked() -> None:
    assert parse_tmpfs("/t", "size=1m,ro").options == ("size=1m", "ro")
    with pytest.raises(InvalidParameter):
        parse_tmpfs("/t", "bogus=1")


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (RestartPolicy("sometimes", 0), "unknown policy 'sometimes'"),
        (RestartPolicy("always", 3), "can only be used with 'on-failure'"),
        (RestartPolicy("on-failure", -1), "cannot be negative"),
    ],
)
def test_restart_policies_that_cannot_be(policy: RestartPolicy, message: str) -> None:
    with pytest.raises(InvalidParameter) as failure:
        rules.check_restart_policy(policy)
    assert message in str(failure.value)


@pytest.mark.parametrize(
    ("config", "host", "message"),
    [
        ({}, {"auto_remove": True, "restart_policy": RestartPolicy("always", 0)}, "AutoRemove"),
        ({}, {"oom_score_adj": 1001}, "range for oom score adj is [-1000, 1000]"),
        ({}, {"cap_add": ("NOSUCH",)}, 'unknown capability: "CAP_NOSUCH"'),
        ({}, {"pid_mode": "bogus"}, "invalid PID mode: bogus"),
        ({}, {"ipc_mode": "container:"}, "invalid IPC mode"),
        ({"hostname": "h"}, {"uts_mode": "host"}, "hostname and the UTS mode"),
        ({"hostname": "h"}, {"network_mode": "container:x"}, "hostname and the network mode"),
        ({}, {"network_mode": "host", "links": ("a:b",)}, "can't be used with links"),
        ({}, {"sysctls": {"kernel.panic": "1"}}, "not whitelisted"),
        ({}, {"network_mode": "host", "sysctls": {"net.x": "1"}}, "host network namespace"),
        ({}, {"device_cgroup_rules": ("x",)}, "invalid device cgroup rule format: 'x'"),
    ],
)
def test_contradictions_are_refused(
    config: dict[str, Any], host: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidParameter) as failure:
        rules.check_host(ContainerConfig(**config), HostConfig(**host))
    assert message in str(failure.value)


@pytest.mark.parametrize(
    ("text", "number"), [("SIGTERM", 15), ("term", 15), ("9", 9), ("RTMIN+3", 37)]
)
def test_signals(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "-1", "SIGBOGUS", "65", "²"])
def test_signals_that_are_none(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse_signal(text)
