"""Pull and push against Debian's docker-registry, and archives of extreme layers.

Each measurement gets a new registry on a new port: neither engine knows it, so neither can spare
itself the bytes. It runs in the engine's own network namespace. What is pulled was put there by
skopeo, so both engines fetch the same compressed bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import socket
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .engines import EngineUnderTest

CONFIG = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
START_SECONDS = 30
LARGE_FILE_BYTES = 2 << 30
MANY_FILES = 10_000


@contextmanager
def registry(engine: EngineUnderTest) -> Iterator[str]:
    """A fresh registry beside the engine; its address."""
    enter = ["nsenter", f"--net=/proc/{engine.daemon.pid}/ns/net"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="wherry-bench-registry-") as folder:
        config = Path(folder, "config.yml")
        config.write_text(CONFIG.format(folder=folder, port=port))
        process = subprocess.Popen(
            [*enter, "docker-registry", "serve", str(config)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + START_SECONDS
            listening = f":{port:04X} "
            while listening not in Path(f"/proc/{process.pid}/net/tcp").read_text():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("docker-registry does not start")
                time.sleep(0.05)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def fill(engine: EngineUnderTest, archive: Path, target: str) -> None:
    """Put an archive's image into a registry with skopeo."""
    subprocess.run(
        ["nsenter", f"--net=/proc/{engine.daemon.pid}/ns/net", "skopeo", "copy", "--quiet",
         "--insecure-policy", "--dest-tls-verify=false",
         f"docker-archive:{archive}", f"docker://{target}"],
        check=True,
    )  # fmt: skip


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of ``work`` in seconds."""
    os.sync()  # what came before shall not be paid for here
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def pull_debian(engine: EngineUnderTest, images: Path) -> float:
    """docker pull of a Debian image, in s; the image is removed again."""
    with registry(engine) as address:
        name = f"{address}/debian:bench"
        fill(engine, images / "debian.tar", name)
        figure = seconds(lambda: engine.docker("pull", name))
        engine.docker("rmi", name)
    return figure


def push_debian(engine: EngineUnderTest, images: Path) -> float:
    """docker push of a Debian image that was loaded, in s; the image is removed again."""
    engine.docker("load", "-i", str(images / "debian.tar"))
    with registry(engine) as address:
        name = f"{address}/debian:bench"
        engine.docker("tag", "debian", name)
        figure = seconds(lambda: engine.docker("push", name))
        engine.docker("rmi", name)
    engine.docker("rmi", "debian:latest", "debian:bookworm", check=False)
    return figure


def load_many_files(engine: EngineUnderTest, images: Path) -> float:
    """docker load of a layer of 10,000 files, in s."""
    return _load(engine, _archive(images, "many-files", _many_files))


def load_large_file(engine: EngineUnderTest, images: Path) -> float:
    """docker load of a layer with one file of 2 GB, in s."""
    return _load(engine, _archive(images, "large-file", _large_file))


def memory_of_large_file(engine: EngineUnderTest, images: Path) -> float:
    """Growth of the daemon's helpers' memory while 2 GB are loaded, in MB at its peak."""
    archive = _archive(images, "large-file", _large_file)
    before, most = engine.rss(), 0.0
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.05):
            most = max(most, engine.rss())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _load(engine, archive)
    finally:
        done.set()
        watcher.join()
    return max(0.0, most - before)


def _load(engine: EngineUnderTest, archive: Path) -> float:
    figure = seconds(lambda: engine.docker("load", "-i", str(archive)))
    engine.docker("rmi", f"bench-{archive.stem}")
    return figure


def _archive(images: Path, name: str, write: Callable[[tarfile.TarFile], None]) -> Path:
    """A docker-archive of one layer that ``write`` fills, made once."""
    target = images / f"{name}.tar"
    if target.exists():
        return target
    layer, unfinished = images / f"{name}.layer", images / f"{name}.part"
    with tarfile.open(layer, "w") as tar:
        write(tar)
    with layer.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "config": {},
         "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}
    ).encode()  # fmt: skip
    listing = [
        {"Config": "config.json", "RepoTags": [f"bench-{name}:latest"], "Layers": ["layer.tar"]}
    ]
    with tarfile.open(unfinished, "w") as tar:
        tar.add(layer, "layer.tar")
        for path, data in (
            ("config.json", config),
            ("manifest.json", json.dumps(listing).encode()),
        ):
            tar.addfile(_info(path, len(data)), io.BytesIO(data))
    layer.unlink()
    shutil.move(unfinished, target)
    return target


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def _many_files(tar: tarfile.TarFile) -> None:
    noise = random.Random(1)
    for number in range(MANY_FILES):
        size = noise.randrange(8192)
        name = f"srv/{number % 100}/{number}"
        tar.addfile(_info(name, size), io.BytesIO(noise.randbytes(size)))


class _Noise(io.RawIOBase):
    """Endless bytes that are neither zeros nor worth compressing."""

    def __init__(self) -> None:
        self._block = random.Random(2).randbytes(1 << 20)

    def read(self, size: int = -1, /) -> bytes:
        return self._block[:size] if size < len(self._block) else self._block


def _large_file(tar: tarfile.TarFile) -> None:
    tar.addfile(_info("large", LARGE_FILE_BYTES), _Noise())
