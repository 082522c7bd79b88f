"""``wherry daemon``: options, sockets, signals, TLS."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.api.daemons import Apart
from tests.conformance.api.http import ask, container
from tests.conformance.api.images import saved
from tests.daemon import Daemon, docker_client


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def daemon_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wherry", "daemon", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_validate_checks_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text('{"labels": ["a=b"]}')
    good = daemon_command("--config-file", str(path), "--validate")
    assert (good.returncode, good.stdout) == (0, "configuration OK\n")
    path.write_text('{"labels": ["a=b"], "nosuch": 1}')
    bad = daemon_command("--config-file", str(path), "--validate")
    assert bad.returncode == 1
    assert "the following directives don't match any configuration option: nosuch" in bad.stderr
    assert "Traceback" not in bad.stderr


def test_without_root_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        ["setpriv", "--reuid", "65534", "--clear-groups", sys.executable, "-m", "wherry", "daemon",
         "--data-root", str(tmp_path / "data")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if "Permission denied" in done.stderr or "No module" in done.stderr:
        pytest.skip("the package is not readable for others here")
    assert done.returncode == 1
    assert "root" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_socket_is_for_the_group(engine: Daemon) -> None:
    assert stat.S_IMODE(os.stat(engine.socket).st_mode) == 0o660


def test_a_second_daemon_is_refused(engine: Daemon) -> None:
    arguments = engine.command[engine.command.index("daemon") + 1 :]
    done = daemon_command(*arguments)
    assert done.returncode == 1
    assert "is still running" in done.stderr
    elsewhere = [argument for argument in arguments if argument != str(engine.folder / "pid")]
    elsewhere.remove("--pidfile")
    done = daemon_command(*elsewhere, "--pidfile", str(engine.folder / "pid2"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert ask(engine, "GET", "/_ping").status == 200


def test_reload_and_end() -> None:
    with Daemon("--bridge", "none") as daemon:
        daemon.stop()
        path = daemon.folder / "daemon.json"
        path.write_text("{}")
        daemon.flags = ("--bridge", "none", "--config-file", str(path))
        daemon.start()
        assert daemon.process is not None
        since = time.time()
        path.write_text(json.dumps({"labels": ["new=1"], "debug": True}))
        daemon.process.send_signal(signal.SIGHUP)
        for _ in range(100):
            info = ask(daemon, "GET", "/info").data
            if info["Labels"] == ["new=1"]:
                break
            time.sleep(0.05)
        assert (info["Labels"], info["Debug"]) == (["new=1"], True)
        path.write_text("{broken")
        daemon.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert ask(daemon, "GET", "/info").data["Labels"] == ["new=1"]
        found = ask(
            daemon, "GET", "/events", since=str(since), until=str(time.time()),
            filters={"type": ["daemon"]},
        ).lines  # fmt: skip
        assert [event["Action"] for event in found] == ["reload"]
        told = found[0]["Actor"]["Attributes"]
        assert (told["labels"], told["debug"], told["live-restore"]) == (
            '["new=1"]',
            "true",
            "true",
        )
        assert daemon.stop() == 0
        assert not Path(daemon.socket).exists()
        assert not (daemon.folder / "pid").exists()
        path.write_text("{}")


def test_containers_outlive_the_daemon_and_its_socket(engine: Daemon) -> None:
    with container(engine) as container_id:
        pid = ask(engine, "GET", f"/containers/{container_id}/json").data["State"]["Pid"]
        engine.kill()
        engine.start()
        state = ask(engine, "GET", f"/containers/{container_id}/json").data["State"]
        assert (state["Running"], state["Pid"]) == (True, pid)


def test_a_daemon_in_another_network_namespace_takes_containers_along() -> None:
    with Apart() as daemon:
        daemon.docker("load", input=saved())
        serve = "mkdir /w; echo served >/w/index.html; exec httpd -f -p 8080 -h /w"
        with container(daemon, "sh", "-c", serve) as server:
            daemon.kill()
            subprocess.run(["ip", "netns", "delete", daemon.folder.name], check=True)
            daemon.start()
            view = ask(daemon, "GET", f"/containers/{server}/json").data
            assert view["State"]["Running"]
            address = view["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
            inside = ["nsenter", f"--net=/run/netns/{daemon.folder.name}"]
            fetch = [*inside, "curl", "-s", "-m", "20", "--retry", "9", "--retry-all-errors"]
            done = subprocess.run([*fetch, f"http://{address}:8080/"], capture_output=True)
            assert done.stdout == b"served\n", daemon.log_text()


def test_flags_that_change_how_the_daemon_lives() -> None:
    """Containers end with the daemon, no firewall, an init of one's own, default options."""
    flags = (
        "--live-restore=false", "--shutdown-timeout=1", "--iptables=false",
        "--oom-score-adjust=100", f"--init-path={shutil.which('tini-static') or ''}",
        "--default-network-opt=bridge=com.docker.network.driver.mtu=1400",
        "--feature=buildkit=false",
    )  # fmt: skip
    with Apart(*flags) as daemon:
        assert daemon.process is not None
        assert Path(f"/proc/{daemon.process.pid}/oom_score_adj").read_text() == "100\n"
        assert ask(daemon, "GET", "/_ping").headers["Builder-Version"] == "1"
        daemon.docker("load", input=saved())
        inside = ["nsenter", f"--net=/run/netns/{daemon.folder.name}"]
        host = {"PortBindings": {"8080/tcp": [{"HostPort": "8080"}]},
                "RestartPolicy": {"Name": "always"}}  # fmt: skip
        serve = "trap '' TERM; mkdir /w; echo served >/w/index.html; httpd -f -p 8080 -h /w"
        with (
            container(
                daemon, "sh", "-c", serve, ExposedPorts={"8080/tcp": {}}, HostConfig=host
            ) as server,
            container(daemon, HostConfig={"AutoRemove": True, "Init": True}) as fleeting,
        ):
            ruleset = subprocess.run([*inside, "nft", "list", "ruleset"], capture_output=True)
            assert b"wherry" not in ruleset.stdout
            assert fetched(inside) == b"served\n"
            made = ask(daemon, "POST", "/networks/create", {"Name": "small"})
            assert made.status == 201
            link = subprocess.run([*inside, "ip", "-o", "link"], capture_output=True).stdout
            assert b"mtu 1400" in link
            pid = ask(daemon, "GET", f"/containers/{server}/json").data["State"]["Pid"]
            assert daemon.stop() == 0
            assert not Path(f"/proc/{pid}").exists()
            daemon.start()
            assert ask(daemon, "GET", f"/containers/{fleeting}/json").status == 404
            assert fetched(inside) == b"served\n"
            state = ask(daemon, "GET", f"/containers/{server}/json").data["State"]
            assert (state["Running"], state["Pid"] != pid) == (True, True)
            ask(daemon, "DELETE", "/networks/small")


