"""``docker images``: which images are listed, and what they share."""

from __future__ import annotations

import fnmatch
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wherry.errors import InvalidParameter
from wherry.images import views
from wherry.images.reference import Reference
from wherry.images.store import Image, ImageStore
from wherry.timestamps import parse_moment

Filters = Mapping[str, Sequence[str]]
"""Values by filter name, as `wherry.engine.filters` reads them from a request."""

LIST_FILTERS = frozenset({"dangling", "label", "label!", "before", "since", "reference", "until"})


def list_images(
    store: ImageStore,
    *,
    all: bool = False,
    filters: Filters | None = None,
    shared_size: bool = False,
    containers: Mapping[str, int] | None = None,
) -> list[dict[str, Any]]:
    """The entries of ``GET /images/json``, newest first.

    ``all`` adds untagged images that others were built on. ``containers`` are numbers of
    containers by image id. Raises InvalidParameter for an unknown filter or a bad value.
    """
    filters = filters or {}
    unknown = filters.keys() - LIST_FILTERS
    if unknown:
        raise InvalidParameter(f"invalid filter '{sorted(unknown)[0]}'")
    dangling = boolean_filter(filters, "dangling")
    keep = selector(store, filters)
    patterns = list(filters.get("reference", ()))
    images = store.all()
    parents = {image.parent for image in images if image.parent}
    sizes = shared_sizes(store, images) if shared_size else {}
    entries = []
    for image in images:
        if not keep(image):
            continue
        tags, digests = _names(image, patterns)
        if patterns and not tags and not digests:
            continue
        if is_dangling(image):
            if image.id in parents and (dangling is True or not all):
                continue
            if dangling is False:
                continue
        elif dangling is True:
            continue
        shared = sizes[image.id] if shared_size else -1
        count = containers.get(image.id, 0) if containers is not None else -1
        entries.append(views.list_view(image, tags, digests, count, shared))
    entries.sort(key=lambda entry: (-entry["Created"], entry["Id"]))
    return entries


def is_dangling(image: Image) -> bool:
    """Whether no tag points at the image; a digest does not count."""
    return not image.tags


def _names(image: Image, patterns: Sequence[str]) -> tuple[list[str], list[str]]:
    tags = [name for name in image.tags if not patterns or _matches(name, patterns)]
    digests = [name for name in image.digests if not patterns or _matches(name, patterns)]
    return [name.familiar for name in tags], [name.familiar for name in digests]


def _matches(name: Reference, patterns: Sequence[str]) -> bool:
    """Whether a pattern fits the whole familiar name or the repository (path.Match)."""
    return any(
        _path_match(pattern, name.familiar) or _path_match(pattern, name.familiar_name)
        for pattern in patterns
    )


def _path_match(pattern: str, text: str) -> bool:
    """Shell patterns by path component: ``*`` does not match ``/``."""
    parts, wanted = text.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(
        fnmatch.fnmatchcase(part, want) for part, want in zip(parts, wanted, strict=True)
    )


def selector(store: ImageStore, filters: Filters) -> Callable[[Image], bool]:
    """The test for label, label!, before, since and until."""
    tests: list[Callable[[Image], bool]] = []
    for key, wanted in (("label", True), ("label!", False)):
        tests += [_label_test(value, wanted) for value in filters.get(key, ())]
    for value in filters.get("before", ()):
        limit = _created(store.resolve(value))
        tests.append(lambda image, limit=limit: _created(image) < limit)  # type: ignore[misc]
    for value in filters.get("since", ()):
        limit = _created(store.resolve(value))
        tests.append(lambda image, limit=limit: _created(image) > limit)  # type: ignore[misc]
    for value in filters.get("until", ()):
        until = parse_moment(value, time.time_ns())
        tests.append(lambda image, until=until: _created(image) < until)  # type: ignore[misc]
    return lambda image: all(test(image) for test in tests)


def _created(image: Image) -> int:
    return views.unix_time_ns(image.config.created)


def _label_test(value: str, wanted: bool) -> Callable[[Image], bool]:
    key, equals, expected = value.partition("=")

    def test(image: Image) -> bool:
        labels = image.config.run.get("Labels") or {}
        found = key in labels and (not equals or labels[key] == expected)
        return found == wanted

    return test


def boolean_filter(filters: Filters, key: str) -> bool | None:
    """A filter that is true or false; None when it is not given."""
    values = filters.get(key, ())
    if not values:
        return None
    if len(values) == 1:
        if values[0] in ("1", "true", "True", "TRUE", "t", "T"):
            return True
        if values[0] in ("0", "false", "False", "FALSE", "f", "F"):
            return False
    raise InvalidParameter(f"invalid filter '{key}=[{' '.join(values)}]'")


def shared_sizes(store: ImageStore, images: Sequence[Image]) -> dict[str, int]:
    """Bytes of the layers that each image shares with others, by image id."""
    users = Counter(layer for image in images for layer in set(image.layers))
    size = store.layers.sizes()
    return {
        image.id: sum(size[layer] for layer in set(image.layers) if users[layer] > 1)
        for image in images
    }


def layers_size(store: ImageStore) -> int:
    """``LayersSize`` of ``GET /system/df``: every layer counted once."""
    return sum(store.layers.sizes().values())
