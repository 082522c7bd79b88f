"""Immutable tags: what they name, and all that it needs, stays."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from sqlalchemy import Connection

from wherry.hub.distribution.errors import denied
from wherry.hub.records import manifests
from wherry.hub.records.repositories import Repository


def is_immutable(repository: Repository, tag: str) -> bool:
    """Whether a pattern of the repository matches the tag."""
    patterns = repository.immutable_tags.split()
    return any(fnmatch.fnmatchcase(tag, pattern) for pattern in patterns)


def check_mutable(conn: Connection, repository: Repository, tag: str, digest: str | None) -> None:
    """Raises DENIED when ``tag`` exists, is immutable, and would name another digest."""
    if not is_immutable(repository, tag):
        return
    now = manifests.tag_digest(conn, repository.id, tag)
    if now is not None and now != digest:
        raise denied(f"tag {tag} of {repository.name} is immutable")


def check_unneeded(repository: Repository, tags: Iterable[str], digest: str) -> None:
    """Raises DENIED when one of ``tags``, which need ``digest``, is immutable."""
    for tag in tags:
        if is_immutable(repository, tag):
            raise denied(f"the immutable tag {tag} of {repository.name} needs {digest}")
