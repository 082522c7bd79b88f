"""SHA-256 of uploads so far, shared by the processes that share a port.

A push asks for an upload, sends the bytes and ends the upload in three requests, and any process
may get each. The one that received the bytes has their hash; the one that ends the upload
would otherwise read everything again. The memory dies with the processes: nothing here outlives a
crash in which the bytes themselves may have been lost.
"""

from __future__ import annotations

import mmap
import struct
import zlib

_SLOT = struct.Struct("=I16sQ32s4x")  # check sum, upload, size, digest; 64 bytes
_SLOTS = 4096


class Digests:
    """The latest of a few thousand uploads; made before the processes are forked."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SLOTS * _SLOT.size)

    def note(self, upload: str, size: int, hexdigest: str) -> None:
        """Remembers the SHA-256 of an upload's first ``size`` bytes, which are all it has."""
        name, digest = bytes.fromhex(upload), bytes.fromhex(hexdigest)
        check = _check(name, size, digest)
        _SLOT.pack_into(self._memory, _offset(name), check, name, size, digest)

    def find(self, upload: str, size: int) -> str | None:
        """The SHA-256 of an upload that has ``size`` bytes, in hexadecimal, if it is known."""
        name = bytes.fromhex(upload)
        check, noted, noted_size, digest = _SLOT.unpack_from(self._memory, _offset(name))
        # The check sum tells a slot that another process is just writing.
        whole = (noted, noted_size) == (name, size) and check == _check(noted, size, digest)
        return digest.hex() if whole else None


def _offset(name: bytes) -> int:
    return int.from_bytes(name[:4]) % _SLOTS * _SLOT.size


def _check(name: bytes, size: int, digest: bytes) -> int:
    return zlib.crc32(name + size.to_bytes(8) + digest)
