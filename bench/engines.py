"""The two engines under measurement, each with folders, socket and processes of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

START_SECONDS = 30
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class EngineUnderTest:
    """A running engine and how the official client reaches it.

    It runs in a network namespace of its own: bridges and firewall rules go with it.
    """

    name: str
    command: list[str]
    folder: Path
    version: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> str:
        """Where it listens."""
        return f"{self.folder}/engine.sock"

    @property
    def daemon(self) -> psutil.Process:
        """Its main process."""
        assert self.process is not None
        return psutil.Process(self.process.pid)

    def start(self) -> None:
        """Start the daemon, for the first time or again; it does not answer yet."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["nsenter", f"--net={self.folder}/net", *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        """End the daemon; containers live on."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(START_SECONDS)

    def cpu(self) -> float:
        """Seconds of processor time that the daemon has taken."""
        fields = Path(f"/proc/{self.daemon.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def docker(
        self, *arguments: str, input: bytes | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the official client against this engine."""
        return subprocess.run(
            ["docker", "-H", f"unix://{self.socket}", *arguments],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            check=check,
            env=os.environ | {"DOCKER_BUILDKIT": "0", "DOCKER_CLI_HINTS": "false"},
        )

    def helpers(self) -> list[psutil.Process]:
        """All processes of the engine that run on the host, containers' own left out.

        Shims leave the daemon's process tree, so they are found by the socket folder's name.
        """
        folder = str(Path(self.socket).parent)
        found = {process.pid: process for process in _family(self.daemon)}
        for process in psutil.process_iter(["cmdline"]):
            if any(folder in word for word in process.info["cmdline"] or []):
                found.update((p.pid, p) for p in _family(process))
        own_namespace = os.stat("/proc/self/ns/pid").st_ino
        return [p for p in found.values() if _pid_namespace(p) == own_namespace]

    def rss(self) -> float:
        """Resident memory of daemon and permanent helpers, in MB."""
        return sum(process.memory_info().rss for process in self.helpers()) / 1e6

    def pss(self) -> float:
        """Proportional memory of all helpers, in MB: shared pages count once."""
        return sum(process.memory_full_info().pss for process in self.helpers()) / 1e6


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _pid_namespace(process: psutil.Process) -> int:
    try:
        return os.stat(f"/proc/{process.pid}/ns/pid").st_ino
    except OSError:
        return 0


@contextmanager
def wherry(folder: Path) -> Iterator[EngineUnderTest]:
    """Wherry's daemon from this checkout."""
    command = [
        *(sys.executable, "-m", "wherry", "daemon", "-H", f"unix://{folder}/engine.sock"),
        *("--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"),
        *("--pidfile", f"{folder}/pid"),
    ]
    with _running("Wherry", command, folder) as engine:
        yield engine


@contextmanager
def dockerd(folder: Path) -> Iterator[EngineUnderTest]:
    """Debian's dockerd with its own containerd."""
    command = [
        *("dockerd", "-H", f"unix://{folder}/engine.sock", "--data-root", f"{folder}/data"),
        *("--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"),
        "--live-restore",  # containers outlive the daemon, as Wherry's do
    ]
    with _running("dockerd", command, folder) as engine:
        yield engine


@contextmanager
def _running(name: str, command: list[str], folder: Path) -> Iterator[EngineUnderTest]:
    folder.mkdir()
    space = folder / "net"
    space.touch()
    subprocess.run(["unshare", f"--net={space}", "ip", "link", "set", "lo", "up"], check=True)
    engine = EngineUnderTest(name, command, folder)
    engine.start()
    try:
        engine.version = _version(engine)
        yield engine
    finally:
        remaining = engine.docker("ps", "-aq", check=False).stdout.decode().split()
        if remaining:
            engine.docker("rm", "-f", *remaining, check=False)
        engine.stop()
        _unmount_below(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _unmount_below(folder: Path) -> None:
    """The network namespace, and what dockerd leaves mounted with --live-restore."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed(points):
        if point.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", point], check=True)


def _version(engine: EngineUnderTest) -> str:
    """What an engine says of itself as soon as it answers."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        answer = engine.docker("version", "--format", "{{.Server.Version}}", check=False)
        if answer.returncode == 0:
            return answer.stdout.decode().strip()
        ended = engine.process is None or engine.process.poll() is not None
        if ended or time.monotonic() > deadline:
            said = (engine.folder / "log").read_text()[-3000:]
            raise RuntimeError(f"{engine.name} did not start:\n{said}")
        time.sleep(0.2)
