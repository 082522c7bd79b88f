"""Resource limits hold, and their counters can be read."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from tests.containers import make_spec
from tests.integration.runtime.conftest import Runner

from wherry.linux.cgroups import Cgroup, discover


async def test_memory_limit_kills_and_reports_oom(runner: Runner) -> None:
    # One process that takes it all, so that there is one to kill.
    spec = make_spec(["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"])
    spec["linux"]["resources"]["memory"] = {"limit": 64 << 20, "swap": 64 << 20}
    shim, _ = await runner.create(spec)
    events: list[str] = []
    shim.on_event = lambda _, message: events.append(message["event"])
    await shim.start()
    status = await shim.wait()
    assert status.oom_killed and status.code == 137
    assert events == ["oom", "exit"]


async def test_pids_limit_holds(runner: Runner) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; echo started"
    spec = make_spec(["sh", "-c", script])
    spec["linux"]["resources"]["pids"] = {"limit": 8}
    _, output = await runner.run(spec)
    assert "can't fork" in output


async def test_cpu_quota_holds(runner: Runner) -> None:
    spec = make_spec(["sh", "-c", "while :; do :; done"])
    spec["linux"]["resources"]["cpu"] = {"quota": 20000, "period": 100000}
    _, bundle = await runner.start(spec)
    group = Cgroup(bundle.cgroup)
    first, at = group.stats().cpu.total, time.monotonic()
    await asyncio.sleep(1)
    used = (group.stats().cpu.total - first) / 1e9 / (time.monotonic() - at)
    assert 0.1 < used < 0.3
    assert group.stats().throttling.throttled_periods > 0


async def test_counters(runner: Runner) -> None:
    spec = make_spec(["sleep", "60"])
    spec["linux"]["resources"] |= {"memory": {"limit": 32 << 20}, "pids": {"limit": 100}}
    _, bundle = await runner.start(spec)
    stats = Cgroup(bundle.cgroup).stats()
    assert 0 < stats.memory.usage < 32 << 20
    assert stats.memory.limit == 32 << 20
    assert (stats.pids.current, stats.pids.limit) == (1, 100)


async def test_freezing(runner: Runner) -> None:
    spec = make_spec(["sh", "-c", "while :; do echo x; sleep 0.01; done"])
    _, bundle = await runner.start(spec)
    group = Cgroup(bundle.cgroup)
    group.freeze()
    assert group.frozen()
    await asyncio.sleep(0.05)
    with open(bundle.log.path) as log:
        before = len(log.read())
    await asyncio.sleep(0.1)
    with open(bundle.log.path) as log:
        assert len(log.read()) == before
    group.thaw()
    assert not group.frozen()


def test_a_cpuset_that_another_process_has_only_just_made_is_filled() -> None:
    mount = discover().v1_mount("cpuset")
    if mount is None:
        return  # v2 inherits by itself
    parent = f"wherry-test-{os.getpid()}-parent"
    os.mkdir(f"{mount}/{parent}")
    group = Cgroup(f"{parent}/child")
    group.create()
    try:
        for name in ("cpuset.cpus", "cpuset.mems"):
            assert Path(mount, parent, "child", name).read_text().strip()
    finally:
        group.remove()
        Cgroup(parent).remove()


async def test_device_list_is_enforced(runner: Runner) -> None:
    spec = make_spec(
        ["sh", "-c", "exec 2>&1; head -c 1 /dev/mem; echo $?; head -c 1 /dev/zero | wc -c"]
    )
    spec["linux"]["devices"] = [{"path": "/dev/mem", "type": "c", "major": 1, "minor": 1}]
    _, output = await runner.run(spec)
    assert "Operation not permitted" in output and output.endswith("1\n")


async def test_rlimits_beyond_the_hosts_are_lowered_with_a_warning(runner: Runner) -> None:
    spec = make_spec(["sh", "-c", "ulimit -n; ulimit -c"])
    spec["process"]["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 1 << 30, "hard": 1 << 30},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]
    shim, bundle = await runner.start(spec)
    await shim.wait()
    with open(bundle.log.path) as log:
        first = int(log.readline().split('"')[3].rstrip("\\n"))
    assert first > 0
    assert (first == 1 << 30) == (not shim.warnings)
