"""Lines as journal entries (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""

from __future__ import annotations

import re
import struct

from wherry.runtime.logdrivers.record import LogRecord, LogSource

SOCKET = "/run/systemd/journal/socket"
PRIORITY_ERROR, PRIORITY_INFO = "3", "6"
_NOT_A_FIELD_CHARACTER = re.compile(r"[^A-Z0-9_]")


def encode(record: LogRecord, source: LogSource) -> bytes:
    """One datagram: fields as ``NAME=value`` lines, values with newlines length-prefixed."""
    fields = {
        "MESSAGE": record.line,
        "PRIORITY": (PRIORITY_ERROR if record.stream == "stderr" else PRIORITY_INFO).encode(),
        "CONTAINER_ID": source.container_id[:12].encode(),
        "CONTAINER_ID_FULL": source.container_id.encode(),
        "CONTAINER_NAME": source.container_name.encode(),
        "CONTAINER_TAG": source.tag.encode(),
        "IMAGE_NAME": source.image_name.encode(),
        "SYSLOG_IDENTIFIER": source.tag.encode(),
        "SYSLOG_TIMESTAMP": str(record.time_ns).encode(),
    }
    if record.partial:
        fields["CONTAINER_PARTIAL_MESSAGE"] = b"true"
    fields |= {field_name(name): value.encode() for name, value in source.attributes.items()}
    return b"".join(_field(name, value) for name, value in fields.items())


def field_name(name: str) -> str:
    """A name that the journal takes: upper case, digits, underscores, no leading underscore."""
    return _NOT_A_FIELD_CHARACTER.sub("_", name.upper()).lstrip("_")[:64] or "FIELD"


def _field(name: str, value: bytes) -> bytes:
    if b"\n" not in value:
        return name.encode() + b"=" + value + b"\n"
    return name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
