"""A publishing house of four services, by Compose v2 and v1: the story that newcomers try."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon
from tests.e2e import blog
from tests.peers import compose_v2

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    pool = "base=10.214.0.0/16,size=24"
    with Daemon("--bip", "10.213.0.1/24", "--default-address-pool", pool) as daemon:
        blog.make_image(daemon, tmp_path_factory.mktemp("blog"))
        yield daemon


class Project:
    """The project in a folder, and a Compose program that handles it."""

    def __init__(self, engine: Daemon, program: str, folder: Path) -> None:
        self.engine = engine
        self.program = program
        self.folder = folder
        self.title = "News"
        (folder / "docker-compose.yml").write_text(blog.PROJECT)
        (folder / "password").write_text("written down\n")

    def compose(self, *arguments: str) -> str:
        """What Compose prints; it must succeed."""
        done = subprocess.run(
            [self.program, "-p", "house", *arguments],
            cwd=self.folder,
            env=self.engine.client_environment() | {"BLOG_TITLE": self.title},
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ids(self, service: str) -> set[str]:
        """The containers of a service."""
        label = f"label=com.docker.compose.service={service}"
        return set(self.engine.docker("ps", "-q", "--filter", label).stdout.split())

    def assert_nothing_stays(self, *, volumes: bool = False) -> None:
        """Only volumes that were to be kept are there; anonymous ones stay with these."""
        assert self.engine.docker("ps", "-aq").stdout == ""
        networks = self.engine.docker("network", "ls", "--format", "{{.Name}}").stdout
        assert networks.split() == ["bridge", "host", "none"]
        if volumes:
            self.engine.docker("volume", "prune", "-f")
        kept = self.engine.docker("volume", "ls", "-q").stdout.split()
        assert kept == (["house_data"] if volumes else [])


def ask(text: str | None = None, port: int = 18090) -> str:
    """A page of the blog; with ``text`` it is posted first. Patient while services start."""
    deadline = time.monotonic() + 60
    while True:
        try:
            data = text.encode() if text else None
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", data, timeout=20) as answer:
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def greeting(port: int) -> bytes:
    """What a MariaDB server says to a client from outside before anything else."""
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        return client.recv(200)


def test_compose_v2(engine: Daemon, tmp_path: Path) -> None:
    project = Project(engine, str(compose_v2()), tmp_path)
    project.compose("up", "-d")
    assert ask("first") == "posted"
    assert re.fullmatch(r"News on \w{12}: first; 1 visits", ask())
    assert b"MariaDB" in greeting(18092)
    project.compose("exec", "-T", "app", "getent", "hosts", "store")

    everything = {name: project.ids(name) for name in ("web", "app", "db", "cache")}
    project.compose("up", "-d")  # the configuration hashes are the same
    assert {name: project.ids(name) for name in everything} == everything
    project.title = "Gazette"
    project.compose("up", "-d", "--scale", "app=3")
    assert len(project.ids("app")) == 3 and not project.ids("app") & everything["app"]
    assert project.ids("db") == everything["db"]
    deadline, seen = time.monotonic() + 60, set()
    while len(seen) < 3 and time.monotonic() < deadline:
        page = re.fullmatch(r"Gazette on (\w{12}): first; \d+ visits", ask(port=18091))
        assert page
        seen.add(page[1])
    assert seen == project.ids("app")

    assert "posted first" not in project.compose("logs", "web")
    assert project.compose("port", "web", "80").strip() in ("127.0.0.1:18090", "0.0.0.0:18091")
    query = "mariadb -ublog -p'written down' -h127.0.0.1 -Ne 'SELECT text FROM posts' blog"
    assert project.compose("exec", "-T", "db", "sh", "-c", query) == "first\n"
    project.compose("down", "-t", "1")
    project.assert_nothing_stays(volumes=True)

    project.compose("up", "-d")
    assert ": first; 1 visits" in ask()
    project.compose("down", "-v", "-t", "1")
    project.assert_nothing_stays()


def test_compose_v1(engine: Daemon, tmp_path: Path) -> None:
    program = shutil.which("docker-compose")
    assert program, "docker-compose 1.29 is missing: contrib/system-packages test"
    project = Project(engine, program, tmp_path)
    project.compose("up", "-d")
    assert ask("second") == "posted"
    assert re.fullmatch(r"News on \w{12}: second; 1 visits", ask())
    project.compose("up", "-d", "--scale", "app=2")
    assert len(project.ids("app")) == 2
    assert "posted second" in project.compose("logs", "app")
    assert "Up (healthy)" in project.compose("ps")
    assert project.compose("exec", "-T", "cache", "redis-cli", "GET", "visits") == "1\n"
    project.compose("down", "-v", "-t", "1")
    project.assert_nothing_stays()
