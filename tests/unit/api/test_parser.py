"""The parser with Docker's upgrades, over aiohttp's parsers in C and in Python."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from aiohttp._http_parser import HttpRequestParser as ParserInC  # type: ignore[import-untyped]
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParserPy
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.api.parser import RequestParser

PARSERS = [ParserInC, HttpRequestParserPy]
HEADS = {
    "none": b"",
    "empty": b"Content-Length: 0\r\n",
    "length": b"Content-Length: 7\r\n",
    "chunked": b"Transfer-Encoding: chunked\r\n",
}
BODIES = {
    "none": b"",
    "empty": b"",
    "length": b"\r\n\r\nPOS",
    "chunked": b"7\r\n\r\n\r\nPOS\r\n0\r\n\r\n",
}
PLAIN = b"GET /before HTTP/1.1\r\nHost: e\r\n\r\n"
# What an upgrade looks like, for bodies: nothing in a body is a request.
BAIT = b"POST / HTTP/1.1\r\nUpgrade: tcp\r\n\r\n"


def parser(kind: Any, most: int = 32) -> RequestParser:
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    inner = kind(
        protocol,
        loop,
        1 << 30,  # bodies are read at the end of a test
        payload_exception=web.RequestPayloadError,
        auto_decompress=False,
        max_line_size=1 << 16,
        max_field_size=1 << 16,
        max_msg_queue_size=1,
    )
    return RequestParser(inner, most)


def upgrade(protocol: str, body: str) -> bytes:
    return (
        b"POST /upgraded HTTP/1.1\r\nHost: e\r\nConnection: Upgrade\r\nUpgrade: "
        + protocol.encode()
        + b"\r\n"
        + HEADS[body]
        + b"\r\n"
        + BODIES[body]
    )


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({place % (len(data) + 1) for place in at})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


class Fed:
    """All that a parser made of some segments."""

    def __init__(self, made: RequestParser, segments: list[bytes]) -> None:
        self.requests: list[tuple[Any, Any]] = []
        self.upgraded, self.rest = False, b""
        for segment in segments:
            if self.upgraded:
                self.rest += segment
                continue
            requests, self.upgraded, rest = made.feed_data(segment)
            self.requests += requests
            self.rest += rest
            for _ in requests:
                made.message_consumed()

    @property
    def paths(self) -> list[str]:
        return [request.path for request, _ in self.requests]

    async def body(self, index: int) -> bytes:
        payload = self.requests[index][1]
        assert payload.is_eof()
        data: bytes = await payload.read()
        return data


async def test_the_server_uses_one_of_the_parsers_tested_here() -> None:
    assert HttpRequestParser in PARSERS


@pytest.mark.parametrize("kind", PARSERS)
@pytest.mark.parametrize("protocol", ["tcp", "TCP", "h2c", "websocket", "other"])
@pytest.mark.parametrize("body", HEADS)
async def test_an_upgrade_in_any_segments_behind_another_keeps_what_follows(
    kind: Any, protocol: str, body: str
) -> None:
    data = PLAIN + upgrade(protocol, body) + b"early" + PLAIN
    for place in range(len(data) + 1):
        made = parser(kind)
        fed = Fed(made, [data[:place], data[place:]])
        assert fed.paths == ["/before", "/upgraded"], place
        assert (fed.upgraded, fed.rest) == (True, b"early" + PLAIN), place
        assert made.upgrade == protocol
        if body in ("length", "chunked"):
            assert await fed.body(1) == b"\r\n\r\nPOS"
    made = parser(kind)
    assert Fed(made, [data[i : i + 1] for i in range(len(data))]).rest == b"early" + PLAIN


@pytest.mark.parametrize("kind", PARSERS)
@pytest.mark.parametrize("protocol", ["tcp", "h2c", "websocket"])
@pytest.mark.parametrize("body", HEADS)
async def test_after_a_declined_upgrade_http_goes_on(kind: Any, protocol: str, body: str) -> None:
    made = parser(kind)
    fed = Fed(made, [upgrade(protocol, body) + PLAIN + upgrade(protocol, body) + b"x"])
    assert fed.upgraded
    made.set_upgraded(False)
    assert made.upgrade == ""
    again = Fed(made, [fed.rest])
    assert again.paths == ["/before", "/upgraded"]
    assert again.rest == b"x"


@pytest.mark.parametrize("kind", PARSERS)
async def test_an_upgrade_without_connection_upgrade_is_none(kind: Any) -> None:
    fed = Fed(parser(kind), [b"POST /a HTTP/1.1\r\nHost: e\r\nUpgrade: tcp\r\n\r\n" + PLAIN])
    assert (fed.paths, fed.upgraded) == (["/a", "/before"], False)


@pytest.mark.parametrize("kind", PARSERS)
async def test_an_upgrade_to_nothing_loses_nothing(kind: Any) -> None:
    request = b"GET /a HTTP/1.1\r\nHost: e\r\nConnection: upgrade\r\nUpgrade:\r\n\r\n"
    made = parser(kind)
    fed = Fed(made, [request + PLAIN])
    paths = fed.paths
    if fed.upgraded:
        made.set_upgraded(False)
        paths += Fed(made, [fed.rest]).paths
    assert paths == ["/a", "/before"]


PIECES = st.lists(
    st.sampled_from([BAIT, b"\r\n\r\n", b"\r\n0\r\n\r\n", PLAIN, b"POST /", b"0", b"\0", b"\n"])
    | st.binary(max_size=40),
    max_size=12,
).map(b"".join)


@pytest.mark.parametrize("kind", PARSERS)
@settings(max_examples=150, deadline=None)
@given(
    bodies=st.lists(PIECES, min_size=1, max_size=3),
    chunked=st.booleans(),
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    at=st.lists(st.integers(0, 4000), max_size=12),
    most=st.sampled_from([1, 2, 32]),
)
def test_any_body_cut_anywhere_arrives_unchanged(
    kind: Any, bodies: list[bytes], chunked: bool, sizes: list[int], at: list[int], most: int
) -> None:
    async def run() -> None:
        data = b""
        for body in bodies:
            head = b"POST /images/load HTTP/1.1\r\nHost: e\r\n"
            if chunked:
                data += head + b"Transfer-Encoding: chunked\r\n\r\n" + _chunks(body, sizes)
            else:
                data += head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        made = parser(kind, most)
        fed = Fed(made, [*cut(data, at), *([b""] * len(bodies))])
        assert (fed.upgraded, fed.rest) == (False, b"")
        assert fed.paths == ["/images/load"] * len(bodies)
        assert [await fed.body(index) for index in range(len(bodies))] == bodies

    asyncio.run(run())


def _chunks(body: bytes, sizes: list[int]) -> bytes:
    made, turn = b"", 0
    while body:
        size = sizes[turn % len(sizes)]
        piece, body, turn = body[:size], body[size:], turn + 1
        made += b"%x\r\n%s\r\n" % (len(piece), piece)
    return made + b"0\r\n\r\n"


@pytest.mark.parametrize("kind", PARSERS)
async def test_no_more_requests_are_parsed_than_may_wait(kind: Any) -> None:
    made = parser(kind, most=2)
    assert len(made.feed_data(PLAIN * 5)[0]) == 2
    assert made.feed_data(PLAIN)[0] == []
    made.message_consumed()
    assert len(made.feed_data(b"")[0]) == 1
    made.message_consumed()
    made.message_consumed()
    assert len(made.feed_data(b"")[0]) == 2
    made.message_consumed()
    assert len(made.feed_data(b"")[0]) == 1


HEAD = b"POST /a HTTP/1.1\r\nHost: e\r\n"
SMUGGLING = {
    "both lengths": HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, turned": HEAD
    + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
    "a list of lengths": HEAD + b"Content-Length: 4, 4\r\n\r\nabcd",
    "a signed length": HEAD + b"Content-Length: +4\r\n\r\nabcd",
    "a negative length": HEAD + b"Content-Length: -4\r\n\r\nabcd",
    "a hexadecimal length": HEAD + b"Content-Length: 0x4\r\n\r\nabcd",
    "chunked not last": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked misspelt": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded line": HEAD + b"X: a\r\n b\r\n\r\n",
    "a folded length": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a bare line feed": b"POST /a HTTP/1.1\nHost: e\n\n",
    "a bare line feed in a head": HEAD + b"X: a\nContent-Length: 4\r\n\r\nabcd",
    "a bare carriage return": HEAD + b"X: a\rContent-Length: 4\r\n\r\nabcd",
    "a space before the colon": HEAD + b"Content-Length : 4\r\n\r\nabcd",
    "a name with a null": HEAD + b"X\0: a\r\n\r\n",
    "two hosts": HEAD + b"Host: f\r\n\r\n",
    "no host": b"POST /a HTTP/1.1\r\n\r\n",
    "a header without a name": HEAD + b": a\r\n\r\n",
}
BAD_CHUNKS = {
    "no number": b"x\r\nabcd\r\n0\r\n\r\n",
    "a sign": b"+4\r\nabcd\r\n0\r\n\r\n",
    "a prefix": b"0x4\r\nabcd\r\n0\r\n\r\n",
    "too long for its size": b"2\r\nabcd\r\n0\r\n\r\n",
    "a bare line feed": b"4\nabcd\r\n0\r\n\r\n",
    "a line feed in an extension": b"4;a\nb\r\nabcd\r\n0\r\n\r\n",
    "a space": b"4 \r\nabcd\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("kind", PARSERS)
@pytest.mark.parametrize("name", SMUGGLING)
async def test_heads_that_two_parsers_may_read_differently_are_refused(
    kind: Any, name: str
) -> None:
    made = parser(kind)
    with pytest.raises(HttpProcessingError):
        made.feed_data(SMUGGLING[name] + PLAIN)
    assert made.feed_data(PLAIN)[0] == []  # and nothing behind is a request


@pytest.mark.parametrize("kind", PARSERS)
@pytest.mark.parametrize("name", BAD_CHUNKS)
async def test_bodies_that_two_parsers_may_read_differently_fail(kind: Any, name: str) -> None:
    made = parser(kind)
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    ((_, payload),) = made.feed_data(head)[0]
    assert made.feed_data(BAD_CHUNKS[name] + PLAIN)[0] == []
    assert made.broken_body
    with pytest.raises(web.RequestPayloadError):
        await payload.read()
    assert made.feed_data(PLAIN)[0] == []


@pytest.mark.parametrize("kind", PARSERS)
async def test_what_is_good_before_a_fault_is_answered(kind: Any) -> None:
    made = parser(kind)
    assert len(made.feed_data(PLAIN + b"nonsense\r\n\r\n")[0]) == 1
    assert made.failed
    with pytest.raises(HttpProcessingError):
        made.feed_data(b"")
    assert not made.failed


@pytest.mark.parametrize("kind", PARSERS)
async def test_http2_without_an_upgrade_is_refused_by_its_version(kind: Any) -> None:
    made = parser(kind)
    with pytest.raises(HttpProcessingError) as caught:
        made.feed_data(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
    assert caught.value.code == 505


@pytest.mark.parametrize("kind", PARSERS)
async def test_a_head_is_bounded_as_a_whole(kind: Any) -> None:
    made = parser(kind)
    made.feed_data(HEAD)
    field = b"X: " + b"a" * 60_000 + b"\r\n"
    for _ in range(17):
        made.feed_data(field)
    assert len(made.feed_data(b"\r\n" + HEAD)[0]) == 1  # and the next one is counted anew
    for _ in range(17):
        made.feed_data(field)
    with pytest.raises(HttpProcessingError) as caught:
        made.feed_data(field)
    assert caught.value.code == 431
