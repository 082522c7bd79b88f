"""Lines as messages of Fluentd's forward protocol v1 (message mode), in MessagePack."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from wherry.runtime.logdrivers.record import LogRecord, LogSource

EVENT_TIME = 0
"""MessagePack extension type of a time with nanoseconds."""


def encode(record: LogRecord, source: LogSource, *, sub_second: bool) -> bytes:
    """``[tag, time, {container_id, container_name, source, log, …}]``."""
    seconds, nanoseconds = divmod(record.time_ns, 1_000_000_000)
    if sub_second:
        moment = b"\xd7" + struct.pack(">bII", EVENT_TIME, seconds, nanoseconds)
    else:
        moment = b"\xce" + struct.pack(">I", seconds)
    fields = {
        "container_id": source.container_id,
        "container_name": source.container_name,
        "source": record.stream,
        "log": record.line.decode(errors="replace"),
    }
    if record.partial:
        fields["partial_message"] = "true"
    return b"\x93" + _text(source.tag) + moment + _map(fields | source.attributes)


def _map(fields: Mapping[str, str]) -> bytes:
    head = (
        bytes((0x80 | len(fields),)) if len(fields) < 16 else struct.pack(">BH", 0xDE, len(fields))
    )
    return head + b"".join(_text(name) + _text(value) for name, value in fields.items())


def _text(value: str) -> bytes:
    data = value.encode()
    if len(data) < 32:
        return bytes((0xA0 | len(data),)) + data
    if len(data) < 2**8:
        return struct.pack(">BB", 0xD9, len(data)) + data
    if len(data) < 2**16:
        return struct.pack(">BH", 0xDA, len(data)) + data
    return struct.pack(">BI", 0xDB, len(data)) + data
