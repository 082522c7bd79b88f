"""Sizes of storage options: ``10G``, ``512m``, ``1.5t``, plain bytes."""

from __future__ import annotations

import re

from wherry.errors import InvalidParameter

_SIZE = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,19})?) ?([kKmMgGtTpP]?)(?:[iI]?[bB])?")


def parse_size(text: str) -> int:
    """Bytes, by powers of 1024 as Docker's RAMInBytes; InvalidParameter for anything else."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidParameter(f"invalid size: '{text}'")
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))
