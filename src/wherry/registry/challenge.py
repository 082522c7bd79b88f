"""What a registry's ``WWW-Authenticate`` header asks for (RFC 9110 section 11, RFC 6750)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))\s*(?:,|$)')
_SCHEME = re.compile(rf"\s*({_TOKEN})(?:\s*,|\s+|$)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One scheme, in lower case, with its parameters."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """All challenges of a header, in order; parts that follow no grammar are left out."""
    challenges: list[Challenge] = []
    at = 0
    while at < len(header):
        found = _PARAMETER.match(header, at)
        if found and challenges:
            quoted, plain = found[2], found[3]
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            challenges[-1].parameters[found[1].lower()] = value
            at = found.end()
            continue
        found = _SCHEME.match(header, at)
        if not found:
            break
        challenges.append(Challenge(found[1].lower(), {}))
        at = found.end()
    return challenges
