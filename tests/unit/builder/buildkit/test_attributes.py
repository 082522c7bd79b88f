from __future__ import annotations

from typing import Any

import pytest

from wherry.builder.backend import Resources
from wherry.builder.buildkit.attributes import (
    Frontend,
    cache_targets,
    read_attributes,
    with_caches,
)
from wherry.builder.imagecache import CacheTarget
from wherry.errors import InvalidParameter, NotImplementedHere, WherryError
from wherry.images.platforms import Platform


def read(**attributes: str) -> Frontend:
    return read_attributes(
        {name.replace("__", ":").replace("_", "-"): value for name, value in attributes.items()},
        frozenset(),
    )


@pytest.mark.parametrize(
    ("attributes", "field", "value"),
    [
        ({"target": "x"}, "target", "x"),
        ({"build-arg:A": "1", "build-arg:B": ""}, "arguments", {"A": "1", "B": ""}),
        ({"label:a.b": "c"}, "labels", {"a.b": "c"}),
        ({}, "no_cache", False),
        ({"no-cache": ""}, "no_cache", True),
        ({"no-cache": "a,b"}, "no_cache", False),
        ({"no-cache": "a,b"}, "no_cache_stages", ("a", "b")),
        ({"platform": "linux/arm/v7"}, "platform", Platform("linux", "arm", "v7")),
        ({"image-resolve-mode": "pull"}, "pull", True),
        ({"image-resolve-mode": "local"}, "pull", False),
        ({"force-network-mode": "host"}, "network", "host"),
        ({"force-network-mode": "sandbox"}, "network", "default"),
        ({"cache-from": "a,b"}, "cache_from", ("a", "b")),
        ({"cache-from": "a,b"}, "cache_pulled", ("a", "b")),
        (
            {"cache-imports": '[{"Type":"registry","Attrs":{"ref":"r"}},{"Type":"gha"}]'},
            "cache_from",
            ("r",),
        ),
        ({"context:Base": "docker-image://x"}, "contexts", {"base": "docker-image://x"}),
        ({"context:base::linux/amd64": "https://h/r.git"}, "contexts", {"base": "https://h/r.git"}),
        ({"context:files": "local:dir"}, "contexts", {}),
        ({"build-arg:SOURCE_DATE_EPOCH": "7"}, "epoch", 7),
        ({"shm-size": "65536"}, "resources", Resources(shm_size=65536)),
        ({"cgroup-parent": "p"}, "resources", Resources(cgroup_parent="p")),
        ({"add-hosts": "a=1.2.3.4"}, "resources", Resources(extra_hosts=("a:1.2.3.4",))),
        (
            {"ulimit": "nofile=1:2,core=3"},
            "resources",
            Resources(
                ulimits=(
                    {"Name": "nofile", "Soft": 1, "Hard": 2},
                    {"Name": "core", "Soft": 3, "Hard": 3},
                )
            ),
        ),
        ({"vcs:source": "x", "frontend.caps": "y", "never-heard": "z"}, "target", ""),
    ],
)  # fmt: skip
def test_what_the_builder_is_asked(attributes: dict[str, str], field: str, value: Any) -> None:
    assert getattr(read_attributes(attributes, frozenset()).request, field) == value


@pytest.mark.parametrize(
    ("attributes", "field", "value"),
    [
        ({}, "filename", "Dockerfile"),
        ({"filename": "x/Dockerfile"}, "filename", "x/Dockerfile"),
        ({}, "context", ""),
        ({}, "dockerfile_key", "dockerfile"),
        ({"context": "https://h/r.git"}, "dockerfile_key", ""),
        ({"context": "https://h/r.git", "dockerfilekey": "d"}, "dockerfile_key", "d"),
        ({"contextkey": "c"}, "context_key", "c"),
        ({"context:Files": "local:dir"}, "local_contexts", {"files": "dir"}),
        ({"requestid": "frontend.lint"}, "subrequest", "frontend.lint"),
    ],
)
def test_where_files_come_from(attributes: dict[str, str], field: str, value: Any) -> None:
    assert getattr(read_attributes(attributes, frozenset()), field) == value


def test_caches_that_the_request_names() -> None:
    exports = cache_targets([("inline", {}), ("registry", {"ref": "t", "mode": "max"})])
    assert exports == (CacheTarget("t", push=True, everything=True),)
    imports = [("registry", {"ref": "b"}), ("s3", {})]
    frontend = read_attributes({"cache-from": "a"}, frozenset())
    request = with_caches(frontend, imports, exports).request
    assert request.cache_from == request.cache_pulled == ("a", "b")
    assert request.cache_to == exports
    with pytest.raises(InvalidParameter, match="unknown cache exporter: 'local'"):
        cache_targets([("local", {"dest": "/x"})])


def test_entitlements() -> None:
    assert not read().request.allow_insecure
    assert not read().request.allow_host_network
    granted = read_attributes({}, frozenset({"security.insecure", "network.host"}))
    assert granted.request.allow_insecure
    assert granted.request.allow_host_network


@pytest.mark.parametrize(
    ("attributes", "kind", "words"),
    [
        ({"platform": "linux/amd64,linux/arm64"}, NotImplementedHere, "multi-platform"),
        ({"multi-platform": "true"}, NotImplementedHere, "manifest lists"),
        ({"attest:sbom": ""}, NotImplementedHere, "attestations are not offered (sbom)"),
        ({"source": "docker.io/example/other:1"}, NotImplementedHere, "front end"),
        ({"build-arg:BUILDKIT_SYNTAX": "example/other"}, NotImplementedHere, "front end"),
        ({"context:x": "input:x"}, NotImplementedHere, "named context x"),
        ({"force-network-mode": "bridge"}, InvalidParameter, "network mode"),
        ({"add-hosts": "a"}, InvalidParameter, "expecting HOST=IP"),
        ({"ulimit": "nofile=x"}, InvalidParameter, "ulimits"),
        ({"shm-size": "1g"}, InvalidParameter, "shm size"),
        ({"cache-imports": "{}x"}, InvalidParameter, "cache-imports"),
        ({"cache-imports": '[{"Type":"registry"}]'}, InvalidParameter, "cache-imports"),
        ({"platform": "a/b/c/d"}, InvalidParameter, "cannot parse platform"),
        ({"build-arg:SOURCE_DATE_EPOCH": "now"}, InvalidParameter, "SOURCE_DATE_EPOCH"),
    ],
)
def test_refusals(attributes: dict[str, str], kind: type[WherryError], words: str) -> None:
    with pytest.raises(kind) as refused:
        read_attributes(attributes, frozenset())
    assert words in str(refused.value)


@pytest.mark.parametrize("value", ["mode=min,inline-only=true", "disabled=true"])
def test_attestations_that_need_nothing(value: str) -> None:
    read_attributes({"attest:provenance": value}, frozenset())


def test_the_usual_syntax_lines() -> None:
    read_attributes({"source": "docker/dockerfile:1", "build-arg:BUILDKIT_SYNTAX": ""}, frozenset())
