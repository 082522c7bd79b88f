"""Containers that find each other, published ports and kept data, through the official clients."""

from __future__ import annotations

import contextlib
import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

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


def test_a_new_container_is_not_answered_by_the_dead_one_that_had_its_address(
    engine: Daemon,
) -> None:
    engine.docker("network", "create", "--subnet", "10.215.7.0/24", "ghosts")
    run = ("run", "-d", "--network", "ghosts", "--ip", "10.215.7.7", "--name")
    make = "hostname > /index.html; dd if=/dev/zero of=/big bs=1M count=16"
    serve = ("busybox", "sh", "-c", f"{make}; exec httpd -f -p 80 -h /")
    old = engine.docker(*run, "old", *serve).stdout
    try:
        with contextlib.ExitStack() as opened:
            assert get("http://10.215.7.7/").strip() == old[:12]
            # These do not read on: the kernel keeps the other side, and with it the namespace,
            # until it gives up sending.
            for _ in range(20):
                peer = opened.enter_context(socket.create_connection(("10.215.7.7", 80), 20))
                peer.sendall(b"GET /big HTTP/1.0\r\n\r\n")
                assert peer.recv(5) == b"HTTP/"
            engine.docker("rm", "-f", "old")
            new = engine.docker(*run, "new", *serve).stdout
            ready = "until wget -qO- http://127.0.0.1/; do sleep 0.05; done"
            engine.docker("exec", "new", "sh", "-c", ready)
            for _ in range(40):
                with urllib.request.urlopen("http://10.215.7.7/", timeout=20) as answer:
                    assert answer.read().decode().strip() == new[:12]
    finally:
        engine.docker("rm", "-f", "old", "new", check=False)
        engine.docker("network", "rm", "ghosts")


def test_many_restart_at_once_and_keep_their_ports(engine: Daemon) -> None:
    names = [f"busy{number}" for number in range(8)]
    for number, name in enumerate(names):
        ports = ("-p", f"{18200 + number}:80", "-p", f"{18200 + number}:80/udp")
        engine.docker("run", "-d", "--name", name, *ports, "busybox", "sleep", "1000")

    def restart(name: str) -> list[tuple[int, bytes]]:
        return [engine.request("POST", f"/containers/{name}/restart?t=0") for _ in range(8)]

    with ThreadPoolExecutor(len(names)) as pool:
        answers = [answer for each in pool.map(restart, names) for answer in each]
    assert [answer for answer in answers if answer[0] != 204] == []
    engine.docker("rm", "-f", *names)


def test_networks_of_containers_that_are_just_ending(engine: Daemon) -> None:
    engine.docker("network", "create", "shaky")

    def end(name: str) -> int:
        return engine.request("POST", f"/containers/{name}/kill")[0]

    def join(name: str) -> tuple[int, int]:
        body = {"Container": name}
        return (
            engine.request("POST", "/networks/shaky/connect", body)[0],
            engine.request("POST", "/networks/shaky/disconnect", body)[0],
        )

    codes = set()
    with ThreadPoolExecutor(2) as pool:
        for number in range(8):
            name = f"shaky{number}"
            engine.docker("run", "-d", "--name", name, "busybox", "sleep", "1000")
            killing, joining = pool.submit(end, name), pool.submit(join, name)
            codes |= {killing.result(), *joining.result()}
            engine.docker("rm", "-f", name)
    assert codes <= {200, 204, 403, 404, 409}
    engine.docker("network", "rm", "shaky")
