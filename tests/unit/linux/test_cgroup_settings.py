"""OCI resources as control-file writes, on v1 and v2: tables, no kernel."""

from __future__ import annotations

from typing import Any

import pytest

from wherry.linux.cgroups import cpu, cpuacct, cpuset, devices, hugetlb, io, memory, pids
from wherry.linux.cgroups.files import table

MEBIBYTE = 1 << 20


@pytest.mark.parametrize(
    ("function", "resources", "expected"),
    [
        (memory.settings_v1, {}, {}),
        (
            memory.settings_v1,
            {"memory": {"limit": 64 * MEBIBYTE, "swap": 128 * MEBIBYTE, "reservation": 5}},
            {
                "memory.limit_in_bytes": "67108864",
                "memory.memsw.limit_in_bytes": "134217728",
                "memory.soft_limit_in_bytes": "5",
            },
        ),
        (memory.settings_v1, {"memory": {"swappiness": 0}}, {"memory.swappiness": "0"}),
        (memory.settings_v1, {"memory": {"disableOOMKiller": True}}, {"memory.oom_control": "1"}),
        (
            memory.settings_v2,
            {"memory": {"limit": 64 * MEBIBYTE, "swap": 128 * MEBIBYTE, "reservation": 5}},
            {"memory.max": "67108864", "memory.swap.max": "67108864", "memory.low": "5"},
        ),
        (
            memory.settings_v2,
            {"memory": {"limit": -1, "swap": -1}},
            {"memory.max": "max", "memory.swap.max": "max"},
        ),
        (
            cpu.settings_v1,
            {"cpu": {"shares": 512, "quota": 50000, "period": 100000}},
            {
                "cpu.shares": "512",
                "cpu.cfs_period_us": "100000",
                "cpu.cfs_quota_us": "50000",
            },
        ),
        (cpu.settings_v2, {"cpu": {"shares": 1024}}, {"cpu.weight": "39"}),
        (cpu.settings_v2, {"cpu": {"quota": 50000}}, {"cpu.max": "50000 100000"}),
        (cpu.settings_v2, {"cpu": {"quota": -1, "period": 5000}}, {"cpu.max": "max 5000"}),
        (
            cpuset.settings,
            {"cpu": {"cpus": "0-1", "mems": ""}},
            {"cpuset.cpus": "0-1"},
        ),
        (pids.settings, {"pids": {"limit": 10}}, {"pids.max": "10"}),
        (pids.settings, {"pids": {"limit": -1}}, {"pids.max": "max"}),
        (pids.settings, {"pids": {"limit": 0}}, {}),
        (
            io.settings_v1,
            {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}]}},
            {"blkio.throttle.read_bps_device": "8:0 5"},
        ),
        (
            io.settings_v2,
            {"blockIO": {"throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 5}]}},
            {"io.max": "8:0 wiops=5"},
        ),
        (
            hugetlb.settings_v2,
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 9}]},
            {"hugetlb.2MB.max": "9"},
        ),
    ],
)
def test_settings(function: Any, resources: dict[str, Any], expected: dict[str, str]) -> None:
    assert {s.file: s.value for s in function(resources)} == expected


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 39), (262144, 10000), (1, 1)])
def test_weight_of_shares(shares: int, weight: int) -> None:
    assert cpu.weight_of_shares(shares) == weight


def test_device_rules_of_v1() -> None:
    resources = {
        "devices": [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
            {"allow": True, "type": "c", "major": 136, "access": "rwm"},
        ]
    }
    assert [(s.file, s.value) for s in devices.settings_v1(resources)] == [
        ("devices.deny", "a"),
        ("devices.allow", "c 1:3 rw"),
        ("devices.allow", "c 136:* rwm"),
    ]


class Machine:
    """Just enough of eBPF to run a device program."""

    def __init__(self, program: bytes) -> None:
        self.code = [program[i : i + 8] for i in range(0, len(program), 8)]

    def run(self, kind: str, major: int, minor: int, access: str) -> int:
        bits = sum({"m": 1, "r": 2, "w": 4}[letter] for letter in access)
        context = {0: {"b": 1, "c": 2}[kind] | bits << 16, 4: major, 8: minor}
        registers = [0] * 11
        at = 0
        while True:
            code, where = self.code[at][0], self.code[at][1]
            dst, src = where & 15, where >> 4
            offset = int.from_bytes(self.code[at][2:4], "little", signed=True)
            constant = int.from_bytes(self.code[at][4:8], "little")
            at += 1
            match code:
                case 0x61:
                    registers[dst] = context[offset]
                case 0xBC:
                    registers[dst] = registers[src]
                case 0xB7:
                    registers[dst] = constant
                case 0x54:
                    registers[dst] &= constant
                case 0x74:
                    registers[dst] >>= constant
                case 0x55:
                    at += offset if registers[dst] != constant else 0
                case 0x15:
                    at += offset if registers[dst] == constant else 0
                case 0x5D:
                    at += offset if registers[dst] != registers[src] else 0
                case 0x95:
                    return registers[0]
                case _:
                    raise AssertionError(hex(code))


@pytest.mark.parametrize(
    ("kind", "major", "minor", "access", "allowed"),
    [
        ("c", 1, 3, "rw", True),
        ("c", 1, 3, "m", True),
        ("c", 1, 5, "r", False),
        ("b", 8, 0, "m", True),
        ("b", 8, 0, "r", False),
        ("c", 136, 77, "rwm", True),
        ("c", 10, 200, "r", True),
        ("c", 10, 200, "rw", False),
        ("c", 10, 201, "w", False),
    ],
)
def test_device_program_of_v2(
    kind: str, major: int, minor: int, access: str, allowed: bool
) -> None:
    rules = [
        devices.Rule(False, "a", None, None, "rwm"),
        devices.Rule(True, "c", None, None, "m"),
        devices.Rule(True, "b", None, None, "m"),
        devices.Rule(True, "c", 1, 3, "rwm"),
        devices.Rule(True, "c", 136, None, "rwm"),
        devices.Rule(True, "c", 10, None, "rwm"),
        devices.Rule(False, "c", 10, None, "w"),
    ]
    assert Machine(devices.program(rules)).run(kind, major, minor, access) == allowed


def test_statistics_of_v1_and_v2() -> None:
    files = {
        "cpuacct.usage": "5000\n",
        "cpuacct.stat": "user 3\nsystem 4\n",
        "cpuacct.usage_percpu": "2000 3000\n",
        "cpu.stat": "usage_usec 7\nuser_usec 3\nsystem_usec 4\n",
        "memory.current": "100\n",
        "memory.max": "max\n",
        "memory.stat": "anon 5\nfile 6\n",
        "blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Total 10\nTotal 10\n",
        "io.stat": "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n",
    }
    one = cpuacct.usage_v1(files.get)
    assert (one.total, one.user, one.per_cpu) == (5000, 30_000_000, (2000, 3000))
    two = cpuacct.usage_v2(files.get)
    assert (two.total, two.user, two.kernel) == (7000, 3000, 4000)
    held = memory.stats_v2(files.get)
    assert (held.usage, held.limit, held.detail["file"]) == (100, 2**64 - 1, 6)
    assert io.stats_v1(files.get).bytes[0] == io.IoEntry(8, 0, "read", 10)
    assert io.stats_v2(files.get).operations[1] == io.IoEntry(8, 0, "write", 4)


def test_flat_keyed_files() -> None:
    assert table("low 0\noom_kill 3\n") == {"low": 0, "oom_kill": 3}
    assert table(None) == {}
