"""The first story: a stranger's container, driven by the official client.

Each test is one line of the list by which the foundation is judged.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon
from tests.images import busybox_archive, debian_archive

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

DOCKER_DEFAULT_CAPABILITIES = 0x00000000A80425FB


@pytest.fixture(scope="module")
def engine() -> Iterator[Daemon]:
    with Daemon() as daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        yield daemon


def run(engine: Daemon, *arguments: str, check: bool = True) -> str:
    """Standard output of ``docker run --rm``."""
    return engine.docker("run", "--rm", *arguments, check=check).stdout


def inspect(engine: Daemon, name: str, template: str) -> str:
    """One value of ``docker inspect``."""
    return engine.docker("inspect", "-f", template, name).stdout.strip()


def test_the_built_in_image_runs_without_a_registry() -> None:
    with Daemon() as fresh:
        assert "Wherry" in run(fresh, "hello-world")


def test_version_and_info_answer_the_client(engine: Daemon) -> None:
    assert "Server:" in engine.docker("version").stdout
    info = engine.docker("info").stdout
    assert re.search(r"Storage Driver: \w+", info)
    assert engine.json("GET", "/version")["ApiVersion"] == "1.51"


def test_a_command_prints(engine: Daemon) -> None:
    assert run(engine, "busybox", "echo", "hi") == "hi\n"


def test_standard_input_goes_in_and_its_end_is_seen(engine: Daemon) -> None:
    done = engine.docker("run", "-i", "--rm", "busybox", "cat", input=b"data\n" * 50_000)
    assert done.stdout == "data\n" * 50_000


def test_the_two_streams_stay_apart(engine: Daemon) -> None:
    done = engine.docker("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("busybox", "true"), 0),
        (("busybox", "sh", "-c", "exit 3"), 3),
        (("--no-such-flag", "busybox", "true"), 125),
        (("--network", "nosuchnet", "busybox", "true"), 125),
        (("busybox", "/etc/passwd"), 126),
        (("busybox", "nosuchcommand"), 127),
        (("--init", "busybox", "sh", "-c", "kill -9 $$"), 137),
    ],
)
def test_exit_codes(engine: Daemon, arguments: tuple[str, ...], code: int) -> None:
    done = engine.docker("run", "--rm", *arguments, check=False)
    assert done.returncode == code, done.stderr


def test_a_life(engine: Daemon) -> None:
    docker = engine.docker
    script = "i=0; while true; do echo line $i; i=$((i+1)); sleep 0.1; done"
    docker("run", "-d", "--name", "life", "busybox", "sh", "-c", script)
    assert "life" in docker("ps", "--format", "{{.Names}}").stdout.split()
    deadline = time.monotonic() + 10
    while "line 3" not in docker("logs", "life").stdout:
        assert time.monotonic() < deadline
    hostname = inspect(engine, "life", "{{.Config.Hostname}}")
    assert docker("exec", "life", "hostname").stdout.strip() == hostname
    assert "line $i" in docker("top", "life").stdout
    assert "life" in docker("stats", "--no-stream", "life").stdout
    docker("pause", "life")
    assert inspect(engine, "life", "{{.State.Status}}") == "paused"
    docker("unpause", "life")
    docker("rename", "life", "afterlife")
    docker("stop", "-t", "1", "afterlife")
    assert inspect(engine, "afterlife", "{{.State.ExitCode}}") == "137"
    docker("start", "afterlife")
    docker("restart", "-t", "0", "afterlife")
    docker("kill", "-s", "KILL", "afterlife")
    assert docker("wait", "afterlife").stdout.strip() == "137"
    docker("rm", "-f", "afterlife")
    assert docker("inspect", "afterlife", check=False).returncode == 1


def test_the_inside_is_its_own(engine: Daemon) -> None:
    script = "hostname; echo $$; ps | grep -c .; cat /proc/self/uid_map; ip -4 addr show eth0"
    lines = run(engine, "--hostname", "own", "busybox", "sh", "-c", script).splitlines()
    assert lines[0] == "own"
    assert lines[1] == "1"
    assert int(lines[2]) <= 5
    inside, outside, size = map(int, lines[3].split())
    assert (inside, size) == (0, 65536)
    assert outside >= 65536
    assert any("inet " in line for line in lines[4:])


def test_capabilities_and_seccomp_are_docker_s_defaults(engine: Daemon) -> None:
    status = run(engine, "busybox", "cat", "/proc/self/status")
    values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(values["CapEff"], 16) == DOCKER_DEFAULT_CAPABILITIES
    assert int(values["CapBnd"], 16) == DOCKER_DEFAULT_CAPABILITIES
    assert int(values["CapInh"], 16) == 0
    assert int(values["CapAmb"], 16) == 0
    assert values["Seccomp"] == "2"


@pytest.mark.parametrize(
    "command",
    [
        "dmesg",
        "mount -t tmpfs none /mnt",
        "reboot -f",
        "echo b > /proc/sysrq-trigger",
        "echo 1 > /proc/sys/kernel/panic",
        "echo x > /sys/kernel/mm/ksm/run",
        "mknod /dev/sda b 8 0 && cat /dev/sda",
        "cat /proc/kcore | head -c 1 | grep .",
    ],
)
def test_the_host_is_out_of_reach(engine: Daemon, command: str) -> None:
    done = engine.docker("run", "--rm", "busybox", "sh", "-c", command, check=False)
    assert done.returncode != 0, done.stdout


def test_a_memory_limit_kills_and_says_so(engine: Daemon) -> None:
    hog = "exec dd if=/dev/zero of=/dev/null bs=200M count=1"
    arguments = ("run", "--name", "hog", "-m", "64m", "--memory-swap", "64m", "busybox")
    done = engine.docker(*arguments, "sh", "-c", hog, check=False)
    killed = inspect(engine, "hog", "{{.State.OOMKilled}}")
    engine.docker("rm", "-f", "hog")
    assert done.returncode == 137
    assert killed == "true"


def cpu_seconds(pid: str) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_a_cpu_limit_holds(engine: Daemon) -> None:
    spin = ("busybox", "sh", "-c", "while :; do :; done")
    engine.docker("run", "-d", "--name", "half", "--cpus", "0.5", *spin)
    try:
        pid = inspect(engine, "half", "{{.State.Pid}}")
        before, started = cpu_seconds(pid), time.monotonic()
        time.sleep(4)
        share = (cpu_seconds(pid) - before) / (time.monotonic() - started)
        assert share < 0.65
    finally:
        engine.docker("rm", "-f", "half")


def test_a_process_limit_holds(engine: Daemon) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait"
    arguments = ("run", "--rm", "--pids-limit", "5", "busybox", "sh", "-c", script)
    done = engine.docker(*arguments, check=False)
    assert "can't fork" in done.stderr or "Resource temporarily unavailable" in done.stderr


def test_a_debian_container_installs_a_package(engine: Daemon) -> None:
    engine.docker("load", "-i", str(debian_archive()))
    script = "apt-get update -qq && apt-get install -y -qq --no-install-recommends hello && hello"
    done = engine.docker("run", "--rm", "debian", "sh", "-c", script, timeout=150)
    assert "Hello, world!" in done.stdout


def test_twenty_containers_outlive_a_killed_daemon() -> None:
    script = "i=0; while true; do echo $i; i=$((i+1)); sleep 0.05; done"
    with Daemon() as engine:
        engine.docker("load", "-i", str(busybox_archive()))
        names = [f"n{number}" for number in range(20)]
        for name in names:
            engine.docker("run", "-d", "--name", name, "busybox", "sh", "-c", script)
        engine.docker("run", "-d", "--name", "short", "busybox", "sh", "-c", "sleep 2; exit 7")
        engine.kill()
        time.sleep(3)
        engine.start()
        running = engine.docker("ps", "--format", "{{.Names}}").stdout.split()
        assert sorted(running) == sorted(names)
        assert inspect(engine, "short", "{{.State.ExitCode}}") == "7"
        engine.docker("stop", "-t", "0", *names, timeout=120)
        for name in names:
            lines = engine.docker("logs", name).stdout.split()
            assert lines == [str(number) for number in range(len(lines))], name
            assert len(lines) > 20
            assert inspect(engine, name, "{{.State.ExitCode}}") == "137"


def test_attach_sees_the_output_and_the_exit_code(engine: Daemon) -> None:
    engine.docker("run", "-d", "--name", "att", "busybox", "sh", "-c", "sleep 1; echo bye; exit 9")
    done = engine.docker("attach", "att", check=False)
    engine.docker("rm", "-f", "att")
    assert (done.returncode, done.stdout) == (9, "bye\n")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/containers/create", b"{bad", 400),
        ("POST", "/containers/create", {"Image": "nosuchimage"}, 404),
        ("POST", "/containers/create", {"Image": "busybox", "Cmd": {"a": 5}}, 400),
        ("POST", "/containers/create?name=%2F..", {"Image": "busybox"}, 400),
        ("GET", "/containers/nosuch/json", None, 404),
        ("GET", "/nosuchroute", None, 404),
        ("GET", "/v9.99/info", None, 400),
        ("POST", "/containers/nosuch/start", None, 404),
        ("GET", "/containers/json?filters=%7Bbad", None, 400),
    ],
)
def test_bad_requests_get_clear_answers(
    engine: Daemon, method: str, path: str, body: object, status: int
) -> None:
    got, answer = engine.request(method, path, body)
    assert got == status, answer
    assert b'"message"' in answer
