"""Reads a pushed manifest: what it is and what it refers to. No I/O."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from wherry.hub.distribution.errors import RegistryError, manifest_invalid
from wherry.hub.distribution.names import digest as parse_digest
from wherry.mediatypes import CONFIGS, INDEXES, MANIFESTS, OCI_INDEX, OCI_MANIFEST, SCHEMA_1

_FOREIGN = ("nondistributable", "foreign")
MAX_CONFIG = 4 * 1024 * 1024


@dataclass(frozen=True)
class Descriptor:
    """A reference to content: what, which, how long."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True)
class ParsedManifest:
    """What the registry needs to know of a manifest."""

    media_type: str
    kind: str  # "image", "index" or "artifact"
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    children: tuple[Descriptor, ...]
    required: tuple[str, ...]  # digests of blobs that the repository must have
    subject: str | None
    artifact_type: str
    annotations: dict[str, str]

    @property
    def size(self) -> int:
        """Bytes that a pull transfers, the manifest itself aside."""
        config = self.config.size if self.config else 0
        return config + sum(layer.size for layer in self.layers)


def parse(content: bytes, content_type: str) -> ParsedManifest:
    """Parses ``content`` sent as ``content_type`` (which may be empty).

    Raises MANIFEST_INVALID when it is no JSON object, when header and document name different
    media types, when it is both image and index (CVE-2021-41190), or a descriptor is broken.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise manifest_invalid(f"manifest is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise manifest_invalid("manifest is not a JSON object")
    media_type = _media_type(document, content_type)
    has_children = "manifests" in document
    has_blobs = any(key in document for key in ("config", "layers", "fsLayers"))
    if has_children and has_blobs:
        raise manifest_invalid("manifest is both an image and an index")
    if (media_type in INDEXES and has_blobs) or (media_type in MANIFESTS and has_children):
        raise manifest_invalid(f"manifest does not have the shape of {media_type}")
    if media_type in MANIFESTS and not isinstance(document.get("config"), dict):
        raise manifest_invalid("image manifest has no config")
    if media_type in MANIFESTS + INDEXES and document.get("schemaVersion") != 2:
        raise manifest_invalid("schemaVersion is not 2")

    config = _descriptor(document["config"], "config") if "config" in document else None
    layers = _descriptors(document, "layers") + _descriptors(document, "blobs")
    children = _descriptors(document, "manifests")
    subject = _descriptor(document["subject"], "subject") if document.get("subject") else None
    artifact_type = document.get("artifactType") or ""
    if not isinstance(artifact_type, str) or not _is_media_type(artifact_type):
        raise manifest_invalid("artifactType is malformed")
    needed = [config] if config else []
    needed += [layer for layer in layers if not _is_foreign(layer.media_type)]
    return ParsedManifest(
        media_type=media_type,
        kind=_kind(media_type, has_children, config, artifact_type),
        config=config,
        layers=tuple(layers),
        children=tuple(children),
        required=tuple(dict.fromkeys(descriptor.digest for descriptor in needed)),
        subject=subject.digest if subject else None,
        artifact_type=artifact_type or (config.media_type if config else ""),
        annotations=_annotations(document),
    )


def _media_type(document: dict[str, Any], content_type: str) -> str:
    header = content_type.partition(";")[0].strip().lower()
    if header in ("application/json", "application/octet-stream", "text/plain"):
        header = ""
    inner = document.get("mediaType", "")
    if not isinstance(inner, str):
        raise manifest_invalid("mediaType is not a string")
    if header and inner and header != inner.lower():
        raise manifest_invalid(f"sent as {header}, but the manifest says {inner}")
    media_type = inner or header
    if not media_type:
        media_type = OCI_INDEX if "manifests" in document else OCI_MANIFEST
    if media_type in SCHEMA_1 or document.get("schemaVersion") == 1:
        raise manifest_invalid("schema 1 manifests are not accepted; push schema 2 or OCI")
    if not _is_media_type(media_type):
        raise manifest_invalid("mediaType is malformed")
    return media_type


def _is_media_type(text: str) -> bool:
    """Whether ``text`` is short and plain enough; nothing is asked of its grammar."""
    return len(text) <= 255 and text.isprintable()


def _kind(
    media_type: str, has_children: bool, config: Descriptor | None, artifact_type: str
) -> str:
    if media_type in INDEXES or has_children:
        return "index"
    is_image = config is not None and config.media_type in CONFIGS
    return "image" if is_image and not artifact_type else "artifact"


def _is_foreign(media_type: str) -> bool:
    return any(word in media_type for word in _FOREIGN)


def _descriptors(document: dict[str, Any], key: str) -> list[Descriptor]:
    entries = document.get(key)
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise manifest_invalid(f"{key} is not a list")
    return [_descriptor(entry, f"{key}[{index}]") for index, entry in enumerate(entries)]


def _descriptor(entry: Any, where: str) -> Descriptor:
    if not isinstance(entry, dict):
        raise manifest_invalid(f"{where} is not an object")
    media_type, digest, size = entry.get("mediaType", ""), entry.get("digest"), entry.get("size")
    if not isinstance(media_type, str) or not isinstance(digest, str):
        raise manifest_invalid(f"{where} lacks mediaType or digest")
    if not _is_media_type(media_type):
        raise manifest_invalid(f"{where} has a malformed mediaType")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**63:
        raise manifest_invalid(f"{where} has no valid size")
    try:
        return Descriptor(media_type, parse_digest(digest), size)
    except RegistryError as error:
        raise manifest_invalid(f"{where}: {error}", {"digest": digest[:200]}) from None


def _annotations(document: dict[str, Any]) -> dict[str, str]:
    annotations = document.get("annotations") or {}
    if not isinstance(annotations, dict):
        raise manifest_invalid("annotations is not an object")
    return {str(key): str(value) for key, value in annotations.items()}


MOST_STEPS = 1000
"""Lines of an image's history, and layers, that the site keeps and shows."""
_MOST_SETTINGS = 500
_LONGEST_TEXT = 4096
_UNREADABLE = re.compile("[\0\ud800-\udfff]")
_WORDS = ("User", "WorkingDir", "StopSignal")
_LISTS = ("Entrypoint", "Cmd", "Env")
_SETS = ("ExposedPorts", "Volumes")


