"""Whatever is sent to the API, it answers, shows no traceback and lives on."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conformance.api.http import Answer, ask
from tests.daemon import Daemon

from wherry.api.routes import ALL

# What may run for long by design; its parameters are fuzzed in the conformance tests.
STREAMS = {"/events", "/containers/{name}/attach", "/containers/{name}/attach/ws"}
OPERATIONS = sorted({(route.method, route.path) for route in ALL if route.path not in STREAMS})
PARAMETERS = [
    "all", "limit", "size", "filters", "name", "platform", "ps_args", "stdout", "stderr", "since",
    "until", "timestamps", "tail", "one-shot", "h", "w", "t", "signal", "v", "force", "link",
    "path", "noOverwriteDirNonDir", "copyUIDGID", "condition", "fromSrc", "repo", "tag", "message",
    "changes", "names", "quiet", "noprune", "term", "container", "comment", "author", "pause",
    "verbose", "scope", "type", "outputs", "buildargs", "labels", "cachefrom", "ulimits",
    "extrahosts", "networkmode", "version", "dockerfile", "target", "shmsize", "condition",
]  # fmt: skip
TEXT = st.text(max_size=40) | st.sampled_from(
    ["", "0", "1", "-1", "99999999999999999999", "true", "..", "../../etc", "/", "nosuch", "fuzz",
     "busybox", "%00", "\x00", "{}", "[]", '{"label":{"a":true}}', '{"a":"b"}', "é" * 200]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    "Image", "Cmd", "Entrypoint", "Env", "Labels", "HostConfig", "NetworkingConfig", "Healthcheck",
    "ExposedPorts", "Volumes", "User", "WorkingDir", "StopSignal", "StopTimeout", "Tty", "Name",
    "Driver", "IPAM", "Options", "Container", "EndpointConfig", "Memory", "NanoCpus", "Binds",
    "Mounts", "PortBindings", "RestartPolicy", "LogConfig", "Ulimits", "Devices", "NetworkMode",
    "Detach", "Privileged", "username", "password", "serveraddress", "DriverOpts", "ConfigFrom",
    "Internal", "EnableIPv6", "IPAMConfig", "Aliases", "Links", "Force", "ConsoleSize",
    "ClusterVolumeSpec", "EndpointsConfig", "MacAddress", "GwPriority", "Tmpfs", "Sysctls",
]  # fmt: skip
BODIES = (
    st.none()
    | st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6).map(
        lambda value: json.dumps(value).encode()
    )
    | st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6).map(
        lambda value: json.dumps({"Image": "busybox", "HostConfig": value}).encode()
    )
)


@pytest.fixture(scope="module", autouse=True)
def fuzz(engine: Daemon) -> None:
    """A container for those that are found."""
    engine.docker("create", "--name", "fuzz", "busybox", "true")


def check(answer: Answer) -> None:
    assert b"Traceback" not in answer.body
    assert b'File "' not in answer.body
    if answer.status >= 400 and answer.body:
        assert answer.message
    assert answer.status != 500 or "internal error" not in answer.message, answer.body


@settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    operation=st.sampled_from(OPERATIONS),
    name=TEXT,
    version=st.sampled_from(["", "/v1.51", "/v1.24", "/v1.12", "/v1.x", "/v99999999999999.1"]),
    query=st.dictionaries(st.sampled_from(PARAMETERS), TEXT, max_size=5),
    body=BODIES,
    kind=st.sampled_from(["application/json", "application/x-tar", "text/plain", ""]),
)
def test_any_request_is_answered(
    engine: Daemon,
    operation: tuple[str, str],
    name: str,
    version: str,
    query: dict[str, str],
    body: bytes | None,
    kind: str,
) -> None:
    method, template = operation
    path = version + template.replace("{name}", quote(name, safe=""))
    target = path + "?" + urlencode(query, errors="surrogatepass") if query else path
    headers: dict[str, Any] = {"Content-Type": kind} if kind else {}
    check(ask(engine, method, target, body if method != "GET" else None, headers))


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.binary(max_size=400) | TEXT.map(lambda text: f"GET /{text} HTTP/1.1\r\n\r\n".encode())
)
def test_any_bytes_are_survived(engine: Daemon, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(engine.socket)
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert b"Traceback" not in answer


def test_no_expression_in_a_filter_keeps_the_engine_busy(engine: Daemon) -> None:
    """Class: regular expressions of exponential cost, CWE-1333."""
    name = "a" * 40 + "_"
    engine.docker("create", "--name", name, "busybox", "true")
    for expression in ("^/?(a+)+$", "^/?(a|aa)+$", "(.*)*x", "(" * 5_000):
        filters = urlencode({"filters": json.dumps({"name": [expression]})})
        for path in ("/containers/json", "/volumes", "/networks"):
            assert ask(engine, "GET", f"{path}?all=1&{filters}").status == 200
    found = urlencode({"filters": json.dumps({"name": ["^/?(a+)+_$"]})})
    assert len(ask(engine, "GET", f"/containers/json?all=1&{found}").data) == 1


def test_the_daemon_is_well_after_all_that(engine: Daemon) -> None:
    assert ask(engine, "GET", "/_ping").body == b"OK"
    assert engine.docker("run", "--rm", "busybox", "echo", "alive").stdout == "alive\n"
    assert engine.process is not None
    assert engine.process.poll() is None
