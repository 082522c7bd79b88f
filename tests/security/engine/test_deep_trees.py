"""A container nests directories deeper than any path: all works on, and it can be removed."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.daemon import Daemon
from tests.images import busybox_archive

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]

DEPTH = 2500
PATIENCE = 60.0
NEST = f"""
half() {{ cd $1; for i in $(seq {DEPTH // 2}); do mkdir d && cd d || exit; done; }}
nest() {{ mkdir $1/x && (half $1/x; echo leaf >leaf) && (half $1; mv $1/x/d d) && rmdir $1/x; }}
nest /v && nest /.
"""
"""A shell cannot enter a directory whose path is too long, but move one to where it is."""


@pytest.fixture(scope="module")
def deep() -> Iterator[tuple[Daemon, str]]:
    """A daemon with an ended container that is 2,500 levels deep, and so is its volume."""
    body = {
        "Image": "busybox",
        "Cmd": ["sh", "-c", NEST],
        "HostConfig": {"Mounts": [{"Type": "volume", "Source": "deepvol", "Target": "/v"}]},
    }
    with Daemon("-D") as daemon:
        daemon.json("POST", "/images/load", busybox_archive().read_bytes())
        made = daemon.json("POST", "/containers/create", body)["Id"]
        daemon.json("POST", f"/containers/{made}/start")
        assert daemon.json("POST", f"/containers/{made}/wait")["StatusCode"] == 0
        yield daemon, made
        assert "Traceback" not in daemon.log_text()


def depth_of(archive: bytes) -> int:
    """Levels of the deepest name in a tar archive."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return max(name.rstrip("/").count("/") for name in tar.getnames())


def test_what_changed_is_told(deep: tuple[Daemon, str]) -> None:
    daemon, container = deep
    changes = daemon.json("GET", f"/containers/{container}/changes")
    assert max(change["Path"].count("/d") for change in changes) == DEPTH
    assert changes[-1]["Kind"] == 1


def test_sizes_are_told(deep: tuple[Daemon, str]) -> None:
    daemon, container = deep
    listed = daemon.json("GET", "/containers/json?all=1&size=1")
    assert [one["SizeRw"] for one in listed if one["Id"] == container] == [len("leaf\n")]
    found = daemon.json("GET", "/system/df")
    assert len(found["Containers"]) == len(listed)
    assert found["Volumes"][0]["UsageData"]["Size"] > len("leaf\n")


@pytest.mark.parametrize("path", ["archive?path=/d", "archive?path=/v/d", "export"])
def test_it_comes_out_as_an_archive(deep: tuple[Daemon, str], path: str) -> None:
    daemon, container = deep
    status, archive = daemon.request("GET", f"/containers/{container}/{path}")
    assert status == 200
    assert depth_of(archive) == DEPTH


def test_it_goes_in_as_an_archive(deep: tuple[Daemon, str]) -> None:
    daemon, container = deep
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("p/" * DEPTH + "file")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    path = f"/containers/{container}/archive?path=/tmp"
    assert daemon.request("PUT", path, made.getvalue()) == (200, b"")
    status, archive = daemon.request("GET", f"/containers/{container}/archive?path=/tmp/p")
    assert status == 200
    assert depth_of(archive) == DEPTH


def test_an_absurd_archive_is_refused_with_the_reason(deep: tuple[Daemon, str]) -> None:
    daemon, container = deep
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("q/" * 20_000 + "file"))
    status, answer = daemon.request(
        "PUT", f"/containers/{container}/archive?path=/tmp", made.getvalue()
    )
    assert status == 400
    assert b"longer than" in answer


def test_it_becomes_an_image_that_runs_and_copies(deep: tuple[Daemon, str]) -> None:
    daemon, container = deep
    daemon.json("POST", f"/commit?container={container}&repo=deep")
    body = {"Image": "deep", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}
    made = daemon.json("POST", "/containers/create", body)["Id"]
    daemon.json("POST", f"/containers/{made}/start")
    assert daemon.json("POST", f"/containers/{made}/wait")["StatusCode"] == 0
    assert daemon.json("GET", f"/containers/{made}/changes") is None
    status, archive = daemon.request("GET", f"/containers/{made}/archive?path=/d")
    assert status == 200
    assert depth_of(archive) == DEPTH
    daemon.json("DELETE", f"/containers/{made}")
    status, archive = daemon.request("GET", "/images/deep/get")
    assert status == 200
    assert len(archive) > DEPTH
    daemon.json("DELETE", "/images/deep")


def test_the_daemon_starts_again_and_removes_it(deep: tuple[Daemon, str]) -> None:
    """Also what a removal that was cut off by a crash has left is taken up at the start."""
    daemon, container = deep
    with open(daemon.folder / "fault", "w") as fault:
        fault.write("remove.marked=kill")
    daemon.environment["WHERRY_FAULT"] = fault.name
    daemon.restart()
    with pytest.raises(OSError):
        daemon.request("DELETE", f"/containers/{container}?force=1")
    assert daemon.process is not None
    daemon.process.wait()
    daemon.start()
    deadline = time.monotonic() + PATIENCE
    while daemon.json("GET", "/containers/json?all=1"):
        assert time.monotonic() < deadline
    daemon.json("DELETE", "/volumes/deepvol")
    left = [path.name for path in (daemon.data_root / "volumes").iterdir()]
    assert "deepvol" not in left
    roots = Path(daemon.data_root, "roots")
    assert not [name for driver in roots.iterdir() for name in os.listdir(driver)]
