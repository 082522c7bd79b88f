"""The image config: a JSON blob whose digest is the image's id (image-spec, config.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from wherry.errors import InvalidParameter
from wherry.images.reference import check_digest

SIZE_LIMIT = 8 << 20
"""Bytes of a manifest or config that are accepted."""


@dataclass(frozen=True, slots=True)
class HistoryItem:
    """One line of an image's history; ``empty_layer`` lines made no layer."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What Wherry reads of a config; ``raw`` keeps all of it."""

    architecture: str
    os: str
    created: str
    diff_ids: tuple[str, ...]
    history: tuple[HistoryItem, ...]
    variant: str = ""
    os_version: str = ""
    author: str = ""
    comment: str = ""
    docker_version: str = ""
    parent: str = ""
    run: dict[str, Any] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict)


def parse(data: bytes) -> ImageConfig:
    """Parse a config blob. Raises InvalidParameter when it is no image config."""
    raw = parse_object(data, "image config")
    rootfs = raw.get("rootfs")
    if not isinstance(rootfs, dict) or not isinstance(rootfs.get("diff_ids", []), list | None):
        raise InvalidParameter("invalid image config: it has no rootfs with diff_ids")
    diff_ids = rootfs.get("diff_ids") or []
    history = raw.get("history") or []
    if not all(isinstance(item, str) for item in diff_ids):
        raise InvalidParameter("invalid image config: diff_ids are not digests")
    if not isinstance(history, list) or not all(isinstance(item, dict) for item in history):
        raise InvalidParameter("invalid image config: history is not a list of objects")
    run = raw.get("config") or {}
    if not isinstance(run, dict):
        raise InvalidParameter("invalid image config: config is not an object")
    return ImageConfig(
        architecture=text(raw, "architecture"),
        os=text(raw, "os") or "linux",
        created=text(raw, "created"),
        diff_ids=tuple(check_digest(item) for item in diff_ids),
        history=tuple(
            HistoryItem(
                text(item, "created"),
                text(item, "created_by"),
                text(item, "author"),
                text(item, "comment"),
                item.get("empty_layer") is True,
            )
            for item in history
        ),
        variant=text(raw, "variant"),
        os_version=text(raw, "os.version"),
        author=text(raw, "author"),
        comment=text(raw, "comment"),
        docker_version=text(raw, "docker_version"),
        parent=text(raw, "parent"),
        run=run,
        raw=raw,
    )


def parse_object(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object of limited size. Raises InvalidParameter naming ``what``."""
    if len(data) > SIZE_LIMIT:
        raise InvalidParameter(f"invalid {what}: larger than {SIZE_LIMIT} bytes")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"invalid {what}: {error}") from None
    if not isinstance(value, dict):
        raise InvalidParameter(f"invalid {what}: not a JSON object")
    return value


def text(value: dict[str, Any], key: str) -> str:
    """A string member, "" when it is missing; InvalidParameter when it is something else."""
    found = value.get(key)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise InvalidParameter(f"invalid image metadata: {key} is not a string")
    return found


def dump(value: dict[str, Any]) -> bytes:
    """JSON in the compact, key-ordered-as-given form that Wherry writes."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
