"""Raw requests and stories of objects, for the conformance cases."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.daemon import Daemon


@dataclass(frozen=True)
class Answer:
    """Status, headers and body of one answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The text of an error."""
        text = self.data["message"]
        assert isinstance(text, str)
        return text

    @property
    def lines(self) -> list[Any]:
        """The body as JSON objects, one a line."""
        return [json.loads(line) for line in self.body.splitlines() if line.strip()]


def ask(
    daemon: Daemon,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    /,
    **query: Any,
) -> Answer:
    """One request; query values that are no strings are sent as JSON, a body too."""
    given = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in query.items()
    }
    target = f"{path}?{urlencode(given)}" if given else path
    connection = http.client.HTTPConnection("engine", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(30)
    sent = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    try:
        connection.sock.connect(daemon.socket)
        connection.request(method, target, body, sent)
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


@contextmanager
def container(
    daemon: Daemon, *command: str, start: bool = True, name: str = "", **config: Any
) -> Iterator[str]:
    """A container of busybox for as long as the context lasts; its id."""
    query = {"name": name} if name else {}
    body = {"Image": "busybox", "Cmd": list(command) or ["sleep", "60"], **config}
    created = ask(daemon, "POST", "/containers/create", body, **query)
    assert created.status == 201, created.body
    container_id: str = created.data["Id"]
    try:
        if start:
            started = ask(daemon, "POST", f"/containers/{container_id}/start")
            assert started.status == 204, started.body
        yield container_id
    finally:
        ask(daemon, "DELETE", f"/containers/{container_id}", force="1", v="1")


def wait(daemon: Daemon, container_id: str) -> int:
    """Wait for a container; its exit code."""
    code: int = ask(daemon, "POST", f"/containers/{container_id}/wait").data["StatusCode"]
    return code


def demultiplex(data: bytes) -> list[tuple[int, bytes]]:
    """The frames of a multiplexed stream: kind and content."""
    frames = []
    while data:
        size = int.from_bytes(data[4:8], "big")
        frames.append((data[0], data[8 : 8 + size]))
        data = data[8 + size :]
    return frames
