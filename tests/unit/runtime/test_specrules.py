"""Every field of a spec against the namespaces that it needs: nothing is done or looked up."""

from __future__ import annotations

import os
from typing import Any

import pytest
from tests.containers import make_spec

from wherry.errors import InvalidParameter
from wherry.linux.cgroups.files import write
from wherry.linux.process import NAMESPACE_FILES
from wherry.runtime.specrules import check, private_namespaces, problems, sysctl_path

MAPPING = [{"containerID": 0, "hostID": 1_000_000, "size": 65536}]

TABLE: list[tuple[dict[str, Any], str, str]] = [
    ({"hostname": "x"}, "uts", "unable to set hostname without a private UTS"),
    ({"domainname": "x"}, "uts", "unable to set domainname without a private UTS"),
    *(
        ({"linux": {"sysctl": {name: "1"}}}, "ipc", "not allowed in the hosts ipc namespace")
        for name in (
            *("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall"),
            *("kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced", "fs.mqueue.msg_max"),
            *("kernel/shmmax", "fs/mqueue/queues_max"),
        )
    ),
    *(
        ({"linux": {"sysctl": {name: "1"}}}, "network", "not allowed in host network namespace")
        for name in ("net.ipv4.ip_forward", "net/core/somaxconn", "net.ipv4.conf.eth0/1.proxy_arp")
    ),
    *(
        ({"linux": {"sysctl": {name: "x"}}}, "uts", "not allowed in the hosts uts namespace")
        for name in ("kernel.hostname", "kernel.domainname", "kernel/hostname")
    ),
    ({"linux": {"uidMappings": MAPPING}}, "user", "USER namespace isn't enabled"),
    ({"linux": {"gidMappings": MAPPING}}, "user", "USER namespace isn't enabled"),
    ({"linux": {"maskedPaths": ["/proc/keys"]}}, "mount", "without a private MNT namespace"),
    ({"linux": {"readonlyPaths": ["/proc/sys"]}}, "mount", "without a private MNT namespace"),
    ({"linux": {"rootfsPropagation": "shared"}}, "mount", "without a private MNT namespace"),
    ({}, "mount", "needs a mount namespace"),
]


@pytest.mark.parametrize(("fields", "needed", "words"), TABLE)
def test_each_field_needs_its_namespace(fields: dict[str, Any], needed: str, words: str) -> None:
    every = frozenset(NAMESPACE_FILES)
    assert not list(problems(fields, every))
    without = list(problems(fields, every - {needed}))
    assert any(words in problem for problem in without), without
    with pytest.raises(InvalidParameter):
        check(fields, every - {needed})


@pytest.mark.parametrize(
    "name",
    [
        *("kernel.core_pattern", "kernel.panic", "vm.overcommit_memory", "fs.file-max"),
        *("user.max_user_namespaces", "network.x", "kernel/core_pattern", "dev.cdrom.lock"),
    ],
)
def test_parameters_of_the_whole_kernel_are_nobodys(name: str) -> None:
    found = list(problems({"linux": {"sysctl": {name: "1"}}}, frozenset(NAMESPACE_FILES)))
    assert found == [f"sysctl {name!r} is not in a separate kernel namespace"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
    ],
)
def test_names_of_parameters(name: str, path: str) -> None:
    assert sysctl_path(name) == path


@pytest.mark.parametrize(
    "name", ["", "net/../kernel/core_pattern", "/net/x", "net.", "net/x\0y", ".."]
)
def test_names_that_lead_elsewhere(name: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid sysctl name"):
        check({"linux": {"sysctl": {name: "1"}}}, frozenset(NAMESPACE_FILES))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"linux": {"namespaces": [{"type": "moon"}]}}, "unknown namespace type: moon"),
        ({"linux": {"namespaces": [{"type": "pid"}, {"type": "pid"}]}}, "duplicated ns pid"),
        ({"linux": {"namespaces": [{"type": "user"}]}}, "no entry for root"),
        ({"hooks": {"poststart": [{"path": "true"}]}}, "path is not absolute"),
        ({"linux": {"timeOffsets": {"monotonic": {"secs": 1}}}}, "linux.timeOffsets is not"),
        ({"linux": {"netDevices": {"eth0": {}}}}, "linux.netDevices is not supported"),
        ({"linux": {"personality": {"domain": "LINUX32"}}}, "linux.personality is not supported"),
        ({"linux": {"intelRdt": {"closID": "x"}}}, "linux.intelRdt is not supported"),
        ({"process": {"ioPriority": {"class": "x"}}}, "process.ioPriority is not supported"),
        ({"process": {"scheduler": {"policy": "x"}}}, "process.scheduler is not supported"),
    ],
)
def test_what_cannot_be_with_any_namespace(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        check(fields, frozenset(NAMESPACE_FILES))


def test_a_path_to_our_own_namespace_is_not_private() -> None:
    for kind, name in NAMESPACE_FILES.items():
        spec = {"linux": {"namespaces": [{"type": kind, "path": f"/proc/{os.getpid()}/ns/{name}"}]}}
        assert private_namespaces(spec) == frozenset(), kind
        assert private_namespaces({"linux": {"namespaces": [{"type": kind}]}}) == {kind}


def test_the_engines_own_specs_have_no_problems() -> None:
    for user_namespace in (True, False):
        spec = make_spec(["true"], user_namespace=user_namespace)
        assert not list(problems(spec, private_namespaces(spec)))


@pytest.mark.parametrize("name", ["../memory.max", "/etc/x", "hugetlb.x/../y.max", "a\0b"])
def test_a_setting_of_a_cgroup_is_a_file_in_it(tmp_path: Any, name: str) -> None:
    with pytest.raises(InvalidParameter, match="must be a file name"):
        write(str(tmp_path), name, "1")
