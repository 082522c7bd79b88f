"""Log drivers: options, encodings, and real sockets at the other end."""

import gzip
import io
import json
import socket
import threading
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import InvalidParameter
from wherry.runtime.logdrivers import fluentd, gelf, journald, sender, syslog
from wherry.runtime.logdrivers.channel import Channel
from wherry.runtime.logdrivers.options import parse_address, parse_size, validate
from wherry.runtime.logdrivers.record import LogRecord, LogSource

RECORD = LogRecord("stdout", b"hello", 1_700_000_000_123_456_789)
SOURCE = LogSource(
    container_id="c" * 64,
    container_name="web",
    image_id="sha256:" + "a" * 64,
    image_name="busybox",
    command="echo hello",
    created="2026-01-01T00:00:00Z",
    hostname="host",
    tag="cccccccccccc",
    attributes={"tier": "front"},
)


@pytest.mark.parametrize(
    ("driver", "options"),
    [
        ("json-file", {"max-size": "10m", "max-file": "3", "compress": "true", "tag": "x"}),
        ("json-file", {"max-size": "-1"}),
        ("local", {"max-file": "5"}),
        ("none", {}),
        ("syslog", {"syslog-address": "tcp://127.0.0.1:514", "syslog-format": "rfc5424"}),
        ("syslog", {"syslog-address": "unixgram:///dev/log", "syslog-facility": "local3"}),
        ("gelf", {"gelf-address": "udp://127.0.0.1:12201", "gelf-compression-type": "zlib"}),
        ("fluentd", {"fluentd-address": "localhost:24224", "fluentd-async": "true"}),
        ("journald", {"labels": "a,b"}),
        ("json-file", {"mode": "non-blocking", "max-buffer-size": "4m"}),
    ],
)
def test_valid_options_pass(driver: str, options: dict[str, str]) -> None:
    validate(driver, options)


