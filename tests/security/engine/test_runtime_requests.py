"""Requests that reach for the host through the runtime: cgroups, /proc, our own folders."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.daemon import Daemon

from wherry.linux.cgroups import Cgroup, discover

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

PARENT = f"wherry-escape-{os.getpid()}"


def attempt(engine: Daemon, command: list[str], **host: Any) -> tuple[int, str]:
    """Create, start, wait: last status of the API, and output or message."""
    body = {"Image": "busybox", "Cmd": command, "HostConfig": host}
    status, answer = engine.request("POST", "/containers/create?name=attempt", body)
    if status != 201:
        return status, answer.decode()
    try:
        status, answer = engine.request("POST", "/containers/attempt/start")
        if status == 204:
            engine.json("POST", "/containers/attempt/wait")
            answer = engine.request("GET", "/containers/attempt/logs?stdout=1&stderr=1")[1]
        assert b"internal error" not in answer
        return status, answer.decode(errors="replace")
    finally:
        engine.json("DELETE", "/containers/attempt?force=1&v=1")


@pytest.fixture
def parent() -> Iterator[str]:
    yield PARENT
    Cgroup(PARENT).remove()
    assert not [point for point in discover().hierarchies() if Path(point, "..", PARENT).exists()]
    assert not Path("/", PARENT).exists()


@pytest.mark.parametrize("way", ["../../../../{}", "/../../../../../{}", "{}/../../../../{}"])
def test_a_cgroup_parent_stays_in_its_hierarchy(engine: Daemon, parent: str, way: str) -> None:
    asked = way.format(parent, parent)
    script = ["cat", "/proc/self/cgroup"]
    status, output = attempt(engine, script, CgroupParent=asked, CgroupnsMode="host")
    assert status == 204
    assert f":/{parent}/" in output
    query = f"/build?cgroupparent={asked}&t={parent}&version=1"
    tar = dockerfile(b"FROM busybox\nRUN true\n")
    status, answer = engine.request(
        "POST", query, tar, {"Content-Type": "application/x-tar", "Content-Length": str(len(tar))}
    )
    assert (status, b"errorDetail" in answer) == (200, False), answer
    engine.json("DELETE", f"/images/{parent}?force=1")


def dockerfile(text: bytes) -> bytes:
    """A build context of one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    return buffer.getvalue()


@pytest.mark.parametrize("asked", ["a\0b", "a\nb"])
def test_a_cgroup_parent_that_cannot_be(engine: Daemon, asked: str) -> None:
    status, message = attempt(engine, ["true"], CgroupParent=asked)
    assert status == 400, message


@pytest.mark.parametrize("place", ["/proc", "/proc//sys", "/proc/../proc/self", "/proc/1/attr"])
def test_nothing_is_mounted_on_proc_or_inside(engine: Daemon, tmp_path: Path, place: str) -> None:
    for host in (
        {"Binds": [f"{tmp_path}:{place}"]},
        {"Tmpfs": {place: ""}},
        {"Mounts": [{"Type": "volume", "Target": place}]},
        {"Binds": [f"{tmp_path}:{place}"], "Privileged": True},
    ):
        status, message = attempt(engine, ["true"], **host)
        assert status >= 400 and "cannot be mounted because it is" in message
