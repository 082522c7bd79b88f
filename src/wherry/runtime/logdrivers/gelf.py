"""Lines as GELF messages (Graylog Extended Log Format 1.1)."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator

from wherry.runtime.logdrivers.record import LogRecord, LogSource

CHUNK_BYTES = 1420
"""Payload of one datagram of a chunked message: fits an Ethernet frame with all headers."""
MAX_CHUNKS = 128
CHUNK_MAGIC = b"\x1e\x0f"
LEVEL_ERROR, LEVEL_INFO = 3, 6


def encode(record: LogRecord, source: LogSource) -> bytes:
    """One GELF document as JSON."""
    fields = {
        "version": "1.1",
        "host": source.hostname,
        "short_message": record.line.decode(errors="replace"),
        "timestamp": record.time_ns / 1e9,
        "level": LEVEL_ERROR if record.stream == "stderr" else LEVEL_INFO,
        "_container_id": source.container_id,
        "_container_name": source.container_name,
        "_image_id": source.image_id,
        "_image_name": source.image_name,
        "_command": source.command,
        "_created": source.created,
        "_tag": source.tag,
    }
    fields |= {f"_{name}": value for name, value in source.attributes.items()}
    return json.dumps(fields, separators=(",", ":")).encode()


def compress(document: bytes, kind: str, level: int) -> bytes:
    """``kind`` is the option ``gelf-compression-type``: gzip, zlib or none."""
    if kind == "none":
        return document
    window = 31 if kind == "gzip" else 15
    squeezer = zlib.compressobj(level, zlib.DEFLATED, window)
    return squeezer.compress(document) + squeezer.flush()


def datagrams(message: bytes) -> Iterator[bytes]:
    """The message as one datagram, or in chunks; too large a message (over 128) is dropped."""
    if len(message) <= CHUNK_BYTES:
        yield message
        return
    pieces = [message[at : at + CHUNK_BYTES] for at in range(0, len(message), CHUNK_BYTES)]
    if len(pieces) > MAX_CHUNKS:
        return
    identity = os.urandom(8)
    for number, piece in enumerate(pieces):
        yield CHUNK_MAGIC + identity + bytes((number, len(pieces))) + piece