@pytest.mark.parametrize(
    ("driver", "options", "message"),
    [
        ("nosuch", {}, 'error looking up logging plugin nosuch: plugin "nosuch" not found'),
        ("json-file", {"nope": "1"}, "unknown log opt 'nope' for json-file log driver"),
        ("json-file", {"max-size": "10m", "max-file": "0"}, "max-file cannot be less than 1"),
        ("json-file", {"max-file": "3"}, "max-file specified without max-size"),
        ("json-file", {"max-size": "ten"}, "is not a size"),
        ("json-file", {"mode": "odd"}, "logging mode not supported: odd"),
        ("json-file", {"max-buffer-size": "1m"}, "only supported with 'mode=non-blocking'"),
        ("syslog", {"syslog-address": "http://x"}, "must start with one of"),
        ("syslog", {"syslog-facility": "nope"}, "invalid syslog facility: nope"),
        ("syslog", {"syslog-format": "nope"}, "invalid syslog format: nope"),
        ("gelf", {}, "gelf-address is a required parameter"),
        ("gelf", {"gelf-address": "udp://h:1", "gelf-compression-type": "br"}, "unknown"),
        ("gelf", {"gelf-address": "udp://h:1", "gelf-compression-level": "12"}, "between"),
        ("fluentd", {"fluentd-async": "maybe"}, "is not a boolean"),
        ("fluentd", {"fluentd-address": "tcp://h:99999"}, "bad port"),
    ],
)
def test_wrong_options_are_refused(driver: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        validate(driver, options)


@pytest.mark.parametrize(
    ("text", "size"), [("10m", 10 << 20), ("1.5k", 1536), ("4096", 4096), ("2GB", 2 << 30)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size("max-size", text) == size


def test_a_default_port_is_added() -> None:
    assert parse_address("a", "udp://[::1]", 514, ("udp",)).netloc == "[::1]:514"


def test_syslog_forms() -> None:
    wanted = {
        "rfc3164": (b"<30>", b" host cccccccccccc[", b"]: hello\n"),
        "rfc5424": (b"<30>1 2023-11-14T22:13:20Z host cccccccccccc ", b" - hello\n"),
        "rfc5424micro": (b"<30>1 2023-11-14T22:13:20.123456", b" cccccccccccc - hello\n"),
        "": (b"<30>", b"cccccccccccc[", b"]: hello\n"),
    }
    for style, parts in wanted.items():
        message = syslog.encoder(style, 3, False)(RECORD, SOURCE)
        assert message.startswith(parts[0])
        assert all(part in message for part in parts)
        assert message.endswith(parts[-1])


def test_syslog_errors_and_octet_counts() -> None:
    message = syslog.encoder("rfc5424", 3, True)(RECORD._replace(stream="stderr"), SOURCE)
    count, rest = message.split(b" ", 1)
    assert int(count) == len(rest)
    assert rest.startswith(b"<27>1 ")


def test_gelf_document() -> None:
    document = json.loads(gelf.encode(RECORD, SOURCE))
    assert document["version"] == "1.1"
    assert document["short_message"] == "hello"
    assert document["_container_name"] == "web"
    assert document["_tier"] == "front"
    assert document["level"] == 6
    assert document["timestamp"] == pytest.approx(1_700_000_000.123)


def test_gelf_compression() -> None:
    assert gzip.decompress(gelf.compress(b"x" * 99, "gzip", 1)) == b"x" * 99
    assert zlib.decompress(gelf.compress(b"x" * 99, "zlib", -1)) == b"x" * 99
    assert gelf.compress(b"x", "none", 1) == b"x"


@given(st.binary(max_size=200_000))
def test_gelf_chunks_join_to_the_message(message: bytes) -> None:
    pieces = list(gelf.datagrams(message))
    if len(message) <= gelf.CHUNK_BYTES:
        assert pieces == [message]
    elif len(message) > gelf.CHUNK_BYTES * gelf.MAX_CHUNKS:
        assert pieces == []
    else:
        assert b"".join(piece[12:] for piece in pieces) == message
        assert {piece[11] for piece in pieces} == {len(pieces)}
        assert [piece[10] for piece in pieces] == list(range(len(pieces)))


def test_fluentd_message_is_message_pack() -> None:
    message = fluentd.encode(RECORD._replace(partial=True), SOURCE, sub_second=True)
    assert message[:1] == b"\x93"
    assert message[1:14] == b"\xaccccccccccccc"
    assert message[14:16] == b"\xd7\x00"
    assert message[24] == 0x86
    for text in (b"\xa3log\xa5hello", b"\xa6source\xa6stdout", b"\xa4tier\xa5front"):
        assert text in message
    assert fluentd.encode(RECORD, SOURCE, sub_second=False)[14:15] == b"\xce"


def test_journald_fields() -> None:
    datagram = journald.encode(RECORD._replace(line=b"two\nlines"), SOURCE)
    assert datagram.startswith(b"MESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\nPRIORITY=6\n")
    assert b"CONTAINER_NAME=web\n" in datagram
    assert b"TIER=front\n" in datagram
    assert journald.field_name("_my-label.x") == "MY_LABEL_X"


@given(
    st.lists(
        st.builds(
            LogRecord,
            st.sampled_from(["stdout", "stderr"]),
            st.binary(max_size=100),
            st.integers(0, 2**63),
            st.booleans(),
        )
    )
)
def test_frames_round_trip(records: list[LogRecord]) -> None:
    pipe = io.BytesIO(b"".join(map(sender.pack, records)) + b"torn")
    assert list(sender.unpack(pipe)) == records


def test_lines_arrive_at_a_datagram_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        server.settimeout(5)
        options = {"syslog-address": f"unixgram://{path}", "syslog-format": "rfc3164"}
        sender.run(io.BytesIO(sender.pack(RECORD)), "syslog", options, SOURCE)
        assert server.recv(4096).endswith(b": hello\n")


def test_a_stream_reconnects_when_the_service_comes_back() -> None:
    received = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            first, _ = server.accept()
            first.close()
            second, _ = server.accept()
            with second:
                while data := second.recv(4096):
                    received.extend(data)

        thread = threading.Thread(target=serve)
        thread.start()
        channel = Channel(urlsplit(f"tcp://127.0.0.1:{port}"), attempts=50, pause=0.05)
        for number in range(60):
            assert channel.send(b"%d;" % number)
            if received:
                break
            threading.Event().wait(0.02)
        channel.close()
        thread.join(10)
    assert received


def test_a_message_is_dropped_after_its_attempts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    channel = Channel(urlsplit(f"tcp://127.0.0.1:{port}"), attempts=2, pause=0.01)
    assert channel.send(b"x") is False
