"""A hub in this process, and a client that speaks to it over loopback."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from wherry.hub.accounts.passwords import hash_password
from wherry.hub.app import make_app
from wherry.hub.config import HubConfig
from wherry.hub.hub import HUB
from wherry.hub.records import users


@pytest.fixture(params=["open", "password", "bearer"])
async def client(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[aiohttp.ClientSession]:
    """An anonymous client of an open hub, or one that logs in to a closed hub."""
    app = make_app(HubConfig(data=tmp_path / "data", open=request.param == "open"))
    server = TestServer(app)
    await server.start_server()
    headers = {}
    if request.param != "open":
        hashed = hash_password("long enough")
        await app[HUB].db.write(users.create, "root", hashed, admin=True)
        headers = {"Authorization": f"Basic {b64encode(b'root:long enough').decode()}"}
    if request.param == "bearer":
        names = ("conformance/one", "conformance/two", "not/yet", "no/such", "library/mysql")
        names += ("a/b", "a/b-c", "a/b/c", "a/bc", "library/x")
        scopes = [("scope", f"repository:{name}:pull,push,delete") for name in names]
        scopes.append(("scope", "registry:catalog:*"))
        async with (
            aiohttp.ClientSession() as session,
            session.get(server.make_url("/token"), params=scopes, headers=headers) as answer,
        ):
            headers = {"Authorization": f"Bearer {(await answer.json())['token']}"}
    async with aiohttp.ClientSession(server.make_url("/"), headers=headers) as session:
        yield session
    await server.close()
