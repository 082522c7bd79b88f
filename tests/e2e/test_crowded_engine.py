"""An engine with more descriptors open than select(2) can take: a thousand containers' worth."""

from __future__ import annotations

import contextlib
import socket
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon
from tests.e2e.test_networks import get
from tests.images import busybox_archive

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]

_SOFT = 4096
_CROWD = f"""
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
for _ in range(1500):
    os.set_inheritable(os.open("/dev/null", os.O_RDONLY), True)
resource.setrlimit(resource.RLIMIT_NOFILE, ({_SOFT}, hard))
os.execv(sys.argv[1], sys.argv[1:])
"""


class CrowdedDaemon(Daemon):
    """A daemon whose own descriptors all have numbers above 1,500."""

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-c", _CROWD, *super().command]


@pytest.fixture(scope="module")
def engine() -> Iterator[Daemon]:
    pool = "base=10.232.0.0/16,size=24"
    with CrowdedDaemon("--bip", "10.231.0.1/24", "--default-address-pool", pool) as daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        yield daemon


def _serve(engine: Daemon, name: str, port: int) -> None:
    flags = ("--init", "--name", name, "--network", "net", "-p", f"{port}:80")
    serve = f"echo {name} > /index.html; exec httpd -f -p 80 -h /"
    engine.docker("run", "-d", *flags, "busybox", "sh", "-c", serve)
    assert get(f"http://127.0.0.1:{port}/") == f"{name}\n"


def test_networks_ports_and_restarts(engine: Daemon) -> None:
    engine.docker("network", "create", "net")
    _serve(engine, "first", 18181)
    asked = engine.docker(
        *("run", "--rm", "--network", "net", "busybox", "wget", "-qO-", "http://first/")
    )
    assert asked.stdout == "first\n"
    engine.kill()
    with urllib.request.urlopen("http://127.0.0.1:18181/", timeout=20) as answer:
        assert answer.read() == b"first\n"
    engine.start()
    engine.docker("restart", "-t", "0", "first")
    assert get("http://127.0.0.1:18181/") == "first\n"
    _serve(engine, "second", 18182)
    engine.restart()
    engine.docker("network", "create", "another")
    engine.docker("rm", "-f", "first", "second")
    engine.docker("network", "rm", "net", "another")


def test_the_library_that_selects_is_not_in_the_daemon(engine: Daemon) -> None:
    assert engine.process is not None
    maps = Path(f"/proc/{engine.process.pid}/maps").read_text()
    assert "libnftables" not in maps


def test_the_daemon_opens_all_it_may_and_containers_get_what_it_was_given(
    engine: Daemon,
) -> None:
    assert engine.process is not None
    limits = Path(f"/proc/{engine.process.pid}/limits").read_text().splitlines()
    soft, hard = next(line for line in limits if line.startswith("Max open files")).split()[3:5]
    assert soft == hard
    ran = engine.docker("run", "--rm", "busybox", "sh", "-c", "ulimit -Sn; ulimit -Hn")
    assert ran.stdout.split() == [str(_SOFT), hard]


class PoorDaemon(Daemon):
    """A daemon, and so a porter, that may open few files."""

    @property
    def command(self) -> list[str]:
        return ["sh", "-c", 'ulimit -n 512; exec "$@"', "sh", *super().command]


def test_a_flooded_port_takes_neither_names_nor_other_ports() -> None:
    pool = "base=10.234.0.0/16,size=24"
    flags = ("--bip", "10.233.0.1/24", "--default-address-pool", pool)
    with PoorDaemon(*flags) as engine, contextlib.ExitStack() as opened:
        engine.docker("load", "-i", str(busybox_archive()))
        engine.docker("network", "create", "net")
        _serve(engine, "flooded", 18183)
        _serve(engine, "calm", 18184)
        for _ in range(600):
            opened.enter_context(socket.create_connection(("127.0.0.1", 18183), 20))
        for _ in range(20):
            with urllib.request.urlopen("http://127.0.0.1:18184/", timeout=20) as answer:
                assert answer.read() == b"calm\n"
        asked = ("exec", "calm", "wget", "-qO-", "http://calm/")
        assert engine.docker(*asked).stdout == "calm\n"
        opened.close()
        assert get("http://127.0.0.1:18183/") == "flooded\n"
        assert (engine.exec_root / "porter.log").read_text() == ""
