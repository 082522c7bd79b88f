import asyncio
import json
from pathlib import Path

import pytest
from tests.unit.api.fake import exchange, get, serving

from wherry.api import replies


def message(answer: bytes) -> str:
    text = json.loads(answer.partition(b"\r\n\r\n")[2])["message"]
    assert isinstance(text, str)
    return text


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_every_answer_carries_the_headers(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for target in ("/_ping", "/version", "/nowhere", "/v9.99/version"):
            head = (await get(server.path, target)).partition(b"\r\n\r\n")[0].decode()
            for name, value in replies.common_headers(experimental=False).items():
                assert f"\r\n{name}: {value}" in head


async def test_ping_tells_what_the_daemon_is(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        head, _, body = (await get(server.path, "/_ping")).partition(b"\r\n\r\n")
        assert body == b"OK"
        assert b"Swarm: inactive" in head
        assert b"Builder-Version: 2" in head
        assert b"Cache-Control: no-cache, no-store, must-revalidate" in head
        head, _, body = (await get(server.path, "/_ping", "HEAD")).partition(b"\r\n\r\n")
        assert (status(head), body) == (200, b"")


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (
            "/v1.99/version",
            "client version 1.99 is too new. Maximum supported API version is 1.51",
        ),
        (
            "/v1.11/version",
            "client version 1.11 is too old. Minimum supported API version is 1.12, please"
            " upgrade your client to a newer version",
        ),
    ],
)
async def test_versions_out_of_range(tmp_path: Path, target: str, text: str) -> None:
    async with serving(tmp_path) as server:
        answer = await get(server.path, target)
        assert (status(answer), message(answer)) == (400, text)


@pytest.mark.parametrize("target", ["/version", "/v1.24/version", "//v1.51//version", "/%76ersion"])
async def test_paths_with_and_without_version(tmp_path: Path, target: str) -> None:
    async with serving(tmp_path) as server:
        assert status(await get(server.path, target)) == 200


@pytest.mark.parametrize(
    ("target", "code", "text"),
    [
        ("/nowhere", 404, "page not found"),
        ("/containers/none/start", 404, "No such container: none"),
        ("/containers/taken/start", 409, "in use"),
        ("/containers/bug/start", 500, "internal error"),
        ("/containers/c1/wait?condition=never", 400, "invalid condition"),
        ("/swarm/leave", 503, "not part of a swarm"),
        ("/plugins/x/enable", 404, "not found"),
    ],
)
async def test_failures_have_one_form(tmp_path: Path, target: str, code: int, text: str) -> None:
    async with serving(tmp_path) as server:
        answer = await get(server.path, target, "POST")
        assert status(answer) == code
        assert text in message(answer)
        assert b"Traceback" not in answer


@pytest.mark.parametrize(
    ("body", "headers", "text"),
    [
        (b"{", [], "invalid JSON: unexpected EOF"),
        (b"{x}", [], "invalid JSON: invalid character 'x' looking for beginning of object key"),
        (b"{} {}", [], "unexpected content after JSON"),
        (b"[]", [], "invalid JSON: json: cannot unmarshal array"),
        (b'{"a":NaN}', [], "invalid character 'N' looking for beginning of value"),
        (b"[" * 100_000, [], "invalid JSON"),
        (b" ", [], "invalid JSON: got EOF while reading request body"),
    ],
)
async def test_bodies_that_are_no_json(
    tmp_path: Path, body: bytes, headers: list[str], text: str
) -> None:
    async with serving(tmp_path) as server:
        answer = await get(server.path, "/containers/create", "POST", *headers, body=body)
        assert status(answer) == 400
        assert text in message(answer)


async def test_a_body_of_another_type_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        answer = await exchange(
            server.path,
            b"POST /containers/create HTTP/1.1\r\nHost: e\r\nConnection: close\r\n"
            b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
        )
        assert status(answer) == 400
        assert message(answer) == (
            "unsupported Content-Type header (text/plain): must be 'application/json'"
        )


