"""The image archive that ``save`` writes: an OCI image layout with Docker's manifest.json in it.

Every tool that reads one of the two forms can read it. Only the standard library is needed, so
that the scripts that make base images use it too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from wherry.images.reference import Reference
from wherry.mediatypes import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from wherry.storage.archive import header
from wherry.storage.archive.header import BLOCK, Entry


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """An image to write: its config's bytes, (diff id, size of the tar) of each layer, names."""

    config: bytes
    layers: tuple[tuple[str, int], ...]
    names: tuple[Reference, ...]


def archive(
    images: Sequence[ArchivedImage], layer: Callable[[str], Iterable[bytes]]
) -> Iterator[bytes]:
    """The archive as a tar stream; ``layer`` gives a layer's uncompressed tar by diff id.

    The same images always give the same bytes. A layer that several images have is in it once.
    """
    written: set[str] = set()
    docker: list[dict[str, Any]] = []
    index: list[dict[str, Any]] = []
    repositories: dict[str, dict[str, str]] = {}
    yield _directory(b"blobs/") + _directory(b"blobs/sha256/")
    for image in images:
        config = _descriptor(OCI_CONFIG, _digest(image.config), len(image.config))
        layers = [_descriptor(OCI_LAYER, diff_id, size) for diff_id, size in image.layers]
        manifest = _json(
            {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
        )
        for diff_id, size in image.layers:
            if diff_id not in written:
                written.add(diff_id)
                yield _file(_blob(diff_id), size)
                yield from layer(diff_id)
                yield bytes(-size % BLOCK)
        for data in (image.config, manifest):
            if _digest(data) not in written:
                written.add(_digest(data))
                yield _small(_blob(_digest(data)), data)
        docker.append(
            {
                "Config": _blob(config["digest"]),
                "RepoTags": [name.familiar for name in image.names if name.tag] or None,
                "Layers": [_blob(diff_id) for diff_id, _ in image.layers],
                "LayerSources": {item["digest"]: item for item in layers},
            }
        )
        described = _descriptor(OCI_MANIFEST, _digest(manifest), len(manifest))
        index += [
            described | {"annotations": _annotations(name)} for name in image.names if name.tag
        ]
        if not any(name.tag for name in image.names):
            index.append(described)
        for name in image.names:
            if name.tag:
                top = image.layers[-1][0] if image.layers else ""
                repositories.setdefault(name.familiar_name, {})[name.tag] = top.partition(":")[2]
    yield _small(
        "index.json", _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": index})
    )
    yield _small("manifest.json", _json(docker))
    yield _small("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
    if repositories:
        yield _small("repositories", _json(repositories))
    yield bytes(2 * BLOCK)


def _annotations(name: Reference) -> dict[str, str]:
    return {
        "io.containerd.image.name": str(name),
        "org.opencontainers.image.ref.name": name.tag or "",
    }


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/', 1)}"


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _directory(name: bytes) -> bytes:
    return header.pack(Entry(name, header.DIRECTORY, 0o755, 0, 0, 0, 0))


def _file(name: str, size: int) -> bytes:
    return header.pack(Entry(name.encode(), header.REGULAR, 0o644, 0, 0, size, 0))


def _small(name: str, data: bytes) -> bytes:
    return _file(name, len(data)) + data + bytes(-len(data) % BLOCK)
