"""A thousand containers and clients cost a thousand descriptors: the firewall must not mind."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator

import pytest
from tests.netlab import Containers, Namespaces, Segment, ask, inside

from wherry.errors import KernelError
from wherry.network.networks import Networks
from wherry.network.nft.client import Nftables

_MANY = 1500  # select(2) ends at 1,023


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """What is opened from now on has a number above those that select(2) can take."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    with contextlib.ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        for _ in range(_MANY):
            opened.callback(os.close, os.open("/dev/null", os.O_RDONLY))
        yield


async def _works(containers: Containers, namespaces: Namespaces, host: int, port: int) -> None:
    identity, pid = await containers.run(
        NetworkMode="net", PortBindings={"80/tcp": [{"HostIp": "", "HostPort": str(port)}]}
    )
    namespaces.serve(pid, "tcp", "0.0.0.0", 80)
    assert ask(host, "tcp", "192.0.2.2", port).startswith("hi ")
    assert ask(host, "tcp", "127.0.0.1", port).startswith("hi ")
    assert "does not exist" not in inside(pid, "nft", "list", "ruleset")
    assert containers.address(identity, "net")


async def test_networks_and_ports_with_many_open_files(
    many_descriptors: None,
    networks: Networks,
    containers: Containers,
    namespaces: Namespaces,
    segment: Segment,
) -> None:
    await networks.create({"Name": "net"})
    await _works(containers, namespaces, segment.host, 8080)
    # What is opened again is opened there, too.
    os.kill(nft_pid(), signal.SIGKILL)
    await _works(containers, namespaces, segment.host, 8081)
    await networks.create({"Name": "more"})


async def test_a_killed_rules_process_is_no_foreign_change(
    networks: Networks, containers: Containers
) -> None:
    os.kill(nft_pid(), signal.SIGKILL)
    await networks.create({"Name": "net"})
    rules = networks.rules()
    assert any("network net" in rule["Meaning"] for rule in rules)


def test_a_refusal_has_the_librarys_words_and_number(segment: Segment) -> None:
    nft = Nftables()
    try:
        with pytest.raises(KernelError, match=r"look at a table \(No such file") as refused:
            nft.run("list table inet nobody", "look at a table")
        assert refused.value.errno == 2
        assert nft.run("add table inet somebody", "add a table") == ""
        assert "somebody" in nft.run("list tables", "list tables")
    finally:
        nft.close()
    assert not _nft_pids()


def nft_pid() -> int:
    """The one nftables process that this process has."""
    (pid,) = _nft_pids()
    return pid


def _nft_pids() -> list[int]:
    found = []
    for thread in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{thread}/children") as children:
            for pid in children.read().split():
                with open(f"/proc/{pid}/cmdline", "rb") as words:
                    if b"wherry.network.nft" in words.read().split(b"\0"):
                        found.append(int(pid))
    return found
