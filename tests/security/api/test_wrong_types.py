"""Every field of every JSON body, with a value of every wrong type: a 400 in Docker's words.

The fields come from the classes that decode the bodies, so that a new field is met here, too.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any
from urllib.parse import quote

import pytest
from tests.conformance.api.http import ask, container
from tests.daemon import Daemon

from wherry.engine.config.account import AuthConfig
from wherry.engine.config.container import ContainerConfig, HealthConfig
from wherry.engine.config.exec import ExecConfig, ExecStart
from wherry.engine.config.host import HostConfig, Resources
from wherry.engine.config.network import (
    IPAM,
    ConfigReference,
    EndpointIPAMConfig,
    EndpointSettings,
    IPAMConfig,
    NetworkConnect,
    NetworkCreate,
    NetworkDisconnect,
    NetworkingConfig,
)
from wherry.engine.config.volume import VolumeCreate

pytestmark = pytest.mark.root

VALUES: tuple[Any, ...] = (
    True, 1, 1.5, 10**30, "x", "", [], [1], [None], [[]], [{}], ["x"], {}, {"": None}, {"a": 1},
    {"a": "x"}, {"a": []}, {"a": {}}, {"a": {"b": None}},
)  # fmt: skip
NAME = {"Name": "wrong-types"}
SHAPES: dict[str, tuple[type[Any], str, Any]] = {
    "network": (NetworkCreate, "/networks/create", lambda one: {**NAME, **one}),
    "ipam": (IPAM, "/networks/create", lambda one: {**NAME, "IPAM": one}),
    "subnet": (IPAMConfig, "/networks/create", lambda one: {**NAME, "IPAM": {"Config": [one]}}),
    "source": (ConfigReference, "/networks/create", lambda one: {**NAME, "ConfigFrom": one}),
    "connect": (NetworkConnect, "/networks/bridge/connect", lambda one: one),
    "disconnect": (NetworkDisconnect, "/networks/bridge/disconnect", lambda one: one),
    "endpoint": (
        EndpointSettings,
        "/networks/bridge/connect",
        lambda one: {"Container": "typed", "EndpointConfig": one},
    ),
    "address": (
        EndpointIPAMConfig,
        "/networks/bridge/connect",
        lambda one: {"Container": "typed", "EndpointConfig": {"IPAMConfig": one}},
    ),
    "volume": (VolumeCreate, "/volumes/create", lambda one: {**NAME, **one}),
    "container": (ContainerConfig, "/containers/create", lambda one: {"Image": "none", **one}),
    "health": (
        HealthConfig,
        "/containers/create",
        lambda one: {"Image": "none", "Healthcheck": one},
    ),
    "host": (HostConfig, "/containers/create", lambda one: {"Image": "none", "HostConfig": one}),
    "networks": (
        NetworkingConfig,
        "/containers/create",
        lambda one: {"Image": "none", "NetworkingConfig": one},
    ),
    "endpoints": (
        EndpointSettings,
        "/containers/create",
        lambda one: {"Image": "none", "NetworkingConfig": {"EndpointsConfig": {"n": one}}},
    ),
    "exec": (ExecConfig, "/containers/typed/exec", lambda one: {"Cmd": ["true"], **one}),
    "exec start": (ExecStart, "/exec/none/start", lambda one: one),
    "update": (Resources, "/containers/idle/update", lambda one: one),
    "commit": (ContainerConfig, "/commit?container=typed", lambda one: one),
    "account": (AuthConfig, "/auth", lambda one: {"serveraddress": "127.0.0.1:1", **one}),
}


@pytest.fixture(scope="module", autouse=True)
def typed(engine: Daemon) -> Iterator[None]:
    """A container that runs, ``typed``, on no network, and one that does not, ``idle``."""
    with (
        container(engine, name="typed", HostConfig={"NetworkMode": "none"}),
        container(engine, name="idle", start=False),
    ):
        yield
    for image in engine.json("GET", "/images/json"):
        if not any(tag.startswith("busybox") for tag in image["RepoTags"]):
            ask(engine, "DELETE", f"/images/{image['Id']}", force="1")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_field_of_a_wrong_type_is_refused_in_dockers_words(engine: Daemon, shape: str) -> None:
    cls, path, body = SHAPES[shape]
    for field in fields(cls):
        name = field.metadata["name"]
        refused = 0
        for value in VALUES:
            answer = ask(engine, "POST", path, body({name: value}))
            what = (name, value, answer.body)
            assert answer.status != 500 or name == "serveraddress", what
            assert b"internal error" not in answer.body, what
            if answer.status == 400:
                refused += "cannot unmarshal" in answer.message
            elif answer.status == 201 and path != "/containers/typed/exec":
                kind, _, _ = path[1:].partition("/")
                made = answer.data.get("Id") or answer.data.get("Name", "")
                if kind in ("networks", "volumes"):
                    ask(engine, "DELETE", f"/{kind}/{made}")
        assert refused > 3, name
    assert "Traceback" not in engine.log_text()


HEADERS = ("X-Registry-Auth", "X-Registry-Config", "X-Build-Secrets", "X-Build-SSH")
QUERIES = (
    "buildargs", "labels", "cachefrom", "cacheto", "ulimits", "outputs", "contexts", "filters",
)  # fmt: skip


def test_json_in_queries_and_headers_is_refused_or_ignored_but_never_breaks(
    engine: Daemon,
) -> None:
    for value in (*VALUES, [{"Type": "tar", "Attrs": 1}], {"docker.io": 1}, {"username": []}):
        text = json.dumps(value)
        for query in QUERIES:
            for path in ("/build", "/build?version=2", "/images/json", "/networks", "/volumes"):
                where = f"{path}{'&' if '?' in path else '?'}{query}={quote(text, safe='')}"
                answer = ask(engine, "POST" if "build" in path else "GET", where)
                assert b"internal error" not in answer.body, (where, text)
        for header in HEADERS:
            sent = {header: base64.urlsafe_b64encode(text.encode()).decode()}
            for path in ("/images/127.0.0.1:1%2Fnone/push", "/build"):
                answer = ask(engine, "POST", path, None, sent)
                assert b"internal error" not in answer.body, (header, text)
    assert "Traceback" not in engine.log_text()
