"""Copying into and out of a container that works against it (CVE classes of `docker cp`)."""

from __future__ import annotations

import bz2
import ctypes
import gzip
import io
import lzma
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from tests.daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

ROUNDS = 20
SECRET = b"a secret of the host"
_EXCHANGE = 2
_AT_FDCWD = -100


def tar_of(name: str, content: bytes = b"content\n", **fields: object) -> bytes:
    """An archive of one file."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        for key, value in fields.items():
            setattr(member, key, value)
        tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


@pytest.fixture
def container(engine: Daemon) -> Iterator[str]:
    """A container that runs."""
    host = {"UsernsMode": "host"}  # the weaker wall; and the test plays a part of the container
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": host}
    made: str = engine.json("POST", "/containers/create", body)["Id"]
    engine.json("POST", f"/containers/{made}/start")
    yield made
    engine.json("DELETE", f"/containers/{made}?force=1&v=1")


def root_of(engine: Daemon, container: str) -> Path:
    """The container's root as the host sees it."""
    pid = engine.json("GET", f"/containers/{container}/json")["State"]["Pid"]
    return Path(f"/proc/{pid}/root")


def exchanging(first: Path, second: Path, stop: threading.Event) -> None:
    """Swap two names as fast as the kernel can, as a process of the container would."""
    libc = ctypes.CDLL(None)
    while not stop.is_set():
        libc.renameat2(_AT_FDCWD, bytes(first), _AT_FDCWD, bytes(second), _EXCHANGE)


@pytest.mark.parametrize("link", ["{outside}", "/proc/1/cwd"])
def test_cve_2018_15664_and_2026_42306_components_that_are_swapped(
    engine: Daemon, container: str, tmp_path: Path, link: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o751)
    (outside / "file").write_bytes(SECRET)
    inside = root_of(engine, container) / "tmp"
    (inside / "dir").mkdir()
    (inside / "dir/file").write_bytes(b"of the container")
    (inside / "link").symlink_to(link.format(outside=outside))
    stop = threading.Event()
    racer = threading.Thread(target=exchanging, args=(inside / "dir", inside / "link", stop))
    racer.start()
    path = f"/containers/{container}/archive?path=/tmp/dir"
    served = 0
    try:
        for number in range(ROUNDS):
            status, answer = engine.request("GET", f"{path}/file")
            served += status == 200
            assert SECRET not in answer
            assert status in (200, 404), answer
            assert engine.request("HEAD", f"{path}/file")[0] in (200, 404)
            status, answer = engine.request("PUT", path, tar_of(f"put{number}", mode=0o777))
            assert status in (200, 400, 404), answer
    finally:
        stop.set()
        racer.join()
    assert served
    assert [one.name for one in outside.iterdir()] == ["file"]
    assert (outside / "file").read_bytes() == SECRET
    assert outside.stat().st_mode & 0o777 == 0o751  # CVE-2021-41089


def test_absolute_links_of_the_image_still_work(engine: Daemon, container: str) -> None:
    """What a first repair of CVE-2026-42306 broke elsewhere."""
    inside = root_of(engine, container)
    (inside / "var/run").unlink(missing_ok=True)
    (inside / "run").mkdir(exist_ok=True)
    (inside / "var/run").symlink_to("/run")
    path = f"/containers/{container}/archive?path=/var/run"
    assert engine.request("PUT", path, tar_of("put"))[0] == 200
    assert (inside / "run/put").read_bytes() == b"content\n"
    status, answer = engine.request("GET", f"{path}/put")
    assert (status, b"content\n" in answer) == (200, True)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("kind", PACKERS)
def test_cve_2026_41567_nothing_of_the_container_unpacks(
    engine: Daemon, container: str, kind: str
) -> None:
    inside = root_of(engine, container)
    for name in ("gzip", "unpigz", "pigz", "igzip", "bzip2", "xz", "unxz", "zstd", "tar"):
        trap = inside / "bin" / name
        trap.unlink(missing_ok=True)
        trap.write_text("#!/bin/sh\n: >/tmp/trapped\n")
        trap.chmod(0o755)
    path = f"/containers/{container}/archive?path=/tmp"
    assert engine.request("PUT", path, PACKERS[kind](tar_of("put")))[0] == 200
    assert (inside / "tmp/put").read_bytes() == b"content\n"
    assert not (inside / "tmp/trapped").exists()


def test_cve_2019_14271_names_are_not_looked_up_with_the_containers_files(
    engine: Daemon, container: str
) -> None:
    """A FIFO for each file that a resolver or loader would open: whoever opens one hangs."""
    inside = root_of(engine, container)
    for name in ("passwd", "group", "nsswitch.conf", "ld.so.cache", "ld.so.preload", "localtime"):
        (inside / "etc" / name).unlink(missing_ok=True)
        os.mkfifo(inside / "etc" / name)
    archive = tar_of("put", uname="daemon", gname="daemon", uid=7, gid=8)
    for query in ("", "&copyUIDGID=1"):
        path = f"/containers/{container}/archive?path=/tmp{query}"
        assert engine.request("PUT", path, archive)[0] == 200
    status, answer = engine.request("GET", f"/containers/{container}/archive?path=/tmp/put")
    assert status == 200
    with tarfile.open(fileobj=io.BytesIO(answer)) as tar:
        member = tar.getmember("put")
        assert (member.uid, member.gid) in ((7, 8), (0, 0))


@pytest.mark.parametrize(
    "name", ["../escaped", "/../../escaped", "a/../../../escaped", "tmp/link/escaped"]
)
def test_names_in_archives_stay_inside(
    engine: Daemon, container: str, name: str, tmp_path: Path
) -> None:
    (root_of(engine, container) / "tmp/link").symlink_to(f"../../../../../../..{tmp_path}")
    engine.request("PUT", f"/containers/{container}/archive?path=/", tar_of(name))
    assert list(tmp_path.iterdir()) == []
    assert not Path("/escaped").exists()
    assert not (engine.data_root / "escaped").exists()


@pytest.mark.parametrize("content", ["link", "hardlink", "device"])
def test_entries_that_lead_out_do_no_harm(engine: Daemon, container: str, content: str) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        first = tarfile.TarInfo("first")
        first.type = {"link": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE}.get(
            content, tarfile.BLKTYPE
        )
        first.linkname = "/../../../../../../etc" if content == "link" else "../../etc/shadow"
        first.devmajor, first.devminor = 254, 0
        tar.addfile(first)
        second = tarfile.TarInfo("first/wherry-escape")
        tar.addfile(second)
    engine.request("PUT", f"/containers/{container}/archive?path=/tmp", made.getvalue())
    assert not Path("/etc/wherry-escape").exists()
