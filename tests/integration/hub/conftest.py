"""Real hub processes, a PostgreSQL server, an S3 server."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from wherry.hub.accounts.passwords import hash_password
from wherry.hub.database import Database
from wherry.hub.migrations.run import migrate
from wherry.hub.records import users

_POSTGRES = Path("/usr/lib/postgresql/15/bin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class RunningHub:
    """One ``wherry hub`` process."""

    process: subprocess.Popen[bytes]
    port: int
    scheme: str = "http"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(20)


StartHub = Callable[..., RunningHub]


def hub_command(*arguments: str) -> list[str]:
    program = "import sys; from wherry.hub.main import main; sys.exit(main(sys.argv[1:]))"
    return [sys.executable, "-c", program, *arguments]


@pytest.fixture
def start_hub(tmp_path: Path) -> Iterator[StartHub]:
    """Starts hubs; all are stopped at the end."""
    running: list[RunningHub] = []

    def start(*arguments: str, data: Path | None = None, scheme: str = "http") -> RunningHub:
        port = free_port()
        command = hub_command(
            "--listen", f"127.0.0.1:{port}", "--data", str(data or tmp_path / "hub"), *arguments
        )
        log = open(tmp_path / f"hub-{port}.log", "wb")  # noqa: SIM115
        hub = RunningHub(subprocess.Popen(command, stderr=log, stdout=log), port, scheme)
        log.close()
        running.append(hub)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if hub.process.poll() is not None:
                    break
                # The socket listens before the hub is ready; an answer says it is.
                if probe.connect_ex(("127.0.0.1", port)) == 0 and _answers(hub):
                    return hub
            time.sleep(0.05)
        raise AssertionError((tmp_path / f"hub-{port}.log").read_text())

    yield start
    for hub in running:
        hub.stop()


def _answers(hub: RunningHub) -> bool:
    if hub.scheme == "https":
        return True
    try:
        with urllib.request.urlopen(f"{hub.url}/health", timeout=10) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def add_users(url: str, password: str, *names: str) -> None:
    """Adds accounts to a database (made when missing); the first one is an administrator."""
    db = Database(url)
    migrate(db)
    hashed = hash_password(password)
    for index, name in enumerate(names):
        db.run(users.create, name, hashed, admin=index == 0)
    db.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a fresh PostgreSQL server."""
    assert _POSTGRES.exists(), "Debian's postgresql package is needed"
    folder = Path(tempfile.mkdtemp(prefix="hub-pg-"))
    user = pwd.getpwnam("postgres") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    os.chown(folder, user.pw_uid, user.pw_gid)
    port = free_port()
    identity = {"user": user.pw_uid, "group": user.pw_gid} if os.getuid() == 0 else {}
    subprocess.run(
        [
            _POSTGRES / "initdb",
            "-D",
            folder / "db",
            "-U",
            "hub",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ],
        check=True,
        capture_output=True,
        cwd="/",
        **identity,
    )
    server = subprocess.Popen(
        [
            _POSTGRES / "postgres", "-D", folder / "db", "-p", str(port), "-k", folder,
            "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        **identity,
    )  # fmt: skip
    deadline = time.monotonic() + 20
    ready = [_POSTGRES / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ready, capture_output=True).returncode != 0:
        assert time.monotonic() < deadline, "PostgreSQL does not start"
        time.sleep(0.1)
    yield f"postgresql://hub@127.0.0.1:{port}/postgres"
    server.send_signal(signal.SIGINT)
    server.wait(20)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database."""
    if request.param == "sqlite":
        (tmp_path / "hub").mkdir()
        return f"sqlite:///{tmp_path / 'hub' / 'hub.db'}"
    url: str = request.getfixturevalue("postgresql")
    name = f"jobs{time.monotonic_ns()}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{url.rsplit('/', 1)[0]}/{name}"


@dataclass(frozen=True)
class S3Server:
    """Endpoint and keys of an S3 server with one bucket."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str

    def config(self, prefix: str) -> str:
        """The ``[s3]`` table of a hub's configuration file."""
        return (
            f'[s3]\nbucket = "{self.bucket}"\nendpoint = "{self.endpoint}"\nprefix = "{prefix}"\n'
            f'access_key = "{self.access_key}"\nsecret_key = "{self.secret_key}"\n'
        )


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """SeaweedFS, a real S3 server."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    folder = Path(tempfile.mkdtemp(prefix="hub-s3-"))
    identities = folder / "s3.json"
    identities.write_text(
        '{"identities": [{"name": "hub", "credentials": [{"accessKey": "hub", "secretKey":'
        ' "hubsecret"}], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}'
    )
    ports = [free_port() for _ in range(8)]
    weed = Path(sys.executable).parent / "weed"
    server = subprocess.Popen(
        [
            weed, f"-logdir={folder}", "server", "-dir", folder, "-ip=127.0.0.1",
            "-s3", f"-s3.config={identities}",
            f"-s3.port={ports[0]}", f"-master.port={ports[1]}", f"-volume.port={ports[2]}",
            f"-filer.port={ports[3]}", f"-s3.port.grpc={ports[4]}",
            f"-master.port.grpc={ports[5]}",
            f"-volume.port.grpc={ports[6]}",
            f"-filer.port.grpc={ports[7]}",
            # Services of fixed ports would let only one such server run on a machine.
            "-s3.port.iceberg=0", "-s3.port.lance=0",
            "-master.telemetry=false", "-volume.max=50", "-master.volumeSizeLimitMB=64",
        ],
        stdout=subprocess.DEVNULL,
        stderr=open(folder / "log", "wb"),  # noqa: SIM115
    )  # fmt: skip
    endpoint = f"http://127.0.0.1:{ports[0]}"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="hub",
        aws_secret_access_key="hubsecret",
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket="hub")
            break
        except (BotoCoreError, ClientError):
            alive = server.poll() is None and time.monotonic() < deadline
            assert alive, (folder / "log").read_text()[-3000:]
            time.sleep(0.3)
    yield S3Server(endpoint, "hub", "hub", "hubsecret")
    server.kill()
    server.wait(20)
    shutil.rmtree(folder, ignore_errors=True)
    for port in ports:  # it makes sockets there, and leaves them
        for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
            left.unlink()
