"""Names in registry URLs: repositories, tags, digests (OCI distribution spec, "Pull")."""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

from wherry.errors import InvalidParameter
from wherry.hub.distribution.errors import digest_invalid, name_invalid, tag_invalid
from wherry.images.reference import check_digest

OFFICIAL = "library"
"""Owner of repositories whose name has no slash: ``mysql`` is ``library/mysql``."""

_REPOSITORY = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class Hasher(Protocol):
    """What hashlib returns."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


def repository_name(text: str) -> str:
    """The canonical name; raises a NAME_INVALID error."""
    if len(text) > 255 or not _REPOSITORY.fullmatch(text):
        raise name_invalid(text)
    return text if "/" in text else f"{OFFICIAL}/{text}"


def display_name(name: str) -> str:
    """The short name of official repositories, the whole name of all others."""
    prefix = f"{OFFICIAL}/"
    short = name.removeprefix(prefix)
    return short if name.startswith(prefix) and "/" not in short else name


def tag_name(text: str) -> str:
    """``text`` when it is a tag; raises a TAG_INVALID error."""
    if not _TAG.fullmatch(text):
        raise tag_invalid(text)
    return text


def is_tag(value: object) -> bool:
    """Whether a value is a text that can name a tag."""
    return isinstance(value, str) and _TAG.fullmatch(value) is not None


def digest(text: str) -> str:
    """``text`` when it is a sha256, sha384 or sha512 digest; raises a DIGEST_INVALID error."""
    try:
        return check_digest(text)
    except InvalidParameter as error:
        raise digest_invalid(str(error), text[:200]) from None


def is_digest(reference: str) -> bool:
    """Whether a manifest reference is meant as a digest (tags have no colon)."""
    return ":" in reference


def hasher(digest_text: str) -> Hasher:
    """A new hash object of the digest's algorithm."""
    return hashlib.new(digest_text.partition(":")[0])


def digest_of(content: bytes, like: str = "sha256:") -> str:
    """The digest of ``content`` with the algorithm of ``like``."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
