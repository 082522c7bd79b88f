"""Platforms: ``linux/amd64``, ``linux/arm/v7``.

Source: https://github.com/opencontainers/image-spec/blob/main/image-index.md (platform)
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from wherry.errors import InvalidParameter
from wherry.images.config import parse_object, text

# What the kernel and people call a processor, as Go's name and variant.
_ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
    "loongarch64": ("loong64", ""),
}
# What a variant means, or what its absence does: the forms that are equal have one spelling.
_VARIANTS = {
    ("amd64", "v1"): "",
    ("arm", ""): "v7",
    ("arm", "7"): "v7",
    ("arm", "6"): "v6",
    ("arm", "5"): "v5",
    ("arm64", "8"): "",
    ("arm64", "v8"): "",
}
# What Go has builds for, https://go.dev/doc/install/source#environment: a word alone is one of
# these. Pairs are not checked, they may be of a registry that knows more.
_SYSTEMS = {
    "aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux",
    "netbsd", "openbsd", "plan9", "solaris", "wasip1", "windows",
}  # fmt: skip
_ARCHITECTURES = {
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "riscv64", "s390x", "wasm",
}  # fmt: skip
_COMPONENT = re.compile("[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and processor; an empty variant stands for any."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def accepts(self, other: Platform) -> bool:
        """Whether an image for ``other`` is what this platform asks for."""
        if (self.os, self.architecture) != (other.os, other.architecture):
            return False
        if self.architecture == "arm64" and {self.variant, other.variant} <= {"", "v8"}:
            return True
        return not self.variant or not other.variant or self.variant == other.variant


def this_platform() -> Platform:
    """The platform of this kernel."""
    return _normal("linux", os.uname().machine, "")


def parse_platform(value: str) -> Platform:
    """``os[/arch[/variant]]``, an architecture alone, or the JSON form that the API uses from 1.48.

    Raises InvalidParameter.
    """
    if value.startswith("{"):
        return _json_platform(value)
    parts = value.strip().lower().split("/")
    for part in parts:
        if not _COMPONENT.fullmatch(part):
            raise InvalidParameter(
                f'"{part}" is an invalid component of "{value}": platform specifier component must'
                f' match "^{_COMPONENT.pattern}$": invalid argument'
            )
    if len(parts) > 3:
        raise InvalidParameter(f'"{value}": cannot parse platform specifier: invalid argument')
    if len(parts) == 1:
        if parts[0] in _SYSTEMS:
            here = this_platform()
            return Platform(parts[0], here.architecture, here.variant)
        if parts[0] not in _ALIASES and parts[0] not in _ARCHITECTURES:
            raise InvalidParameter(
                f'"{value}": unknown operating system or architecture: invalid argument'
            )
        parts = ["linux", parts[0]]
    return _normal(*parts)


def _normal(system: str, architecture: str, variant: str = "") -> Platform:
    architecture, implied = _ALIASES.get(architecture, (architecture, ""))
    variant = variant or implied
    return Platform(system, architecture, _VARIANTS.get((architecture, variant), variant))


def _json_platform(value: str) -> Platform:
    raw = parse_object(value.encode(), "platform")
    fields = (text(raw, "os"), text(raw, "architecture"), text(raw, "variant"))
    if not fields[0] or not fields[1]:
        raise InvalidParameter(f"invalid platform {value!r}: os and architecture must be given")
    return _normal(*fields)
