"""API versions: ``/v1.43/…`` in paths, and what is answered to clients that are too new or old."""

from __future__ import annotations

import re
from typing import NamedTuple

from wherry.engine.info import API_VERSION, MIN_API_VERSION
from wherry.errors import InvalidParameter

_PREFIX = re.compile(r"/v([0-9.]+)(/.*)", re.DOTALL)


class Version(NamedTuple):
    """A version such as 1.43; compares as numbers do."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


def parse(text: str) -> Version:
    """Read ``1.43``; raises InvalidParameter."""
    major, _, minor = text.partition(".")
    if not (major.isdigit() and (minor or "0").isdigit() and len(text) < 12):
        raise InvalidParameter(f"invalid API version {text!r}")
    return Version(int(major), int(minor or "0"))


CURRENT = parse(API_VERSION)
OLDEST = parse(MIN_API_VERSION)


def split(path: str) -> tuple[Version, str]:
    """The version that ``path`` asks for (the newest when it names none), and the rest.

    Raises InvalidParameter with Docker's texts when this engine does not speak the version.
    """
    match = _PREFIX.fullmatch(path)
    if match is None:
        return CURRENT, path
    version = parse(match[1])
    if version > CURRENT:
        raise InvalidParameter(
            f"client version {match[1]} is too new. Maximum supported API version is {API_VERSION}"
        )
    if version < OLDEST:
        raise InvalidParameter(
            f"client version {match[1]} is too old. Minimum supported API version is"
            f" {MIN_API_VERSION}, please upgrade your client to a newer version"
        )
    return version, match[2]
