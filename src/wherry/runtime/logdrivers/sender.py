"""The process that sends one container's lines to a log service.

Services may be slow or away, and a shim must never wait for one: it forks a sender and feeds it
through a pipe. A full pipe is the back-pressure that the option ``mode`` speaks of: in blocking
mode the shim stops reading the container's output, in non-blocking mode it drops lines.

Frame in the pipe: ``<time_ns u64><length u32><flags u8><line>``, flags bit 0 = stderr, bit 1 =
partial.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO
from urllib.parse import urlsplit

from wherry.runtime.logdrivers import fluentd, gelf, journald, syslog
from wherry.runtime.logdrivers.channel import Channel
from wherry.runtime.logdrivers.options import FACILITIES, parse_address, parse_bool
from wherry.runtime.logdrivers.record import LogRecord, LogSource

_HEAD = struct.Struct("<QIB")
_STDERR, _PARTIAL = 1, 2
Send = Callable[[LogRecord], object]


def pack(record: LogRecord) -> bytes:
    """The frame of one record."""
    flags = _STDERR * (record.stream == "stderr") | _PARTIAL * record.partial
    return _HEAD.pack(record.time_ns, len(record.line), flags) + record.line


def unpack(pipe: BinaryIO) -> Iterator[LogRecord]:
    """All records until the writer closes the pipe; a torn last frame is dropped."""
    while len(head := pipe.read(_HEAD.size)) == _HEAD.size:
        time_ns, length, flags = _HEAD.unpack(head)
        line = pipe.read(length)
        if len(line) < length:
            return
        stream = "stderr" if flags & _STDERR else "stdout"
        yield LogRecord(stream, line, time_ns, bool(flags & _PARTIAL))


def run(pipe: BinaryIO, driver: str, options: Mapping[str, str], source: LogSource) -> None:
    """Send everything that comes out of ``pipe``; returns when the shim closed it."""
    send = opener(driver, options, source)
    for record in unpack(pipe):
        send(record)


def opener(driver: str, options: Mapping[str, str], source: LogSource) -> Send:
    """The sending function of a driver; ``options`` were validated before."""
    return _OPENERS[driver](options, source)


def _open_syslog(options: Mapping[str, str], source: LogSource) -> Send:
    text = options.get("syslog-address") or "unixgram:///dev/log"
    address = parse_address(
        "syslog-address", text, 514, ("udp", "tcp", "tcp+tls", "unix", "unixgram")
    )
    facility = options.get("syslog-facility", "daemon")
    number = int(facility) if facility.isdigit() else FACILITIES[facility]
    style = options.get("syslog-format", "")
    framed = address.scheme == "tcp+tls" and style.startswith("rfc5424")
    encode = syslog.encoder(style, number, framed)
    tls = {
        name: options[f"syslog-tls-{name}"]
        for name in ("ca-cert", "cert", "key", "skip-verify")
        if f"syslog-tls-{name}" in options
    }
    channel = Channel(address, tls=tls)
    return lambda record: channel.send(encode(record, source))


def _open_gelf(options: Mapping[str, str], source: LogSource) -> Send:
    address = parse_address("gelf-address", options["gelf-address"], 12201, ("udp", "tcp"))
    if address.scheme == "tcp":
        attempts = int(options.get("gelf-tcp-max-reconnect", "3"))
        pause = float(options.get("gelf-tcp-reconnect-delay", "1"))
        stream = Channel(address, attempts=attempts, pause=pause)
        return lambda record: stream.send(gelf.encode(record, source) + b"\0")
    channel = Channel(address)
    kind = options.get("gelf-compression-type", "gzip")
    level = int(options.get("gelf-compression-level", "1"))

    def send(record: LogRecord) -> None:
        for datagram in gelf.datagrams(gelf.compress(gelf.encode(record, source), kind, level)):
            channel.send(datagram)

    return send


def _open_fluentd(options: Mapping[str, str], source: LogSource) -> Send:
    text = options.get("fluentd-address") or "tcp://localhost:24224"
    address = parse_address("fluentd-address", text, 24224, ("tcp", "tls", "unix"))
    channel = Channel(address, attempts=int(options.get("fluentd-max-retries", "0")))
    wanted = options.get("fluentd-sub-second-precision", "false")
    sub_second = parse_bool("fluentd-sub-second-precision", wanted)
    return lambda record: channel.send(fluentd.encode(record, source, sub_second=sub_second))


def _open_journald(options: Mapping[str, str], source: LogSource) -> Send:
    channel = Channel(urlsplit(f"unixgram://{journald.SOCKET}"))
    return lambda record: channel.send(journald.encode(record, source))


_OPENERS: dict[str, Callable[[Mapping[str, str], LogSource], Send]] = {
    "syslog": _open_syslog,
    "gelf": _open_gelf,
    "fluentd": _open_fluentd,
    "journald": _open_journald,
}
