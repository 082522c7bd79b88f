"""What `docker cp` and copy-up may write, and what they leave behind."""

from __future__ import annotations

import http.client
import io
import os
import socket
import stat
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

ABORTED = 40
DIRECTORIES = 1500
PATIENCE = 30.0


def tar_of(*members: tarfile.TarInfo) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return made.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o644) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.mode = kind, mode
    made.devmajor, made.devminor = 1, 3
    return made


@pytest.fixture
def make(engine: Daemon, shared: Path) -> Iterator[object]:
    """Makes containers of busybox that are removed afterwards, before the volume."""
    made: list[str] = []

    def create(host: dict[str, object], *command: str, start: bool = False) -> str:
        body = {"Image": "busybox", "Cmd": command or ("sleep", "1000"), "HostConfig": host}
        made.append(engine.json("POST", "/containers/create", body)["Id"])
        if start:
            engine.json("POST", f"/containers/{made[-1]}/start")
        return made[-1]

    yield create
    for container in made:
        engine.json("DELETE", f"/containers/{container}?force=1&v=1")


def volume(name: str, target: str, **more: object) -> dict[str, object]:
    return {"Mounts": [{"Type": "volume", "Source": name, "Target": target, **more}]}


@pytest.fixture
def shared(engine: Daemon) -> Iterator[Path]:
    """A volume, and where it lies on the host."""
    made = engine.json("POST", "/volumes/create", {"Name": "shared"})
    yield Path(made["Mountpoint"])
    engine.json("DELETE", "/volumes/shared?force=1")


@pytest.mark.parametrize("running", [False, True])
def test_directories_that_are_swapped_for_links_while_they_are_made(
    engine: Daemon, make, shared: Path, tmp_path: Path, running: bool
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"of the host")
    secret.chmod(0o600)
    host = volume("shared", "/vol") | ({"UsernsMode": "host"} if running else {})
    container = make(host, start=running)
    names = [f"n{number}" for number in range(DIRECTORIES)]
    done = threading.Event()
    swapped = []

    def race() -> None:  # as a container that shares the volume would
        for name in names:
            while not done.is_set():
                try:
                    os.rename(shared / name, shared / f"moved-{name}")
                    os.symlink(secret, shared / name)
                    swapped.append(name)
                    break
                except FileNotFoundError:
                    continue
                except FileExistsError:
                    break

    racer = threading.Thread(target=race)
    racer.start()
    archive = tar_of(*(member(name, tarfile.DIRTYPE, 0o4777) for name in names))
    try:
        status, answer = engine.request(
            "PUT", f"/containers/{container}/archive?path=/vol", archive
        )
    finally:
        done.set()
        racer.join()
    assert status in (200, 400, 404), answer
    assert swapped
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.read_bytes() == b"of the host"


@pytest.mark.parametrize("running", [False, True])
def test_a_link_in_a_volume_leads_into_a_read_only_root(
    engine: Daemon, make, shared: Path, running: bool
) -> None:
    container = make(volume("shared", "/vol") | {"ReadonlyRootfs": True}, start=running)
    (shared / "out").symlink_to("/tmp")
    (shared / "in").mkdir()
    path = f"/containers/{container}/archive?path="
    archive = tar_of(member("file"))
    for target in ("/vol/out", "/tmp", "/"):
        status, answer = engine.request("PUT", path + target, archive)
        assert (status, b"rootfs is marked read-only" in answer) == (403, True), target
    assert engine.request("PUT", path + "/vol/in", archive)[0] == 200
    assert engine.request("PUT", path + "/vol", tar_of(member("out/file")))[0] == 400
    assert engine.request("GET", path + "/tmp/file")[0] == 404


@pytest.mark.parametrize("running", [False, True])
def test_a_read_only_volume(engine: Daemon, make, shared: Path, running: bool) -> None:
    container = make(volume("shared", "/vol", ReadOnly=True), start=running)
    path = f"/containers/{container}/archive?path="
    status, answer = engine.request("PUT", path + "/vol", tar_of(member("file")))
    assert (status, b"volume is marked read-only" in answer) == (403, True)
    assert engine.request("PUT", path + "/tmp", tar_of(member("file")))[0] == 200


def test_devices_and_the_kernels_files_are_refused_not_failed(engine: Daemon, make) -> None:
    container = make({}, start=True)
    path = f"/containers/{container}/archive?path="
    status, answer = engine.request("PUT", path + "/tmp", tar_of(member("n", tarfile.CHRTYPE)))
    assert (status, b"devices cannot be made here" in answer) == (400, True)
    assert engine.request("PUT", path + "/sys", tar_of(member("file")))[0] == 403
    assert engine.request("PUT", path + "/proc", tar_of(member("file")))[0] in (400, 403)


def children(pid: int) -> list[str]:
    """The states of a process's children."""
    states = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            try:
                states.append(Path(f"/proc/{child}/stat").read_text().rsplit(") ", 1)[1][0])
            except FileNotFoundError:
                continue
    return states


@pytest.mark.parametrize("path", ["archive?path=/bin", "export"])
def test_downloads_that_a_client_gives_up_leave_no_helper(engine: Daemon, make, path: str) -> None:
    container = make({"NetworkMode": "none"})
    assert engine.process is not None
    before = len(children(engine.process.pid))
    for number in range(ABORTED):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(engine.socket)
        connection.request("GET", f"/containers/{container}/{path}")
        if number % 2:
            connection.getresponse().read(100)
        connection.close()
    deadline = time.monotonic() + PATIENCE
    while len(left := children(engine.process.pid)) > before and time.monotonic() < deadline:
        engine.request("GET", "/_ping")
    assert "Z" not in left
    assert len(left) <= before


def test_copy_up_into_a_volume_that_is_in_use(engine: Daemon, make, shared: Path) -> None:
    script = "until [ -e /d/passwd ]; do sleep 0.05; done; echo written >/d/data; sleep 1000"
    user = make(volume("shared", "/d"), "sh", "-c", script, start=True)
    filler = make(volume("shared", "/etc"), "sh", "-c", "until [ -s /etc/data ]; do :; done",
                  start=True)  # fmt: skip
    assert engine.json("POST", f"/containers/{filler}/wait")["StatusCode"] == 0
    assert (shared / "data").read_text() == "written\n"
    assert engine.request("HEAD", f"/containers/{user}/archive?path=/d/passwd")[0] == 200
