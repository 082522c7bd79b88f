"""The query of ``POST /build?version=2`` as attributes of the front end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from multidict import MultiDict

from wherry.api.call import Call
from wherry.api.routes.buildkit import exporter, frontend_attributes
from wherry.errors import InvalidParameter


def call(query: dict[str, str] | list[tuple[str, str]]) -> Call:
    request: Any = SimpleNamespace(query=MultiDict(query))
    return Call(request, None, (1, 41), {}, {})


@pytest.mark.parametrize(
    ("query", "attributes"),
    [
        ({}, {}),
        ({"target": "t", "dockerfile": "D", "platform": "linux/arm64", "cgroupparent": "c"},
         {"target": "t", "filename": "D", "platform": "linux/arm64", "cgroup-parent": "c"}),
        ({"buildargs": '{"A":"1","B":null}', "labels": '{"l":"v"}'},
         {"build-arg:A": "1", "label:l": "v"}),
        ({"nocache": "1", "pull": "1"}, {"no-cache": "", "image-resolve-mode": "pull"}),
        ({"shmsize": "65536"}, {"shm-size": "65536"}),
        ({"networkmode": "host"}, {"force-network-mode": "host"}),
        ({"networkmode": "default"}, {}),
        ({"extrahosts": "a:1.2.3.4,b:::1"}, {"add-hosts": "a=1.2.3.4,b=::1"}),
        ({"ulimits": '[{"Name":"nofile","Soft":1,"Hard":2}]'}, {"ulimit": "nofile=1:2"}),
        ({"cachefrom": '["a","b"]'}, {"cache-from": "a,b"}),
        ({"remote": "client-session"}, {}),
        ({"remote": "upload-request"}, {}),
        ({"remote": "https://h/r.git"}, {"context": "https://h/r.git"}),
    ],
)  # fmt: skip
def test_attributes(query: dict[str, str], attributes: dict[str, str]) -> None:
    assert frontend_attributes(call(query)) == attributes


@pytest.mark.parametrize(
    ("query", "kind", "attributes"),
    [
        ([], "moby", {}),
        ([("t", "a"), ("t", "b:2"), ("t", "a")], "moby",
         {"name": "docker.io/library/a:latest,docker.io/library/b:2"}),
        ([("outputs", '[{"Type":"local","Attrs":{}}]'), ("t", "a")], "local", {}),
        ([("outputs", '[{"Type":"cacheonly"}]')], "", {}),
        ([("outputs", "null")], "moby", {}),
    ],
)  # fmt: skip
def test_exporters(query: list[tuple[str, str]], kind: str, attributes: dict[str, str]) -> None:
    assert exporter(call(query)) == (kind, attributes)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"networkmode": "bridge"}, 'network mode "bridge" not supported by buildkit'),
        ({"buildargs": "[]"}, "error reading buildargs: not a JSON object"),
        ({"ulimits": "{"}, "error reading ulimits"),
        ({"outputs": '[{"Type":"tar"},{"Type":"oci"}]'}, "multiple outputs not supported"),
    ],
)
def test_refusals(query: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        frontend_attributes(call(query))
        exporter(call(query))
