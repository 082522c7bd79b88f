"""From one engine to another by way of the hub, with the official client."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon
from tests.images import busybox_archive
from tests.registries import free_port

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A hub with the demonstration's accounts and repositories; gives its address."""
    address = f"127.0.0.1:{free_port()}"
    data: Path = tmp_path_factory.mktemp("hub")
    command = [*("hub", "--listen", address, "--data", str(data / "data"), "--demo")]
    with (data / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "wherry", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://{address}/v1/_ping", timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, (data / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def test_pushed_here_found_and_run_there(hub: str) -> None:
    name = f"{hub}/brice/box"
    with Daemon() as laptop:
        laptop.docker("load", "-i", str(busybox_archive()))
        wrong = laptop.docker("login", "-u", "brice", "-p", "not it", hub, check=False)
        assert wrong.returncode != 0
        laptop.docker("login", "-u", "brice", "-p", "wherry-demo", hub)
        laptop.docker("tag", "busybox", f"{name}:v1")
        assert "v1: digest: sha256:" in laptop.docker("push", f"{name}:v1").stdout
        image = laptop.docker("inspect", "-f", "{{.Id}}", "busybox").stdout
    with Daemon("--default-registry", hub) as production:
        found = production.docker("search", "--format", "{{.Name}}", "box").stdout.split()
        assert "brice/box" in found
        assert production.docker("run", "--rm", "brice/box:v1", "echo", "ahoy").stdout == "ahoy\n"
        assert production.docker("inspect", "-f", "{{.Id}}", "brice/box:v1").stdout == image
        missing = production.docker("pull", "brice/nothing", check=False)
        assert "pull access denied for brice/nothing" in missing.stderr


def test_a_stranger_cannot_push(hub: str) -> None:
    with Daemon() as stranger:
        stranger.docker("load", "-i", str(busybox_archive()))
        stranger.docker("tag", "busybox", f"{hub}/brice/stolen")
        refused = stranger.docker("push", f"{hub}/brice/stolen", check=False)
        assert refused.returncode == 1
        assert "denied" in refused.stderr or "unauthorized" in refused.stderr
