"""Lines as syslog messages: RFC 3164 and RFC 5424."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

from wherry.runtime.logdrivers.record import LogRecord, LogSource

SEVERITY_ERROR, SEVERITY_INFO = 3, 6
Encoder = Callable[[LogRecord, LogSource], bytes]


def encoder(style: str, facility: int, framed: bool) -> Encoder:
    """The function that turns a record into one message.

    ``style`` is the option ``syslog-format``: empty for the local form without a host name,
    rfc3164, rfc5424 or rfc5424micro. ``framed`` adds the octet count that RFC 5425 wants on
    streams; other streams are separated by newlines.
    """
    write = _WRITERS[style]

    def encode(record: LogRecord, source: LogSource) -> bytes:
        severity = SEVERITY_ERROR if record.stream == "stderr" else SEVERITY_INFO
        message = write(facility * 8 + severity, record, source)
        return b"%d %s" % (len(message), message) if framed else message + b"\n"

    return encode


def _stamp(record: LogRecord) -> bytes:
    moment = time.localtime(record.time_ns // 1_000_000_000)
    return time.strftime("%b %e %H:%M:%S", moment).encode()


def _local(priority: int, record: LogRecord, source: LogSource) -> bytes:
    head = b"<%d>%s %s[%d]: " % (priority, _stamp(record), source.tag.encode(), os.getpid())
    return head + record.line


def _rfc3164(priority: int, record: LogRecord, source: LogSource) -> bytes:
    names = (source.hostname.encode(), source.tag.encode(), os.getpid())
    return b"<%d>%s %s %s[%d]: %s" % (priority, _stamp(record), *names, record.line)


def _rfc5424(priority: int, record: LogRecord, source: LogSource) -> bytes:
    return _rfc5424_line(priority, record, source, "seconds")


def _rfc5424micro(priority: int, record: LogRecord, source: LogSource) -> bytes:
    return _rfc5424_line(priority, record, source, "microseconds")


def _rfc5424_line(priority: int, record: LogRecord, source: LogSource, precision: str) -> bytes:
    seconds, nanoseconds = divmod(record.time_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)
    stamp = moment.isoformat(timespec=precision).replace("+00:00", "Z")
    tag = source.tag.encode()
    head = (priority, stamp.encode(), source.hostname.encode(), tag)
    return b"<%d>1 %s %s %s %d %s - %s" % (*head, os.getpid(), tag, record.line)


_WRITERS: dict[str, Callable[[int, LogRecord, LogSource], bytes]] = {
    "": _local,
    "rfc3164": _rfc3164,
    "rfc5424": _rfc5424,
    "rfc5424micro": _rfc5424micro,
}
