import asyncio
import socket
import ssl
from pathlib import Path

import pytest
from tests.unit.api.fake import exchange, free_port, serving

from wherry.api.serve import Address
from wherry.api.tls import TLSFiles
from wherry.engine.logs import frame

ATTACH = (
    b"POST /v1.51/containers/c1/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: e\r\n"
    b"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
)


async def test_the_connection_becomes_a_raw_stream(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(ATTACH)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n")
        assert b"Content-Type: application/vnd.docker.multiplexed-stream\r\n" in head
        assert b"Upgrade: tcp\r\n" in head
        writer.write(b"hello")
        assert await reader.readexactly(13) == frame("stdout", b"hello")
        writer.write_eof()
        assert await reader.read() == frame("stdout", b"end")
        writer.close()


async def test_input_sent_with_the_request_is_not_lost(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(ATTACH + b"early")
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(13) == frame("stdout", b"early")
        writer.write_eof()
        assert await reader.read() == frame("stdout", b"end")
        writer.close()


async def test_megabytes_right_behind_the_request_are_not_lost(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        reader, writer = await asyncio.open_unix_connection(server.path)
        data = bytes(range(256)) * 8192
        writer.write(ATTACH + data)
        writer.write_eof()
        await reader.readuntil(b"\r\n\r\n")
        received = b""
        while not received.endswith(b"end"):
            header = await reader.readexactly(8)
            received += await reader.readexactly(int.from_bytes(header[4:], "big"))
        assert received == data + b"end"
        writer.close()


@pytest.mark.parametrize("before", [b"", b"GET /_ping HTTP/1.1\r\nHost: e\r\n\r\n"])
async def test_a_head_in_segments_behind_another_request_is_an_upgrade(
    tmp_path: Path, before: bytes
) -> None:
    async with serving(tmp_path) as server:
        for place in (1, 40, len(ATTACH) - 3, len(ATTACH) - 1):
            reader, writer = await asyncio.open_unix_connection(server.path)
            writer.write(before + ATTACH[:place])
            if before:  # its answer shows that the first segment was read
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
                await reader.readexactly(2)
            writer.write(ATTACH[place:] + b"early")
            writer.write_eof()
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
            assert await reader.read() == frame("stdout", b"early") + frame("stdout", b"end")
            writer.close()


async def test_a_declined_upgrade_of_a_client_that_sends_no_more_ends(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        ping = b"GET /_ping HTTP/1.1\r\nHost: e\r\n\r\n"
        request = ping + ATTACH.replace(b"c1", b"c2") + ping
        answer = await exchange(server.path, request, finish=True)
        assert answer.count(b"HTTP/1.1 200") == 2
        assert answer.count(b"HTTP/1.1 404") == 1


async def test_an_upgrade_whose_body_never_comes_ends_with_its_client(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        request = ATTACH.replace(b"Content-Length: 0", b"Content-Length: 9") + b"half"
        assert await exchange(server.path, request, finish=True) == b""


async def test_an_upgrade_with_a_body_hands_on_what_is_behind_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for framing, body in (
            (b"Content-Length: 13", b'{"a":"\r\n\r\nPO"'),
            (b"Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"),
        ):
            request = ATTACH.replace(b"Content-Length: 0", framing) + body + b"early"
            answer = await exchange(server.path, request, finish=True)
            assert answer.endswith(frame("stdout", b"early") + frame("stdout", b"end")), answer


async def test_without_upgrade_the_answer_is_200(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(
            b"POST /v1.41/containers/c1/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: e\r\n\r\n"
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Content-Type: application/vnd.docker.raw-stream\r\n" in head
        writer.write(b"hi")
        assert await reader.readexactly(10) == frame("stdout", b"hi")
        writer.close()


async def test_a_failure_before_the_upgrade_leaves_the_connection_usable(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(ATTACH.replace(b"c1", b"c2"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404")
        await reader.readuntil(b"}\n")
        writer.write(b"GET /_ping HTTP/1.1\r\nHost: e\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_many_megabytes_pass_unharmed(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(ATTACH)
        await reader.readuntil(b"\r\n\r\n")
        data = bytes(range(256)) * 16384

        async def receive() -> bytes:
            received = b""
            while len(received) < len(data):
                header = await reader.readexactly(8)
                received += await reader.readexactly(int.from_bytes(header[4:], "big"))
            return received

        receiving = asyncio.create_task(receive())
        writer.write(data)
        assert await receiving == data
        writer.close()


def call_over_tls(files: TLSFiles, port: int, *, with_certificate: bool) -> bytes:
    """A client that ends its sending side with close_notify and reads on, as Go's does."""
    context = ssl.create_default_context(cafile=files.certificate)
    if with_certificate:
        context.load_cert_chain(files.certificate, files.key)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    received = b""
    with socket.create_connection(("localhost", port), timeout=20) as sock:

        def step(action: object) -> bytes:
            while True:
                try:
                    result = action()  # type: ignore[operator]
                    sock.sendall(outgoing.read())
                    return result if isinstance(result, bytes) else b""
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    data = sock.recv(65536)
                    if not data:
                        incoming.write_eof()
                    incoming.write(data)

        step(tls.do_handshake)
        step(lambda: tls.write(ATTACH + b"over tls"))
        while b"over tls" not in received:
            received += step(lambda: tls.read(65536))
        try:
            tls.unwrap()
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
        while data := sock.recv(65536):
            incoming.write(data)
        incoming.write_eof()
    return received


async def test_tls_with_a_client_certificate(tmp_path: Path, certificate: TLSFiles) -> None:
    port = free_port()
    async with serving(tmp_path, Address("tcp", "127.0.0.1", port), certificate):
        answer = await asyncio.to_thread(call_over_tls, certificate, port, with_certificate=True)
        assert answer.startswith(b"HTTP/1.1 101 UPGRADED")
        assert answer.endswith(frame("stdout", b"over tls"))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.to_thread(call_over_tls, certificate, port, with_certificate=False)
