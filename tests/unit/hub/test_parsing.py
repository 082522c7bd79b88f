"""Ranges, page sizes, manifests, rate limits, configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import InvalidParameter
from wherry.hub import config
from wherry.hub.distribution.errors import RegistryError
from wherry.hub.distribution.manifest import parse, read_config
from wherry.hub.registry.blobs import parse_range
from wherry.hub.registry.listings import MAX_PAGE, page_size
from wherry.mediatypes import OCI_MANIFEST

DIGEST = "sha256:" + "a" * 64


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 100))
def test_a_range_is_what_slicing_gives(first: int, last: int, size: int) -> None:
    content = bytes(range(size))
    span = parse_range(f"bytes={first}-{last}", size)
    wanted = content[first : last + 1]
    if span is None:
        assert not wanted
    else:
        assert content[span[0] : span[0] + span[1]] == wanted


@pytest.mark.parametrize("header", ["", "bytes=-", "items=0-1", "bytes=0-1,3-4", "bytes=a-b"])
def test_other_ranges_give_the_whole(header: str) -> None:
    assert parse_range(header, 10) == (0, 10)


@pytest.mark.parametrize(
    ("text", "size"),
    [(None, None), ("0", 0), ("7", 7), ("1000000000", MAX_PAGE), ("9" * 99, MAX_PAGE)],
)
def test_page_sizes_are_clamped(text: str | None, size: int | None) -> None:
    assert page_size(text) == size


@pytest.mark.parametrize("text", ["-1", "x", "", "1.5", "٣"])
def test_page_sizes_are_numbers(text: str) -> None:
    with pytest.raises(RegistryError):
        page_size(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "config",
                        "layers",
                        "manifests",
                        "digest",
                        "size",
                        "mediaType",
                        "subject",
                        "annotations",
                        "schemaVersion",
                    ]
                ),
                inner,
            )
        ),
    )
)
def test_any_json_is_parsed_or_refused(document: Any) -> None:
    content = json.dumps(document).encode()
    try:
        parse(content, OCI_MANIFEST)
    except RegistryError as error:
        assert error.code in ("MANIFEST_INVALID", "DIGEST_INVALID")
    read_config(content)


def test_deeply_nested_json_is_refused() -> None:
    with pytest.raises(RegistryError):
        parse(b"[" * 200_000, OCI_MANIFEST)


@pytest.mark.parametrize("size", [-1, 1.5, True, "3", None, 2**63])
def test_descriptor_sizes(size: Any) -> None:
    body = {"schemaVersion": 2, "config": {"mediaType": "x", "digest": DIGEST, "size": size}}
    with pytest.raises(RegistryError):
        parse(json.dumps(body).encode(), OCI_MANIFEST)


def test_configuration_file_and_flags(tmp_path: Path) -> None:
    path = tmp_path / "hub.toml"
    path.write_text(
        'port = 80\ntitle = "T"\n[s3]\nbucket = "b"\n'
        '[[upstreams]]\nowner = "mirror"\nurl = "https://r.example"\n'
    )
    loaded = config.load(path, port=81, data=tmp_path)
    assert (loaded.port, loaded.title, loaded.data) == (81, "T", tmp_path)
    assert loaded.s3 == config.S3Config("b")
    assert loaded.upstreams == (config.UpstreamConfig("mirror", "https://r.example"),)
    path.write_text("prot = 80")
    with pytest.raises(InvalidParameter, match="prot"):
        config.load(path)


@pytest.mark.parametrize("text", ["", "80", "host:", "host:x", "host:70000"])
def test_listen_addresses(text: str) -> None:
    with pytest.raises(InvalidParameter):
        config.parse_listen(text)
