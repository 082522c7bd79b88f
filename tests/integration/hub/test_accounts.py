"""Accounts of running hubs on both databases, as strangers and their clients meet them."""

from __future__ import annotations

import asyncio
import re
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import select, text

from wherry.hub import migrations
from wherry.hub.database import Database
from wherry.hub.migrations.run import migrate
from wherry.hub.records import organisations, users
from wherry.hub.schema import access_tokens, metadata

from .conftest import RunningHub, StartHub, add_users

PASSWORD = "correct horse"
_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


def basic(name: str, password: str) -> dict[str, str]:
    """The header of a client that logs in."""
    return {"Authorization": f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"}


@dataclass
class Visitor:
    """A browser at a running hub."""

    session: aiohttp.ClientSession

    async def post(self, path: str, page: str = "/login", **form: str) -> tuple[int, str]:
        """Fills in the form of ``page`` and sends it to ``path``; redirects are not followed."""
        async with self.session.get(page) as answer:
            found = _CSRF.search(await answer.text())
        assert found is not None, page
        async with self.session.post(
            path, data={"csrf": found[1], **form}, allow_redirects=False
        ) as answer:
            return answer.status, await answer.text()


@pytest.fixture
def hub(database: str, start_hub: StartHub, tmp_path: Path) -> RunningHub:
    """A hub with an administrator, two users and a mirror of a registry that is not there."""
    add_users(database, PASSWORD, "root", "ann", "eve")
    config = tmp_path / "hub.toml"
    config.write_text('[[upstreams]]\nowner = "mirror"\nurl = "http://127.0.0.1:9"\n')
    return start_hub("--db", database, "--config", str(config))


@pytest.fixture
async def visitor(hub: RunningHub) -> AsyncIterator[Visitor]:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(hub.url, cookie_jar=jar) as session:
        yield Visitor(session)


def test_migrations_lead_to_the_schema(database: str) -> None:
    db = Database(database)
    migrate(db)
    with db.engine.connect() as conn:
        context = MigrationContext.configure(
            conn,
            opts={"include_name": lambda name, *_: "repository_text" not in str(name)},
        )
        assert compare_metadata(context, metadata) == []
    db.close()


def test_an_older_database_keeps_its_tokens(database: str) -> None:
    """But for those that logins made, whose descent nobody knows."""
    db = Database(database)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with db.engine.connect() as conn, conn.begin():
        config.attributes["connection"] = conn
        command.upgrade(config, "step_0002")
        for statement in (
            "INSERT INTO users (name, email, display_name, password, admin, disabled, created)"
            " VALUES ('ann', '', '', '', false, false, 0)",
            "INSERT INTO owners (name, user_id, display_name, description, website, member_role,"
            " created) VALUES ('ann', 1, '', '', '', 1, 0)",
            "INSERT INTO access_tokens (user_id, name, hash, kind, role, created)"
            " VALUES (1, 'ci', 'one', 'personal', 2, 0), (1, 'docker', 'two', 'refresh', 3, 0)",
        ):
            conn.execute(text(statement))
    for _ in range(2):
        migrate(db)
        (kept,) = db.run(users.tokens_of, 1)
        assert (kept["name"], kept["role"], kept["parent_id"]) == ("ci", 2, None)
        assert db.run(users.logins_of, 1) == []
    login = users.Login(1, "docker", "", 3, int(time.time()) + 1000, kept["id"])
    db.run(users.add_login, login, "three")
    (child,) = db.run(users.logins_of, 1)
    assert (child["parent"], child["role"]) == ("ci", 2)
    db.run(users.remove_token, 1, kept["id"])
    assert db.run(users.logins_of, 1) == []
    owner = db.run(organisations.find, "ann")
    assert owner is not None
    assert not owner.reserved
    db.close()


async def test_nobody_signs_up_as_the_hub(visitor: Visitor) -> None:
    names = ("library", "mirror", "m1rror", "retention", "admin")
    for name in names:
        status, text = await visitor.post("/sign-up", "/sign-up", name=name, password=PASSWORD)
        assert (status, "the hub" in text) == (400, True), name
    assert (await visitor.post("/sign-up", "/sign-up", name="zoe", password=PASSWORD))[0] == 303
    page = "/new/organisation"
    for name in names:
        assert (await visitor.post(page, page, name=name))[0] == 400
    for owner in ("library", "mirror"):
        async with visitor.session.post(
            f"/v2/{owner}/python/blobs/uploads/", headers=basic("zoe", PASSWORD)
        ) as answer:
            assert answer.status == 403


async def test_a_name_that_somebody_had_is_told_and_taken_over(
    database: str, start_hub: StartHub, tmp_path: Path
) -> None:
    add_users(database, PASSWORD, "root", "ann")
    db = Database(database)
    ann = db.run(users.by_name, "ann")
    assert ann is not None
    db.run(organisations.create, "library", ann.id)
    db.close()
    hub = start_hub("--db", database)
    assert "the name library should be" in (tmp_path / f"hub-{hub.port}.log").read_text()
    upload = "/v2/library/python/blobs/uploads/"
    headers = basic("ann", PASSWORD)
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(hub.url, cookie_jar=jar) as session:
        visitor = Visitor(session)
        async with session.post(upload, headers=headers) as answer:
            assert answer.status == 202
        assert (await visitor.post("/login", name="root", password=PASSWORD))[0] == 303
        async with session.get("/admin") as answer:
            assert "Take library over" in await answer.text()
        assert (await visitor.post("/admin/take-over", "/settings", owner="ann"))[0] == 404
        assert (await visitor.post("/admin/take-over", "/settings", owner="library"))[0] == 303
        async with session.get("/admin") as answer:
            assert "Take library over" not in await answer.text()
        async with session.post(upload, headers=headers) as answer:
            assert answer.status == 403


async def test_a_revoked_token_ends_its_descendants_in_every_process(
    database: str, start_hub: StartHub
) -> None:
    add_users(database, PASSWORD, "root", "ann")
    hub, other = start_hub("--db", database), start_hub("--db", database)
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(hub.url, cookie_jar=jar) as session:
        visitor = Visitor(session)
        await visitor.post("/login", name="ann", password=PASSWORD)
        _, page = await visitor.post(
            "/settings/tokens", "/settings", name="ci", role="write", days="7"
        )
        found = re.search(r"whub_[\w-]{43}", page)
        assert found is not None
        query = {"offline_token": "true", "client_id": "docker"}
        async with session.get("/token", params=query, headers=basic("ann", found[0])) as answer:
            made = await answer.json()
        headers = (
            basic("ann", found[0]),
            basic("ann", made["refresh_token"]),
            {"Authorization": f"Bearer {made['token']}"},
        )
        for header in headers:
            async with session.get(f"{other.url}/v2/", headers=header) as answer:
                assert answer.status == 200
        async with session.get("/settings") as answer:
            ids = re.findall(r'name="token" value="(\d+)"', await answer.text())
        assert len(ids) == 2  # the token, and the program that logged in with it
        await visitor.post("/settings/tokens/revoke", "/settings", token=min(ids, key=int))
        for header in headers:
            async with session.get(f"{other.url}/v2/", headers=header) as answer:
                assert answer.status == 401


async def test_a_burst_of_guesses_at_two_processes(database: str, start_hub: StartHub) -> None:
    add_users(database, PASSWORD, "root", "ann")
    hubs = start_hub("--db", database), start_hub("--db", database)
    async with aiohttp.ClientSession() as session:

        async def guess(number: int) -> int:
            url = f"{hubs[number % 2].url}/token"
            async with session.get(url, headers=basic("ann", f"guess {number}")) as answer:
                return answer.status

        seen = await asyncio.gather(*(guess(number) for number in range(60)))
        assert (seen.count(401), seen.count(429)) == (20, 40)


async def test_texts_that_cannot_be_stored(hub: RunningHub, visitor: Visitor) -> None:
    """The same answers on both databases."""
    session = visitor.session
    for path in (
        *("/search?q=%00", "/v1/search?q=a%00", "/v2/_catalog?last=%00", "/u/%00"),
        *("/v2/ann/x/tags/list?last=%00", "/token?scope=%00", "/login?next=/%00"),
    ):
        async with session.get(path) as answer:
            assert answer.status == 400, path
    status, _ = await visitor.post("/login", name="ann", password=PASSWORD, next="/\r\nX: y")
    assert status == 303
    page = "/new/repository"
    form = {"owner": "ann", "name": "app", "description": "a\0b"}
    assert (await visitor.post(page, page, **form))[0] == 400
    assert (await visitor.post(page, page, **{**form, "description": "ab"}))[0] == 303
    body = '{"full_description": "\\ud800"}'
    url = "/v2/repositories/ann/app/"
    async with session.patch(url, data=body, headers=basic("ann", PASSWORD)) as answer:
        assert answer.status == 400


def test_a_running_hub_forgets_what_has_run_out(
    database: str, start_hub: StartHub, tmp_path: Path
) -> None:
    add_users(database, PASSWORD, "root", "ann")
    db = Database(database)
    ann = db.run(users.by_name, "ann")
    assert ann is not None
    db.run(users.add_token, ann.id, "old", "0" * 64, 1, 1)
    db.run(users.add_token, ann.id, "good", "1" * 64, 1, None)
    config = tmp_path / "hub.toml"
    config.write_text("collect_interval = 1\n")
    start_hub("--db", database, "--config", str(config))
    query = select(access_tokens.c.name)
    while db.run(lambda conn: list(conn.execute(query).scalars())) != ["good"]:
        time.sleep(0.1)
    db.close()
