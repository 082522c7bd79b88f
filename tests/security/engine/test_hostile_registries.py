"""Registries that answer what no registry should: a pull fails, the engine goes on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.daemon import Daemon

DEEP = b"[" * 50_000
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Registry(ThreadingHTTPServer):
    """The name of the repository says what its manifest's answer is like."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sent = 0
        self.host = f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """A client that has heard enough is none."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    server: Registry

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        case = self.path.strip("/").split("/")
        if self.path == "/v2/":
            self.answer(200, b"{}")
        elif case[0] == "token":
            self.token(case[1].partition("?")[0])
        elif case[1] == "endless-tags":
            number = int(self.path.partition("page=")[2] or 0) + 1
            following = f'</v2/endless-tags/x/tags/list?page={number}>; rel="next"'
            self.answer(200, b'{"tags":["a"]}', Link=following)
        elif case[1] == "odd-tags":
            self.answer(200, b'{"tags":5}')
        elif case[1] in LOCATIONS:
            self.answer(307, b"", Location=LOCATIONS[case[1]])
        elif case[1] in REFUSALS:
            self.answer(400, REFUSALS[case[1]])
        elif self.headers.get("Authorization"):
            self.answer(404, b"{}")
        else:
            realm = REALMS.get(case[1], f"http://{self.server.host}/token/{case[1]}")
            self.answer(401, b"{}", WWW_Authenticate=f'Bearer realm="{realm}",service="x"')

    def token(self, case: str) -> None:
        if case != "endless":
            self.answer(200, TOKENS[case])
            return
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        try:
            while self.server.sent < 64 << 20:
                self.server.sent += self.wfile.write(b" " * 65536)
        except OSError:  # it has had enough
            pass

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


LOCATIONS = {
    "no-address": "http://[::1/", "no-port": "http://127.0.0.1:99999999/", "a-file": "file:///etc/passwd",
    "a-socket": "unix:///run/docker.sock",
}  # fmt: skip
REFUSALS = {"deep-error": DEEP, "list-error": b"[]", "odd-error": b'{"errors":[[[]]]}'}
REALMS = {"bad-realm": "http://[::1/token", "file-realm": "file:///etc/passwd"}
TOKENS = {
    "deep": DEEP, "list": b"[]", "none": b"{}", "no-text": b'{"token":{"a":1}}',
    "lasting": json.dumps({"token": "t", "expires_in": 10**400}).encode(),
    "never": b'{"token":"t","expires_in":NaN}',
}  # fmt: skip


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with Registry() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("case", [*LOCATIONS, *REFUSALS, *REALMS, *TOKENS, "endless"])
def test_a_registry_breaks_only_its_own_pull(engine: Daemon, registry: Registry, case: str) -> None:
    status, body = engine.request(
        "POST", f"/images/create?fromImage={registry.host}/{case}/x&tag=latest"
    )
    assert status != 200 or b"errorDetail" in body, body
    assert b"internal error" not in body
    assert registry.sent < 64 << 20


@pytest.mark.parametrize("case", ["endless-tags", "odd-tags"])
def test_a_list_of_tags_ends(engine: Daemon, registry: Registry, case: str) -> None:
    status, body = engine.request("POST", f"/images/create?fromImage={registry.host}/{case}/x")
    assert status != 200 or b"errorDetail" in body, body
    assert b"internal error" not in body
    assert b"no end of them" in body or b"no list of tags" in body
