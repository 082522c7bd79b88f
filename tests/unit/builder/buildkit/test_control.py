from __future__ import annotations

import json

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from wherry.builder.backend import CommandFailed
from wherry.builder.builder import CacheRecord
from wherry.builder.buildkit.control import record_filter
from wherry.builder.buildkit.errors import Location, grpc_error
from wherry.builder.buildkit.exporters import Export, check_exports
from wherry.errors import NotImplementedHere, Unavailable

LAYER = CacheRecord("abc", "regular", "RUN x", False, False, 10, 1.0, 2.0, 3)
CACHE = CacheRecord("def", "exec.cachemount", "cache mount y", True, False, 20, 1.0, 2.0, 0)


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ([], "layer cache"),
        (["id==abc"], "layer"),
        (["id~=^d"], "cache"),
        (["id!=abc"], "cache"),
        (["type==regular", "type==exec.cachemount"], "layer cache"),
        (["type==regular,inuse"], ""),
        (["inuse"], "cache"),
        (["mutable"], "cache"),
        (["immutable"], "layer"),
        (["shared"], ""),
        (["private"], "layer cache"),
        (['description=="RUN x"'], "layer"),
    ],
)
def test_filters(filters: list[str], kept: str) -> None:
    wanted = record_filter(filters)
    found = [name for name, record in (("layer", LAYER), ("cache", CACHE)) if wanted(record)]
    assert found == kept.split()


@pytest.mark.parametrize("text", ["==x", "id=abc", "a b", "id~=("])
def test_filters_that_cannot_be_read(text: str) -> None:
    with pytest.raises(GRPCError) as refused:
        record_filter([text])
    assert refused.value.status is Status.INVALID_ARGUMENT


def test_errors_bring_the_lines_they_are_of() -> None:
    location = Location("Dockerfile", b"FROM x\nRUN false\n", 2, 2)
    error = grpc_error(CommandFailed("/bin/sh -c false", 1), location, "sha256:v")
    assert error.status is Status.UNKNOWN
    assert error.message is not None
    assert error.message.endswith("did not complete successfully: exit code: 1")
    vertex, source = error.details
    assert vertex.type_url == "github.com/moby/buildkit/errdefs.Vertex+json"
    assert json.loads(vertex.value) == {"digest": "sha256:v"}
    assert source.type_url == "github.com/moby/buildkit/errdefs.Source+json"
    shown = json.loads(source.value)
    assert shown["info"] == {"filename": "Dockerfile", "data": "RlJPTSB4ClJVTiBmYWxzZQo="}
    assert shown["ranges"] == [{"start": {"line": 2}, "end": {"line": 2}}]


def test_only_what_is_not_offered_has_a_status_of_its_own() -> None:
    assert grpc_error(NotImplementedHere("x")).status is Status.UNIMPLEMENTED
    assert grpc_error(Unavailable("x")).status is Status.UNKNOWN
    internal = grpc_error(ZeroDivisionError("secret"))
    assert "secret" not in str(internal.message)


def test_names_are_a_line_of_csv() -> None:
    assert Export(0, "moby", {"name": "a:1,b/c"}).names == ("a:1", "b/c")
    assert Export(0, "moby", {}).names == ()


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [("never", {}), ("image", {"push-by-digest": "true"}), ("oci", {"tar": "false"})],
)
def test_outputs_that_are_refused(kind: str, attributes: dict[str, str]) -> None:
    with pytest.raises(NotImplementedHere):
        check_exports([Export(0, kind, attributes)])
