"""Manifests and indexes: OCI image-spec 1.1 and Docker's schema 2 (manifest.md, image-index.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from wherry.errors import InvalidParameter, NotFound
from wherry.images.config import parse_object, text
from wherry.images.platforms import Platform
from wherry.images.reference import check_digest
from wherry.mediatypes import INDEXES, MANIFESTS, OCI_INDEX, OCI_MANIFEST, SCHEMA_1


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A typed pointer to a blob (image-spec, descriptor.md)."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    urls: tuple[str, ...] = ()
    annotations: dict[str, str] = field(default_factory=dict)

    def view(self) -> dict[str, Any]:
        """Its JSON form."""
        value: dict[str, Any] = {
            "mediaType": self.media_type, "digest": self.digest, "size": self.size,
        }  # fmt: skip
        if self.urls:
            value["urls"] = list(self.urls)
        if self.annotations:
            value["annotations"] = self.annotations
        if self.platform:
            value["platform"] = {"architecture": self.platform.architecture, "os": self.platform.os}
            if self.platform.variant:
                value["platform"]["variant"] = self.platform.variant
        return value


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest: its config and its layers, base first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """Manifests for several platforms."""

    media_type: str
    manifests: tuple[Descriptor, ...]


def parse(data: bytes, media_type: str = "") -> Manifest | Index:
    """Parse a manifest or index.

    ``media_type`` is what the sender called it; it must agree with what the document says of
    itself, and a document that is both is refused (OCI distribution-spec, security notice on
    ambiguous manifests). Raises InvalidParameter.
    """
    raw = parse_object(data, "manifest")
    media_type = media_type.partition(";")[0].strip()
    if media_type in SCHEMA_1 or raw.get("schemaVersion") == 1:
        raise InvalidParameter(
            "the image has a manifest of schema version 1, a form that was given up in 2017 and"
            " is not supported; its owner can push it again with any current tool"
        )
    if raw.get("schemaVersion") != 2:
        raise InvalidParameter("invalid manifest: schemaVersion is not 2")
    said = text(raw, "mediaType")
    if said and media_type in MANIFESTS + INDEXES and said != media_type:
        raise InvalidParameter(f"invalid manifest: sent as {media_type} but says {said}")
    is_index, is_manifest = "manifests" in raw, "layers" in raw or "config" in raw
    if is_index and is_manifest:
        raise InvalidParameter("invalid manifest: it is both an index and an image")
    kind = said or media_type or (OCI_INDEX if is_index else OCI_MANIFEST)
    if is_index and kind in INDEXES:
        return Index(kind, tuple(_descriptors(raw, "manifests")))
    if is_manifest and kind in MANIFESTS:
        config = raw.get("config")
        if not isinstance(config, dict):
            raise InvalidParameter("invalid manifest: it has no config")
        return Manifest(kind, _descriptor(config), tuple(_descriptors(raw, "layers")))
    raise InvalidParameter(f"invalid manifest: unsupported media type {kind!r}")


def choose(index: Index, wanted: Platform, name: str) -> Descriptor:
    """The manifest for ``wanted``; NotFound with Docker's text when the index has none."""
    for exact in (True, False):
        for descriptor in index.manifests:
            offered = descriptor.platform
            if offered is None or descriptor.media_type not in MANIFESTS:
                continue
            if offered == wanted or (not exact and wanted.accepts(offered)):
                return descriptor
    single = [item for item in index.manifests if item.platform is None]
    if len(single) == len(index.manifests) == 1:
        return single[0]
    raise NotFound(f"no matching manifest for {wanted} in the manifest list entries of {name}")


def _descriptors(raw: dict[str, Any], key: str) -> list[Descriptor]:
    items = raw.get(key) or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidParameter(f"invalid manifest: {key} is not a list of descriptors")
    if len(items) > 4096:
        raise InvalidParameter(f"invalid manifest: {len(items)} {key}")
    return [_descriptor(item) for item in items]


def _descriptor(raw: dict[str, Any]) -> Descriptor:
    size = raw.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise InvalidParameter("invalid manifest: a descriptor has no size")
    digest = check_digest(text(raw, "digest"))
    platform = raw.get("platform")
    urls = raw.get("urls") or []
    annotations = raw.get("annotations") or {}
    if not isinstance(urls, list) or not isinstance(annotations, dict):
        raise InvalidParameter("invalid manifest: a descriptor is malformed")
    return Descriptor(
        text(raw, "mediaType"),
        digest,
        size,
        Platform(
            text(platform, "os"), text(platform, "architecture"), text(platform, "variant")
        ) if isinstance(platform, dict) else None,
        tuple(str(url) for url in urls),
        {str(key): str(value) for key, value in annotations.items()},
    )  # fmt: skip
