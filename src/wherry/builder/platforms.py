"""Platforms: ``linux/amd64``, ``linux/arm/v7``.

Source: https://github.com/opencontainers/image-spec/blob/main/image-index.md (platform)
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from wherry.builder.errors import SyntaxProblem
from wherry.golang import quote
from wherry.images.manifest import KNOWN_ARCHITECTURES, KNOWN_SYSTEMS

_PART = re.compile(r"[A-Za-z0-9_.-]+")
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "amd64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "arm64": ("arm64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
    "arm": ("arm", "v7"),
}


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system, a processor architecture (Go's names) and its variant."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


def host_platform() -> Platform:
    """The platform of this kernel."""
    return Platform("linux", *_ARCHITECTURES.get(os.uname().machine, (os.uname().machine, "")))


def parse_platform(text: str) -> Platform:
    """``OS/ARCH[/VARIANT]``, or one of both alone. Raises SyntaxProblem."""
    parts = text.strip().lower().split("/")
    if len(parts) > 3 or not all(map(_PART.fullmatch, parts)):
        raise SyntaxProblem(
            f"{quote(text)} is an invalid component of {quote(text)}: platform specifier"
            ' component must match "^[A-Za-z0-9_.-]+$": invalid argument'
        )
    if len(parts) == 1:
        if parts[0] in KNOWN_SYSTEMS:
            return Platform(parts[0], host_platform().architecture)
        if parts[0] not in _ARCHITECTURES and parts[0] not in KNOWN_ARCHITECTURES:
            raise SyntaxProblem(
                f"{quote(text)}: unknown operating system or architecture: invalid argument"
            )
        parts = ["linux", parts[0]]
    architecture, variant = _ARCHITECTURES.get(parts[1], (parts[1], ""))
    if len(parts) == 3:
        variant = parts[2]
    if (architecture, variant) == ("arm64", "v8"):
        variant = ""
    return Platform(parts[0], architecture, variant)
