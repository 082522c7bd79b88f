"""Containers that find each other, published ports and kept data, through the official clients."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.daemon import Daemon
from tests.images import busybox_archive

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def engine() -> Iterator[Daemon]:
    pool = "base=10.214.0.0/16,size=24"
    with Daemon("--bip", "10.213.0.1/24", "--default-address-pool", pool) as daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        yield daemon


@pytest.fixture
def web(engine: Daemon) -> Iterator[str]:
    """A web server called ``web`` on the network ``net``, published on port 18080."""
    engine.docker("network", "create", "net")
    serve = "echo hello > /index.html; exec httpd -f -p 80 -h /"
    flags = ("--init", "--name", "web", "--network", "net", "-p", "18080:80")
    engine.docker("run", "-d", *flags, "busybox", "sh", "-c", serve)
    yield "web"
    engine.docker("rm", "-f", "web")
    engine.docker("network", "rm", "net")


def get(url: str) -> str:
    """What a web server answers, given a few seconds to come up."""
    deadline = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_a_web_server_is_reached_by_name_and_by_port(engine: Daemon, web: str) -> None:
    assert get("http://127.0.0.1:18080/") == "hello\n"
    assert get("http://[::1]:18080/") == "hello\n"
    by_name = engine.docker(
        "run", "--rm", "--network", "net", "busybox", "wget", "-qO-", f"http://{web}/"
    )
    assert by_name.stdout == "hello\n"
    assert engine.docker("port", web).stdout == "80/tcp -> 0.0.0.0:18080\n80/tcp -> [::]:18080\n"


def test_a_taken_port_is_refused_in_docker_s_words(engine: Daemon, web: str) -> None:
    done = engine.docker("run", "-d", "--name", "second", "-p", "18080:80", "busybox", check=False)
    assert done.returncode == 125
    assert "failed to set up container networking: driver failed programming" in done.stderr
    assert "external connectivity on endpoint second" in done.stderr
    assert "Bind for 0.0.0.0:18080 failed: port is already allocated" in done.stderr
    engine.docker("rm", "second")


def test_the_host_s_network_discards_ports(engine: Daemon) -> None:
    done = engine.docker("run", "--rm", "--network", "host", "-p", "18080:80", "busybox", "true")
    assert "Published ports are discarded when using host network mode" in done.stderr


def test_ports_and_names_outlive_the_daemon(engine: Daemon, web: str) -> None:
    engine.docker(
        "run", "-d", "--init", "--name", "peer", "--network", "net", "busybox", "sleep", "600"
    )
    assert get("http://127.0.0.1:18080/") == "hello\n"
    engine.kill()
    try:
        assert get("http://127.0.0.1:18080/") == "hello\n"
    finally:
        engine.start()
    assert get("http://127.0.0.1:18080/") == "hello\n"
    assert engine.docker("exec", "peer", "wget", "-qO-", "http://web/").stdout == "hello\n"
    before = engine.docker("inspect", "-f", "{{json .NetworkSettings.Networks}}", "web").stdout
    assert '"IPAddress":"10.214.' in before
    engine.docker("rm", "-f", "peer")


def test_connect_disconnect_and_aliases(engine: Daemon, web: str) -> None:
    engine.docker("run", "-d", "--init", "--name", "late", "busybox", "sleep", "600")
    engine.docker("network", "connect", "--alias", "other", "net", "late")
    assert engine.docker("exec", "late", "wget", "-qO-", "http://web/").stdout == "hello\n"
    assert engine.docker("exec", "web", "ping", "-c1", "-W2", "other").returncode == 0
    engine.docker("network", "disconnect", "net", "late")
    gone = engine.docker("exec", "web", "ping", "-c1", "-W1", "other", check=False)
    assert gone.returncode != 0
    engine.docker("rm", "-f", "late")


def test_the_rules_are_explained(engine: Daemon, web: str) -> None:
    told = engine.wherry("network", "rules").stdout
    assert "tcp . 18080 : 10.214." in told
    assert "published on every IPv4 address of the host (container web)" in told


def test_links_give_names_and_variables(engine: Daemon) -> None:
    flags = ("-e", "SECRET=x", "--expose", "5432", "--init", "--name", "db")
    engine.docker("run", "-d", *flags, "busybox", "sleep", "600")
    command = "env; cat /etc/hosts; ping -c1 store"
    told = engine.docker("run", "--rm", "--link", "db:store", "busybox", "sh", "-c", command).stdout
    assert "STORE_PORT_5432_TCP_PORT=5432\n" in told
    assert "STORE_ENV_SECRET=x\n" in told
    assert "::1\tlocalhost ip6-localhost ip6-loopback\n" in told
    assert "1 packets received" in told
    engine.docker("create", "--name", "user", "--link", "db:store", "--link", "db", "busybox")
    shown = engine.docker("inspect", "-f", "{{json .HostConfig.Links}}", "user").stdout
    assert json.loads(shown) == ["/db:/user/store", "/db:/user/db"]
    engine.docker("rm", "-f", "db", "user")


def test_volumes_keep_data_and_take_what_the_image_has(engine: Daemon) -> None:
    def run(*arguments: str, check: bool = True) -> str:
        return engine.docker("run", "--rm", *arguments, check=check).stdout

    assert "passwd\n" in run("-v", "etc:/etc", "busybox", "ls", "/etc")
    run("-v", "etc:/etc", "busybox", "sh", "-c", "echo kept > /etc/mine")
    assert "127.0.0.1\tlocalhost\n" in run("-v", "etc:/etc", "busybox", "cat", "/etc/hosts")
    assert run("-v", "etc:/x", "busybox", "cat", "/x/mine") == "kept\n"
    part = "type=volume,src=etc,dst=/one,volume-subpath=mine"
    assert run("--mount", part, "busybox", "cat", "/one") == "kept\n"
    for where, mode, shown in (("/fresh", "", "1777"), ("/etc", "", "755"), ("/etc", "700", "700")):
        scratch = f"type=tmpfs,dst={where}" + (f",tmpfs-mode={mode}" if mode else "")
        assert run("--mount", scratch, "busybox", "stat", "-c", "%a", where) == f"{shown}\n"
    refused = engine.docker(
        "run", "--rm", "-v", "etc:/x:ro", "busybox", "touch", "/x/y", check=False
    )
    assert "Read-only file system" in refused.stderr
    engine.docker("create", "--name", "holder", "-v", "etc:/x", "-v", "/anonymous", "busybox")
    assert "volume is in use" in engine.docker("volume", "rm", "etc", check=False).stderr
    assert len(engine.docker("volume", "ls", "-q").stdout.split()) == 2
    engine.docker("rm", "-v", "holder")
    assert engine.docker("volume", "ls", "-q").stdout.split() == ["etc"]
    assert "etc" in engine.docker("volume", "prune", "-af").stdout
