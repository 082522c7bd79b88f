"""Kill -9 and a failing disk at every single step of load, tag, rmi and prune.

strace(1) injects the fault at the n-th call of a set of system calls, for n = 1, 2, … until a run
has no n-th call any more. After each the store verifies, and the same work can be done again.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from wherry.errors import WherryError
from wherry.images.archive import ArchivedImage, archive
from wherry.images.check import check
from wherry.images.config import dump
from wherry.images.load import load
from wherry.images.reference import parse
from wherry.images.remove import User, prune_images, remove
from wherry.images.store import ImageStore
from wherry.storage.archive.writer import END, tar_file
from wherry.storage.blobs import BlobStore, digest_of
from wherry.storage.layers import LayerStore
from wherry.storage.statedb import StateDB

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(400),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]

# What to interrupt, and every which call of it: there are hundreds of pwrite64.
CALLS = {
    "rename": 1, "fsync": 1, "fdatasync": 1, "syncfs": 1, "mkdir": 1, "rmdir": 1, "mknodat": 1,
    "unlink": 1, "pwrite64": 9,
}  # fmt: skip


def open_store(root: Path) -> ImageStore:
    root.mkdir(exist_ok=True)
    db = StateDB(str(root / "state.db"))
    return ImageStore(db, BlobStore(str(root)), LayerStore(db, str(root), "overlay"))


def nobody(_: str) -> list[User]:
    return []


def image(*names: str, content: str) -> bytes:
    layer = tar_file(b"a", content.encode()) + tar_file(b"d/.wh..wh..opq", b"") + END
    shared = tar_file(b"base", b"shared") + tar_file(b".wh.gone", b"") + END
    digests = [digest_of(shared), digest_of(layer)]
    config = dump({"architecture": "amd64", "os": "linux", "config": {},
                   "rootfs": {"type": "layers", "diff_ids": digests}})  # fmt: skip
    contents = dict(zip(digests, (shared, layer), strict=True))
    archived = ArchivedImage(
        config,
        tuple((digest, len(data)) for digest, data in contents.items()),
        tuple(parse(name) for name in names),
    )
    return b"".join(archive([archived], lambda digest: [contents[digest]]))


def work(store: ImageStore) -> None:
    """Load an image twice over, move a name, remove one, prune the other."""
    load(store, io.BytesIO(image("app:1", content="one")), lambda _: None)
    load(store, io.BytesIO(image("app:2", "other:1", content="two")), lambda _: None)
    store.tag(store.resolve("app:1").id, parse("other:1"))
    remove(store, "app:2", nobody)
    prune_images(store, nobody, {"dangling": ["false"]})
    assert store.all() == []


def insist(root: Path) -> None:
    """Do the work; when it fails, do it again in the same process.

    strace counts the calls of each thread: new threads may meet the fault a second time.
    """
    for attempt in range(2):
        try:
            store = open_store(root)
            break
        except (WherryError, OSError, sqlite3.Error):
            assert attempt == 0
    try:
        work(store)
    except (WherryError, OSError, sqlite3.Error):
        assert check(store).problems == ()
        with contextlib.suppress(WherryError, OSError, sqlite3.Error):
            work(store)
    assert check(store).problems == ()


def inject(root: Path, function: str, call: str, fault: str) -> tuple[bool, str]:
    """Run a function of this module under the fault; whether it was met, and the error output."""
    here = str(Path(__file__).parent)
    script = (
        f"import sys; sys.path.insert(0, {here!r})\n"
        "import test_every_step as t; from pathlib import Path\n"
        f"t.{function}"
    )
    log = root.parent / "strace"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", log, "-e", f"trace={call}", "-e", f"inject={call}:{fault}",
         sys.executable, "-c", script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    killed = done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert killed or done.returncode == 0, done.stderr
    return killed or "(INJECTED)" in log.read_text(), done.stderr


@pytest.mark.parametrize("call", CALLS)
def test_kill_at_every_step(tmp_path: Path, call: str) -> None:
    root = tmp_path / "data"
    open_store(root).db.close()
    step, met = 1, True
    while met:
        function = f"work(t.open_store(Path({str(root)!r})))"
        met, _ = inject(root, function, call, f"signal=SIGKILL:when={step}")
        store = open_store(root)
        assert check(store).problems == (), f"after a kill at {call} {step}"
        store.clean()
        report = check(store)
        assert (report.problems, report.garbage) == ((), ()), f"after a kill at {call} {step}"
        store.db.close()
        step += CALLS[call]
    assert step > 1


@pytest.mark.parametrize("call", [call for call in CALLS if call != "unlink"])
def test_a_disk_that_is_full_at_every_step(tmp_path: Path, call: str) -> None:
    root = tmp_path / "data"
    open_store(root).db.close()
    step, met = 1, True
    while met:
        function = f"insist(Path({str(root)!r}))"
        met, _ = inject(root, function, call, f"error=ENOSPC:when={step}")
        store = open_store(root)
        assert check(store).problems == (), f"after ENOSPC at {call} {step}"
        work(store)
        store.clean()
        store.db.close()
        step += CALLS[call]
