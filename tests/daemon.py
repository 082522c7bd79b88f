"""A daemon of one's own: the real program on its own folders and socket, for any tier."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from wherry.api import loopwatch
from wherry.errors import KernelError
from wherry.fs.removing import remove_path

LOOP_LIMIT = 100
"""Milliseconds of processor time for which one callback may hold the daemon's event loop: some
times what is meant (20), for a machine where others use its caches, too."""
START_SECONDS = 120  # for a machine under load, and one in software emulation
CLIENT_ENVIRONMENT = {"DOCKER_BUILDKIT": "0", "DOCKER_CLI_HINTS": "false"}


class Daemon:
    """Starts, stops, kills and restarts one ``wherry daemon``; a context manager.

    The folder survives ``stop`` and ``kill``, so that ``start`` continues with the same data;
    ``close`` removes the containers, ends the daemon and takes the folder away. It fails when
    anything held the daemon's event loop for long: nobody else was answered meanwhile.
    """

    def __init__(self, *flags: str, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="wherry-daemon-"))
        self.socket = str(self.folder / "engine.sock")
        self.data_root = self.folder / "data"
        self.exec_root = self.folder / "exec"
        self.log = self.folder / "log"
        self.flags = flags
        self.environment = {loopwatch.VARIABLE: str(LOOP_LIMIT)}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def command(self) -> list[str]:
        """The command line of the daemon."""
        return [
            *(sys.executable, "-m", "wherry", "daemon", "-H", f"unix://{self.socket}"),
            *("--data-root", str(self.data_root), "--exec-root", str(self.exec_root)),
            *("--pidfile", str(self.folder / "pid"), *self.flags),
        ]

    def start(self) -> None:
        """Start and wait until it answers; raises RuntimeError with its log when it does not."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.environment,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if self.request("GET", "/_ping")[0] == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the daemon did not start:\n{self.log_text()[-4000:]}")
            time.sleep(0.02)

    def stop(self) -> int:
        """End it with SIGTERM; containers run on. Returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(START_SECONDS)

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Remove all containers, end the daemon, remove the folder."""
        try:
            if self.process is not None and self.process.poll() is not None:
                self.start()
            for container in self.json("GET", "/containers/json?all=1"):
                self.request("DELETE", f"/containers/{container['Id']}?force=1&v=1")
        finally:
            if self.process is not None and self.process.poll() is None:
                self.stop()
            held = [line for line in self.log_text().splitlines() if loopwatch.HELD in line]
            with contextlib.suppress(KernelError):
                remove_path(str(self.folder))  # containers may have made it deeper than any path
        assert not held, "\n".join(held)

    def log_text(self) -> str:
        """What the daemon printed."""
        return self.log.read_text(errors="replace")

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """One raw request; a body that is not bytes is sent as JSON. Returns status and body."""
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        try:
            connection.sock.connect(self.socket)
            sent = dict(headers or {})
            if body is not None and not isinstance(body, bytes):
                body = json.dumps(body).encode()
                sent.setdefault("Content-Type", "application/json")
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """One request that must succeed; its JSON answer (None when there is none)."""
        status, answer = self.request(method, path, body)
        assert status < 400, f"{method} {path}: {status} {answer.decode(errors='replace')}"
        return json.loads(answer) if answer else None

    def docker(
        self,
        *arguments: str,
        input: bytes | None = None,
        check: bool = True,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run the official client; with ``check`` it must exit 0."""
        return self._client([docker_client()], arguments, input, check, timeout)

    def wherry(
        self,
        *arguments: str,
        input: bytes | None = None,
        check: bool = True,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run Wherry's own client; with ``check`` it must exit 0."""
        return self._client([sys.executable, "-m", "wherry"], arguments, input, check, timeout)

    def _client(
        self,
        program: list[str],
        arguments: tuple[str, ...],
        input: bytes | None,
        check: bool,
        timeout: float,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*program, *arguments],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            timeout=timeout,
            env=self.client_environment(),
        )
        text = subprocess.CompletedProcess(
            done.args,
            done.returncode,
            done.stdout.decode(errors="replace"),
            done.stderr.decode(errors="replace"),
        )
        if check:
            assert text.returncode == 0, f"{arguments}: exit {text.returncode}\n{text.stderr}"
        return text

    def client_environment(self) -> dict[str, str]:
        """The environment in which clients find this daemon and no configuration of the user."""
        home = {"DOCKER_CONFIG": str(self.folder / "config"), "HOME": str(self.folder)}
        host = {"DOCKER_HOST": f"unix://{self.socket}"}
        return dict(os.environ) | CLIENT_ENVIRONMENT | home | host


def docker_client() -> str:
    """The official client; the tests that need it fail clearly where it is missing."""
    found = shutil.which("docker")
    assert found, "the official docker client is missing: contrib/system-packages test"
    return found
