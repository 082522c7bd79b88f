"""A daemon that only listens: it writes down what a client sends and answers with set pieces."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

CONTAINER = "c0ffee" + "0" * 58


@dataclass
class Recorded:
    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Recorder:
    socket_path: str
    answers: Mapping[tuple[str, str], tuple[int, object]]
    requests: list[Recorded] = field(default_factory=list)

    def of(self, path: str) -> list[Recorded]:
        return [request for request in self.requests if request.path == path]

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        # A client that has ended need not be answered.
        with suppress(ConnectionError), connection, connection.makefile("rb") as reader:
            while line := reader.readline():
                method, target, _ = line.decode().split(" ", 2)
                headers: dict[str, str] = {}
                while header := reader.readline().strip().decode():
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                if headers.get("transfer-encoding") == "chunked":
                    body = b""
                    while size := int(reader.readline(), 16):
                        body += reader.read(size)
                        reader.readline()
                    reader.readline()
                else:
                    body = reader.read(int(headers.get("content-length", "0")))
                parts = urlsplit(target)
                path = parts.path
                if path.startswith("/v1."):
                    path = "/" + path.split("/", 2)[2]
                query = sorted(parse_qsl(parts.query, keep_blank_values=True))
                self.requests.append(Recorded(method, path, query, headers, body))
                connection.sendall(self._answer(method, path))

    def _answer(self, method: str, path: str) -> bytes:
        status, value = self.answers.get((method, path), (200, {}))
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        if status == 204 or method == "HEAD":
            body = b""
        head = (
            f"HTTP/1.1 {status} X\r\nApi-Version: 1.51\r\nOstype: linux\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@contextmanager
def recording(
    directory: Path, answers: Mapping[tuple[str, str], tuple[int, object]] | None = None
) -> Iterator[Recorder]:
    path = directory / "recorder.sock"
    path.unlink(missing_ok=True)
    standard: dict[tuple[str, str], tuple[int, object]] = {
        ("POST", "/containers/create"): (201, {"Id": CONTAINER, "Warnings": []}),
        **(answers or {}),
    }
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        recorder = Recorder(str(path), standard)
        thread = threading.Thread(target=recorder.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield recorder
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
