import os

import pytest

from wherry.engine import stats
from wherry.engine.stats import Sample, parse_net_dev, view, views
from wherry.errors import NotFound
from wherry.linux.cgroups.cgroup import CgroupStats
from wherry.linux.cgroups.cpu import Throttling
from wherry.linux.cgroups.cpuacct import CpuUsage
from wherry.linux.cgroups.io import IoEntry, IoStats
from wherry.linux.cgroups.memory import MemoryStats
from wherry.linux.cgroups.pids import PidsStats

NET_DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs drop
    lo:     100       2    0    0    0     0          0         0      100   2 0 0 0 0 0 0
  eth0:    1500      12    1    2    0     0          0         0      700   8 3 4 0 0 0 0
"""


def sample(at: int, cpu: int = 0) -> Sample:
    cgroup = CgroupStats(
        cpu=CpuUsage(total=cpu, user=cpu, kernel=0),
        throttling=Throttling(10, 2, 300),
        memory=MemoryStats(usage=4096, detail={"inactive_file": 1024}),
        pids=PidsStats(current=3),
        io=IoStats(bytes=(IoEntry(8, 0, "read", 512),)),
    )
    return Sample(at, cgroup, 1000, 2, 1 << 30, parse_net_dev(NET_DEV))


def test_network_counters_leave_out_the_loopback() -> None:
    assert parse_net_dev(NET_DEV) == {
        "eth0": {
            "rx_bytes": 1500, "rx_packets": 12, "rx_errors": 1, "rx_dropped": 2,
            "tx_bytes": 700, "tx_packets": 8, "tx_errors": 3, "tx_dropped": 4,
        }
    }  # fmt: skip


def test_a_view_of_two_samples() -> None:
    shown = view("c1", "web", sample(2_000_000_000, 70), sample(1_000_000_000, 50))
    assert shown["name"] == "/web"
    assert shown["read"] == "1970-01-01T00:00:02Z"
    assert shown["preread"] == "1970-01-01T00:00:01Z"
    assert shown["cpu_stats"]["cpu_usage"]["total_usage"] == 70
    assert shown["precpu_stats"]["cpu_usage"]["total_usage"] == 50
    assert shown["cpu_stats"]["online_cpus"] == 2
    assert shown["memory_stats"]["limit"] == 1 << 30
    assert shown["pids_stats"] == {"current": 3, "limit": 2**64 - 1}
    assert shown["blkio_stats"]["io_service_bytes_recursive"] == [
        {"major": 8, "minor": 0, "op": "read", "value": 512}
    ]
    assert shown["networks"]["eth0"]["tx_bytes"] == 700


def test_a_stopped_container_has_no_counters() -> None:
    shown = view("c1", "web", None)
    assert shown["read"] == "0001-01-01T00:00:00Z"
    assert shown["memory_stats"] == {}
    assert "networks" not in shown


async def test_one_shot_takes_one_sample_else_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "INTERVAL", 0)
    samples = [sample(number) for number in (1, 2, 3)]
    [shown] = [v async for v in views("c", "n", lambda: samples.pop(0), stream=False)]
    assert (shown["preread"], shown["read"]) == (
        "1970-01-01T00:00:00.000000001Z",
        "1970-01-01T00:00:00.000000002Z",
    )
    once = views("c", "n", lambda: samples.pop(0), stream=False, one_shot=True)
    assert [v["preread"] async for v in once] == ["0001-01-01T00:00:00Z"]


async def test_a_stream_ends_with_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "INTERVAL", 0)
    samples: list[Sample | None] = [sample(1), None, sample(3)]

    def read() -> Sample | None:
        if not samples:
            raise NotFound("gone")
        return samples.pop(0)

    assert len([v async for v in views("c", "n", read, stream=True)]) == 3


def test_the_hosts_counters_are_read() -> None:
    from wherry.linux.cgroups import Cgroup

    taken = stats.sample(Cgroup("/none"), os.getpid())
    assert taken.system_cpu > 0
    assert taken.cpus >= 1