async def test_what_is_not_http_is_answered_and_closed(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert status(await exchange(server.path, b"\x16\x03\x01 hello\r\n\r\n")) == 400
        twice = b"GET /version HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 1\r\n"
        answer = await exchange(server.path, twice + b"Content-Length: 2\r\n\r\nxx")
        assert status(answer) == 400


async def test_a_body_that_breaks_off_as_http_is_refused_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for target in ("/containers/create", "/images/create?fromSrc=-", "/containers/c1/start"):
            answer = await exchange(
                server.path,
                f"POST {target} HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n"
                "Content-Type: application/json\r\n\r\n4\r\n{}  \r\n".encode()
                + b"zz\r\nPOST /containers/create HTTP/1.1\r\nHost: e\r\n\r\n",
            )
            assert answer.count(b"HTTP/1.") == 1
            assert status(answer) in (400, 404)
        assert server.engine.containers.calls == []


async def test_a_broken_body_fails_while_it_is_awaited(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(
            b"POST /containers/create HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: application/json\r\nExpect: 100-continue\r\n\r\n"
        )
        await reader.readuntil(b"100 Continue\r\n\r\n")  # the handler is about to read
        writer.write(b"zz\r\n")
        answer = await reader.read()
        assert status(answer) == 400
        assert message(answer).startswith("read the body of the request: ")
        writer.close()


async def test_http2_without_an_upgrade_is_refused_cleanly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as server:
        answer = await exchange(server.path, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        assert status(answer) == 505
        assert message(answer) == "HTTP/2 without an upgrade is not spoken here"
        assert status(await exchange(server.path, b"nonsense\r\n\r\n")) == 400
        assert not [record for record in caplog.records if record.exc_info]


async def test_a_client_may_ask_before_it_sends_its_body(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(
            b"POST /images/load HTTP/1.1\r\nHost: e\r\nConnection: close\r\n"
            b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"12345")
        assert b'{"stream":"5"}' in await reader.read()
        writer.close()


async def test_an_image_name_may_contain_slashes(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for target in ("/images/a/b:c/json", "/images/a%2Fb%3Ac/json"):
            answer = await get(server.path, target)
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["Id"] == "a/b:c"


async def test_old_clients_get_the_fields_they_know(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert b'"VirtualSize":7' in await get(server.path, "/v1.43/images/x/json")
        assert b"VirtualSize" not in await get(server.path, "/v1.44/images/x/json")


async def test_wait_sends_its_head_before_the_container_ends(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(b"POST /containers/c1/wait HTTP/1.1\r\nHost: e\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        server.engine.containers.exit.set_result({"StatusCode": 3})
        assert b'{"StatusCode":3}' in await reader.readuntil(b"0\r\n\r\n")
        writer.close()


async def test_events_flow_as_they_happen(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(
            b"GET /events?filters={%22type%22:[%22container%22]} HTTP/1.1\r\nHost: e\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        server.engine.events.publish("image", "tag", "i")
        server.engine.events.publish("container", "start", "c")
        line = (await reader.readuntil(b"}\n")).partition(b"\r\n")[2]
        assert json.loads(line)["Action"] == "start"
        writer.close()


async def test_progress_fails_by_status_before_and_in_stream_after_it_began(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        nothing = await get(server.path, "/images/create?fromSrc=-", "POST")
        assert (status(nothing), message(nothing)) == (404, "nothing there")
        empty = await get(server.path, "/images/load", "POST")
        assert status(empty) == 200
        assert b'"error":"empty archive"' in empty
        fine = await get(server.path, "/images/load", "POST", body=b"x" * 5)
        assert b'{"stream":"5"}\r\n' in fine
        unlucky = await get(server.path, "/images/load", "POST", body=b"x" * 13)
        assert status(unlucky) == 200
        assert b'{"errorDetail":{"message":"unlucky"},"error":"unlucky"}\r\n' in unlucky
