"""Load on the hub and on Debian's docker-registry, side by side, in one run.

    python bench/hub_load.py [--pulls 200] [--pushes 50] [--megabytes 20] [--workers 2]

Each server gets the same images. Pulls fetch manifest and all blobs and check nothing but
sizes; pushes upload fresh layers and a manifest. The clients are separate processes that do as
little as they can, so the figures are about the servers. Prints one line a server and phase:
requests, seconds, MB/s, errors, processor seconds, and the server's memory after it; then the ratio
of the hub's processor seconds to docker-registry's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import aiohttp

_HEADING = "server           phase  clients errors       s     MB/s  cpu s  PSS MB"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


_SCRAP = bytearray(4 * 1024 * 1024)  # named by recv, never written: MSG_TRUNC drops the bytes


@dataclass
class Server:
    """One server under load."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def memory(self) -> float:
        """Memory of the process and its children (PSS: shared pages count once), in MB."""
        family = [self.process.pid]
        with contextlib.suppress(FileNotFoundError):
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            family += [int(pid) for pid in children.read_text().split()]
        maps = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in family]
        return sum(int(each.split("\nPss:")[1].split()[0]) for each in maps) / 1e3


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serve(name: str, folder: Path, workers: int) -> Iterator[Server]:
    port = free_port()
    if name == "hub":
        program = "import sys; from wherry.hub.main import main; sys.exit(main(sys.argv[1:]))"
        command = [
            sys.executable, "-c", program, "--listen", f"127.0.0.1:{port}", "--data",
            str(folder / "hub"), "--open", "--workers", str(workers),
        ]  # fmt: skip
    else:
        config = folder / "registry.yml"
        config.write_text(
            "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
            f"http: {{addr: '127.0.0.1:{port}'}}\n"
        )
        command = ["docker-registry", "serve", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert time.monotonic() < deadline, f"{name} does not start"
        time.sleep(0.1)
    time.sleep(1)
    try:
        yield Server(name, port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


async def push(session: aiohttp.ClientSession, base: str, name: str, layers: list[bytes]) -> int:
    """Pushes as docker does: HEAD, POST, PATCH, PUT for each blob, then the manifest."""
    config = json.dumps({"os": "linux", "architecture": "amd64", "of": name}).encode()
    sent = 0
    for content in (config, *layers):
        digest = digest_of(content)
        async with session.head(f"{base}/v2/{name}/blobs/{digest}") as answer:
            if answer.status == 200:
                continue
        async with session.post(f"{base}/v2/{name}/blobs/uploads/") as answer:
            assert answer.status == 202, answer.status
            location = str(answer.headers["Location"])
        target = location if location.startswith("http") else base + location
        async with session.patch(target, data=content) as answer:
            assert answer.status == 202, await answer.text()
            location = str(answer.headers["Location"])
        target = location if location.startswith("http") else base + location
        joint = "&" if "?" in target else "?"
        async with session.put(f"{target}{joint}digest={digest}") as answer:
            assert answer.status == 201, await answer.text()
        sent += len(content)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [
            _descriptor(layer, "application/vnd.oci.image.layer.v1.tar+gzip") for layer in layers
        ],
    }
    async with session.put(
        f"{base}/v2/{name}/manifests/latest",
        data=json.dumps(manifest),
        headers={"Content-Type": MANIFEST},
    ) as answer:
        assert answer.status == 201, await answer.text()
    return sent


def _descriptor(content: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def pull(port: int, name: str) -> int:
    """Pulls over one connection, throwing the bytes away inside the kernel."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        _, body = _get(connection, f"/v2/{name}/manifests/latest", keep=True)
        manifest = json.loads(body)
        size = 0
        for entry in (manifest["config"], *manifest["layers"]):
            got, _ = _get(connection, f"/v2/{name}/blobs/{entry['digest']}", keep=False)
            assert got == entry["size"], (got, entry["size"])
            size += got
        return size


def _get(connection: socket.socket, path: str, *, keep: bool) -> tuple[int, bytes]:
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {MANIFEST}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        chunk = connection.recv(65536)
        assert chunk, "connection closed"
        head += chunk
    header, _, body = head.partition(b"\r\n\r\n")
    assert header.split(b" ", 2)[1] == b"200", header[:100]
    lines = header.lower().split(b"\r\n")
    length = int(next(line for line in lines if line.startswith(b"content-length"))[15:])
    got = len(body)
    while got < length:
        if keep:
            chunk = connection.recv(length - got)
            body += chunk
            count = len(chunk)
        else:
            count = connection.recv_into(_SCRAP, min(length - got, len(_SCRAP)), socket.MSG_TRUNC)
        assert count, "connection closed"
        got += count
    return got, body


async def run_phase(server: Server, phase: str, count: int, megabytes: int) -> tuple[int, int]:
    """Runs ``count`` clients at once; bytes moved, and errors."""
    base = f"http://127.0.0.1:{server.port}"
    if phase == "pull":
        loop = asyncio.get_running_loop()
        pool = ThreadPoolExecutor(count)
        results = await asyncio.gather(
            *(
                loop.run_in_executor(pool, pull, server.port, f"bench/image{n % 4}")
                for n in range(count)
            ),
            return_exceptions=True,
        )
        return _sum_up(results)
    layer = os.urandom(megabytes * 500_000)
    timeout = aiohttp.ClientTimeout(total=300)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        timeout=timeout, connector=connector, read_bufsize=2**20
    ) as session:

        async def one(number: int) -> int:
            mine = [os.urandom(16) + layer, layer[: len(layer) // 2] + os.urandom(16)]
            return await push(session, base, f"bench/push{number}", mine)

        results = await asyncio.gather(*(one(n) for n in range(count)), return_exceptions=True)
    return _sum_up(results)


def _sum_up(results: Sequence[int | BaseException]) -> tuple[int, int]:
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in errors[:3]:
        print(f"  {type(error).__name__}: {error}", file=sys.stderr)
    return sum(result for result in results if isinstance(result, int)), len(errors)


async def prepare(server: Server, megabytes: int) -> None:
    base = f"http://127.0.0.1:{server.port}"
    async with aiohttp.ClientSession() as session:
        for number in range(4):
            layers = [os.urandom(megabytes * 500_000) for _ in range(2)]
            await push(session, base, f"bench/image{number}", layers)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pulls", type=int, default=200)
    parser.add_argument("--pushes", type=int, default=50)
    parser.add_argument("--megabytes", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hub-bench-"))
    print(_HEADING)
    try:
        with (
            serve("hub", folder, options.workers) as hub,
            serve("docker-registry", folder, 1) as registry,
        ):
            for server in (hub, registry):
                asyncio.run(prepare(server, options.megabytes))
            for _ in range(options.rounds):
                for phase, count in (("pull", options.pulls), ("push", options.pushes)):
                    cpu = [
                        _measure(server, phase, count, options.megabytes)
                        for server in (hub, registry)
                    ]
                    print(f"{'ratio':16} {phase:6} {'':33} {cpu[0] / cpu[1]:6.2f}", flush=True)
    finally:
        shutil.rmtree(folder)


def _measure(server: Server, phase: str, count: int, megabytes: int) -> float:
    """Runs a phase, prints its figures, and returns the server's processor seconds."""
    before = _cpu(server)
    started = time.perf_counter()
    moved, errors = asyncio.run(run_phase(server, phase, count, megabytes))
    seconds = time.perf_counter() - started
    cpu = _cpu(server) - before
    speed = moved / 1e6 / seconds
    print(
        f"{server.name:16} {phase:6} {count:7} {errors:6} {seconds:7.2f} {speed:8.0f}"
        f" {cpu:6.2f} {server.memory():7.0f}",
        flush=True,
    )
    return cpu


def _cpu(server: Server) -> float:
    """Processor seconds of the server so far."""
    family = [server.process.pid]
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    family += [int(pid) for pid in children.read_text().split()]
    ticks = 0
    for pid in family:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