def readable(text: str, longest: int = _LONGEST_TEXT) -> str:
    """The beginning of ``text`` as any database and page can hold it.

    JSON can spell a NUL and half of a surrogate pair; PostgreSQL takes neither, UTF-8 not the half.
    """
    return _UNREADABLE.sub("\N{REPLACEMENT CHARACTER}", text[:longest])


@dataclass(frozen=True)
class ImageFacts:
    """What people want to know of an image, from its config."""

    platform: str
    created: str
    config: dict[str, Any]


def read_config(content: bytes) -> ImageFacts | None:
    """Platform, creation time and the parts of an image config that the site shows.

    Whoever pushes an image writes its config: what has not the type that it should have is left
    out, and everything has an end.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    parts = [document.get(key) for key in ("os", "architecture", "variant")]
    platform = "/".join(part for part in parts if part and isinstance(part, str))
    history = document.get("history")
    run = document.get("config")
    created = document.get("created")
    return ImageFacts(
        platform=readable(platform, 100),
        created=readable(created, 100) if isinstance(created, str) else "",
        config={
            "history": _history(history) if isinstance(history, list) else [],
            "config": run_settings(run) if isinstance(run, dict) else {},
        },
    )


def _history(steps: list[Any]) -> list[dict[str, Any]]:
    found = []
    for step in steps[:MOST_STEPS]:
        if isinstance(step, dict):
            texts = {key: step.get(key) for key in ("created", "created_by", "comment")}
            kept: dict[str, Any] = {
                key: readable(text) for key, text in texts.items() if isinstance(text, str)
            }
            found.append({**kept, "empty_layer": step.get("empty_layer") is True})
    return found


def run_settings(config: dict[str, Any]) -> dict[str, Any]:
    """The known settings of a container config, those of the right type, and not too many."""
    found: dict[str, Any] = {}
    for key in _WORDS:
        if isinstance(word := config.get(key), str) and word:
            found[key] = readable(word)
    for key in _LISTS:
        if isinstance(entries := config.get(key), list):
            found[key] = [
                readable(entry) for entry in entries[:_MOST_SETTINGS] if isinstance(entry, str)
            ]
    for key in _SETS:
        if isinstance(names := config.get(key), dict):
            found[key] = {readable(name): {} for name in list(names)[:_MOST_SETTINGS]}
    if isinstance(labels := config.get("Labels"), dict):
        found["Labels"] = {
            readable(key): readable(value)
            for key, value in list(labels.items())[:_MOST_SETTINGS]
            if isinstance(value, str)
        }
    return found
