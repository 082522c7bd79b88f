"""Images whose makers want the pages to break, through a running hub."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp

from .conftest import RunningHub, StartHub
from .test_backends import MANIFEST, digest_of, get, push

ODD = '"\\ud800 \\u0000 \\udfff"'
CONFIGS = (
    b"[]",
    b'"text"',
    b'{"os":3,"architecture":["x"],"created":17,"config":7,"history":{"a":1}}',
    b'{"created":"9999-12-31T23:59:59-14:00","config":{"Env":"A=1"}}',
    b'{"created":"0001-01-01T00:00:00+23:59","config":{"Env":5,"Labels":[1],"Cmd":{"a":1}}}',
    b'{"config":{"Env":[null,1,["x"],NaN,Infinity],"Volumes":"v","ExposedPorts":[80]}}',
    b'{"history":[3,null,{"created_by":{},"created":NaN,"empty_layer":"x"}]}',
    f'{{"os":{ODD},"architecture":{ODD},"created":{ODD},"history":[{{"created_by":{ODD}}}],'
    f'"config":{{"Env":[{ODD}],"User":{ODD},"Labels":{{{ODD}:{ODD}}},"Volumes":{{{ODD}:{ODD}}}}}}}'
    .encode(),
    b'{"config":' + b"[" * 5000 + b"]" * 5000 + b"}",
)  # fmt: skip


def manifest_of(config: bytes, layer: bytes, count: int = 1, **more: Any) -> bytes:
    described = {"mediaType": "application/x", "digest": digest_of(layer), "size": len(layer)}
    kind = "application/vnd.oci.image.config.v1+json"
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": kind, "digest": digest_of(config), "size": len(config)},
        "layers": [described] * count,
        "annotations": {"\ud800": "\ud800 \0", "org.opencontainers.image.created": "\udfff"},
        **more,
    }
    return json.dumps(document).encode()


async def put(session: aiohttp.ClientSession, hub: RunningHub, tag: str, manifest: bytes) -> int:
    headers = {"Content-Type": MANIFEST}
    url = f"{hub.url}/v2/team/odd/manifests/{tag}"
    async with session.put(url, data=manifest, headers=headers) as answer:
        await answer.read()
        return answer.status


async def test_whatever_an_image_says_its_pages_show_it(database: str, start_hub: StartHub) -> None:
    hub = start_hub("--open", "--db", database)
    layer = b"layer"
    async with aiohttp.ClientSession() as session:
        await push(session, hub, "team/odd", layer)
        for number, config in enumerate(CONFIGS):
            await push(session, hub, "team/odd", config)
            assert await put(session, hub, f"t{number}", manifest_of(config, layer)) == 201
            url = f"{hub.url}/r/team/odd/-"
            for page in (f"image/t{number}", f"compare?from=t0&to=t{number}", "tags"):
                assert (await get(session, f"{url}/{page}"))[0] == 200, (config[:60], page)
        for name in ("artifactType", "mediaType"):
            bad = manifest_of(CONFIGS[0], layer, **{name: "a\ud800"})
            assert await put(session, hub, "bad", bad) == 400
        many = manifest_of(CONFIGS[0], layer, 15_000)
        assert await put(session, hub, "many", many) == 201
        page = asyncio.ensure_future(get(session, f"{url}/compare?from=many&to=t1"))
        assert (await get(session, f"{hub.url}/health"))[0] == 200
        assert (await page)[0] == 200


async def test_bytes_that_are_no_text(database: str, start_hub: StartHub) -> None:
    hub = start_hub("--open", "--db", database)

    async def status(target: bytes, *headers: bytes) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        lines = [b"GET " + target + b" HTTP/1.1", b"Host: x", b"Connection: close", *headers]
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return int(answer.split(b" ", 2)[1])

    for target in (
        b"/r/\xff\xfe", b"/u/\xed\xa0\x80", b"/u/%ED%A0%80", b"/r/a/%FF", b"/search?q=\xff",
        b"/search?q=%ED%A0%80", b"/v2/\xff/tags/list", b"/v2/_catalog?last=\xff",
        b"/v1/search?q=%ED%A0%80", b"/r/team/odd/-/image/\xff", b"/token?scope=\xff",
        b"/v2/repositories/\xff/x/", b"/static/\xff",
    ):  # fmt: skip
        assert await status(target) < 500, target
    for header in (b"User-Agent", b"Cookie: hub_session", b"Authorization", b"X-Forwarded-For"):
        joint = b"=" if b":" in header else b": "
        assert await status(b"/", header + joint + b"\xff\xed\xa0\x80") < 500, header
        assert await status(b"/v2/", header + joint + b"\xff\xed\xa0\x80") < 500, header