def fetched(inside: list[str]) -> bytes:
    """What the published port 8080 serves, on an address that is not loopback."""
    command = "ip -4 -o addr show scope global | awk '{split($4, a, \"/\"); print a[1]; exit}'"
    deadline = time.monotonic() + 30
    while True:
        found = subprocess.run([*inside, "sh", "-c", command], capture_output=True, text=True)
        url = f"http://{found.stdout.strip()}:8080/"
        done = subprocess.run([*inside, "curl", "-s", "-m", "5", url], capture_output=True)
        if done.stdout or time.monotonic() > deadline:
            return done.stdout
        time.sleep(0.1)


def test_end_while_clients_stream(engine: Daemon) -> None:
    with (
        container(engine),
        subprocess.Popen(
            [docker_client(), "events"], env=engine.client_environment(), stdout=subprocess.PIPE
        ) as client,
    ):
        time.sleep(0.3)
        began = time.monotonic()
        assert engine.stop() == 0
        assert time.monotonic() - began < 5
        client.wait(10)
        engine.start()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "ca.pem").write_bytes((folder / "cert.pem").read_bytes())
    return folder


def test_the_official_client_over_tls(certificates: Path) -> None:

    port = free_port()
    flags = [
        *("-H", f"tcp://127.0.0.1:{port}", "--tlsverify"),
        *("--tlscacert", f"{certificates}/ca.pem", "--tlscert", f"{certificates}/cert.pem"),
        *("--tlskey", f"{certificates}/key.pem", "--bridge", "none"),
    ]
    with Daemon(*flags) as daemon:
        daemon.docker("load", input=saved())
        secure = daemon.client_environment() | {
            "DOCKER_HOST": f"tcp://127.0.0.1:{port}",
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(certificates),
        }

        def docker(*arguments: str, **options: bytes) -> bytes:
            done = subprocess.run(
                [docker_client(), *arguments], env=secure, capture_output=True, timeout=60,
                **options,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return done.stdout

        assert docker("run", "--rm", "busybox", "echo", "hi") == b"hi\n"
        data = bytes(range(256)) * 4000
        assert docker("run", "--rm", "-i", "busybox", "cat", input=data) == data
        insecure = secure | {"DOCKER_TLS_VERIFY": "", "DOCKER_TLS": ""}
        refused = subprocess.run(
            [docker_client(), "version"], env=insecure, capture_output=True, timeout=60
        )
        assert refused.returncode != 0


def test_plain_tcp_warns_and_serves_what_is_addressed_to_it(tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "daemon.json"
    file.write_text(json.dumps({"allowed-hosts": ["engine.example", "docker"]}))
    flags = ("-H", f"tcp://127.0.0.1:{port}", "--bridge", "none", "--config-file", str(file))
    with Daemon(*flags) as daemon:
        assert "has no TLS" in daemon.log_text()
        environment = daemon.client_environment() | {"DOCKER_HOST": f"tcp://127.0.0.1:{port}"}
        done = subprocess.run(
            [docker_client(), "version"], env=environment, capture_output=True, timeout=60
        )
        assert done.returncode == 0

        def status(host: str) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            with contextlib.closing(connection):
                connection.request("GET", "/info", headers={"Host": host})
                return connection.getresponse().status

        for host in (f"127.0.0.1:{port}", "localhost", f"engine.example:{port}", "docker"):
            assert status(host) == 200, host
        for host in ("evil.example", f"evil.example:{port}", "docker.evil.example"):
            assert status(host) == 403, host


PASS_ON = (
    "import os, sys\n"
    "os.dup2(int(sys.argv[1]), 3, inheritable=True)\n"
    "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
    "os.execv(sys.executable, [sys.executable, '-m', 'wherry', 'daemon', *sys.argv[2:]])\n"
)


@contextlib.contextmanager
def passed(listening: socket.socket, folder: Path, *flags: str) -> Iterator[None]:
    """A daemon that a service manager has given ``listening``."""
    with listening, subprocess.Popen(
        [sys.executable, "-c", PASS_ON, str(listening.fileno()), "-H", "fd://",
         "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"),
         "--pidfile", str(folder / "pid"), "--bridge", "none", *flags],
        pass_fds=(listening.fileno(),),
    ) as process:  # fmt: skip
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def test_a_passed_socket_is_used(tmp_path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "passed.sock"))
    listening.listen()
    with passed(listening, tmp_path), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(tmp_path / "passed.sock"))
        client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.0 200 OK")


def test_a_passed_tcp_socket_has_tls_when_that_is_on(certificates: Path, tmp_path: Path) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    files = ("--tlscert", f"{certificates}/cert.pem", "--tlskey", f"{certificates}/key.pem")
    flags = ("--tlsverify", "--tlscacert", f"{certificates}/ca.pem", *files)
    context = ssl.create_default_context(cafile=f"{certificates}/ca.pem")
    context.check_hostname = False
    context.load_cert_chain(f"{certificates}/cert.pem", f"{certificates}/key.pem")
    with passed(listening, tmp_path, *flags):
        for name, wrap in (("TLS", context.wrap_socket), ("plain", lambda sock: sock)):
            with wrap(socket.create_connection(address, timeout=30)) as client:
                client.sendall(b"GET /_ping HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
                answer = client.recv(4096)
            assert answer.startswith(b"HTTP/1.0 200 OK") == (name == "TLS")
