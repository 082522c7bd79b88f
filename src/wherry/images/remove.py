"""``docker rmi`` and ``docker image prune``: what may go, what is untagged, what is deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from wherry.errors import Conflict, InvalidParameter
from wherry.images import listing
from wherry.images import reference as references
from wherry.images.listing import Filters
from wherry.images.reference import Reference
from wherry.images.store import Image, ImageStore, is_id_prefix
from wherry.storage.layers import Layer, chain_id

PRUNE_FILTERS = frozenset({"dangling", "label", "label!", "until"})


@dataclass(frozen=True, slots=True)
class User:
    """A container that was made from an image."""

    container: str
    running: bool


UsersOf = Callable[[str], Sequence[User]]
Record = dict[str, str]
"""One ``{"Untagged": …}`` or ``{"Deleted": …}``."""


def remove(
    store: ImageStore, name: str, users_of: UsersOf, *, force: bool = False, prune: bool = True
) -> list[Record]:
    """Remove a name or an image; returns the lines that ``docker rmi`` prints.

    ``users_of`` tells the containers of an image. ``prune``: remove untagged parents, too.
    Raises NotFound, and Conflict with Docker's texts when something needs the image.
    """
    image = store.resolve(name)
    records: list[Record] = []
    if is_id_prefix(image.id, name):
        if _is_single(image.references):
            _check(store, image, users_of, soft=not force)
            _untag(store, image.references, records)
    else:
        if not force and _is_single(image.references):
            for user in users_of(image.id):
                raise Conflict(
                    f'conflict: unable to remove repository reference "{name}" (must force) -'
                    f" container {user.container[:12]} is using its referenced image"
                    f" {image.id[7:19]}"
                )
        removed = references.parse(name).tagged()
        _untag(store, [removed], records)
        if removed.digest is None and not store.is_named(image.id, removed.name):
            stale = [digest for digest in image.digests if digest.name == removed.name]
            _untag(store, stale, records)
        if store.is_named(image.id):
            return records
        image = store.get(image.id)
    _delete(store, image, users_of, records, force=force, prune=prune)
    return records


def _untag(store: ImageStore, names: Sequence[Reference], records: list[Record]) -> None:
    records += [{"Untagged": name.familiar} for name in names if store.untag(name)]


def _is_single(names: Sequence[Reference]) -> bool:
    """Whether all names are one tag, or one tag with digests of the same repository."""
    if len(names) <= 1:
        return True
    tags = [name for name in names if name.digest is None]
    repositories = {name.name for name in names if name.digest is not None}
    if len(tags) > 1:
        return False
    single = tags[0] if tags else names[0]
    return repositories == {single.name}


def _check(store: ImageStore, image: Image, users_of: UsersOf, *, soft: bool) -> None:
    """Raise Conflict when the image cannot go; ``soft``: also when only force would do."""
    short = image.id[7:19]
    if store.children(image.id):
        raise Conflict(
            f"conflict: unable to delete {short} (cannot be forced) - image has dependent child"
            " images"
        )
    users = users_of(image.id)
    for user in users:
        if user.running:
            raise Conflict(
                f"conflict: unable to delete {short} (cannot be forced) - image is being used by"
                f" running container {user.container[:12]}"
            )
    if not soft:
        return
    if len(image.references) > 1 and not _is_single(image.references):
        raise Conflict(
            f"conflict: unable to delete {short} (must be forced) - image is referenced in"
            " multiple repositories"
        )
    for user in users:
        raise Conflict(
            f"conflict: unable to delete {short} (must be forced) - image is being used by"
            f" stopped container {user.container[:12]}"
        )


def _delete(
    store: ImageStore,
    image: Image,
    users_of: UsersOf,
    records: list[Record],
    *,
    force: bool,
    prune: bool,
) -> None:
    """Delete an image, then with ``prune`` its parents that nobody names and needs."""
    _check(store, image, users_of, soft=not force)
    _forget(store, image, records)
    # A chain has as many images as its Dockerfile has steps: too many to recurse.
    parent = store.find(image.parent) if prune and image.parent else None
    while parent is not None and not parent.references:
        try:
            _check(store, parent, users_of, soft=True)
        except Conflict:
            return
        _forget(store, parent, records)
        parent = store.find(parent.parent) if parent.parent else None


def _forget(store: ImageStore, image: Image, records: list[Record]) -> None:
    _untag(store, image.references, records)
    removed = store.forget(image.id)
    records.append({"Deleted": image.id})
    records += [{"Deleted": chain} for chain in _removed_chains(image, removed)]


def _removed_chains(image: Image, removed: Sequence[Layer]) -> list[str]:
    """The chain ids of the image's layers that are gone, the topmost first."""
    gone = {layer.diff_id for layer in removed}
    return [
        chain_id(image.layers[: depth + 1])
        for depth in reversed(range(len(image.layers)))
        if image.layers[depth] in gone
    ]


def prune_images(store: ImageStore, users_of: UsersOf, filters: Filters) -> dict[str, Any]:
    """The answer of ``POST /images/prune``: dangling images, or with dangling=false all unused.

    Raises InvalidParameter for an unknown filter.
    """
    unknown = filters.keys() - PRUNE_FILTERS
    if unknown:
        raise InvalidParameter(f"invalid filter '{sorted(unknown)[0]}'")
    dangling_only = listing.boolean_filter(filters, "dangling") is not False
    keep = listing.selector(store, filters)
    before = listing.layers_size(store)
    records: list[Record] = []
    known = -1
    while known < len(records):  # an image can go when those that were built on it have gone
        known = len(records)
        for image in store.all():
            current = store.find(image.id)
            if current is not None and keep(current) and not users_of(current.id):
                records += _prune(store, current, users_of, dangling_only=dangling_only)
    return {
        "ImagesDeleted": records or None,
        "SpaceReclaimed": max(0, before - listing.layers_size(store)),
    }


def _prune(
    store: ImageStore, image: Image, users_of: UsersOf, *, dangling_only: bool
) -> list[Record]:
    records: list[Record] = []
    if store.children(image.id) or (dangling_only and not listing.is_dangling(image)):
        return records
    try:
        if dangling_only or not image.references:
            _delete(store, image, users_of, records, force=False, prune=True)
        else:
            for name in image.references:
                if store.pointed(name) == image.id:
                    records += remove(store, name.familiar, users_of)
    except Conflict:
        return records  # somebody began to use it meanwhile
    return records
