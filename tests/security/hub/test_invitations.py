"""Membership is accepted, not imposed."""

from __future__ import annotations

from wherry.hub.accounts import limits
from wherry.hub.records import organisations, users

from .conftest import PASSWORD, World, basic
from .test_attacks import status

SECRET = "/v2/acme/secret/manifests/1"


async def membership(world: World, name: str) -> tuple[bool, bool]:
    """Whether somebody is a member of acme, and a manager."""
    user = await world.hub.db.read(users.by_name, name)
    owner = await world.hub.db.read(organisations.find, "acme")
    assert user is not None
    assert owner is not None
    read = world.hub.db.read
    return (
        await read(organisations.is_member, owner.id, user.id),
        await read(organisations.is_manager, owner.id, user.id),
    )


async def test_an_invited_user_is_no_member_until_they_say_so(world: World) -> None:
    owner, guest = await world.browser("owner"), await world.browser("outsider")
    answer = await owner.post("/u/acme/-/member", user="outsider", role="manager")
    assert "invited by owner" in await answer.text()
    assert await membership(world, "outsider") == (False, False)
    assert await status(world, SECRET, basic("outsider", PASSWORD)) == 404
    assert "acme" not in await (await guest.get("/u/outsider")).text()
    assert "owner invites you to" in await (await guest.get("/settings")).text()
    await guest.post("/settings/organisations", owner="acme", action="accept")
    assert await membership(world, "outsider") == (True, True)
    assert await status(world, SECRET, basic("outsider", PASSWORD)) == 200
    # Who came by themselves can go by themselves, and comes back by another invitation only.
    await guest.post("/settings/organisations", owner="acme", action="leave")
    assert await membership(world, "outsider") == (False, False)
    answer = await guest.post("/settings/organisations", owner="acme", action="accept")
    assert answer.status == 404
    await owner.close()
    await guest.close()


async def test_declined_and_withdrawn_invitations_are_gone(world: World) -> None:
    owner, guest = await world.browser("owner"), await world.browser("outsider")
    for browser, path, form in (
        (guest, "/settings/organisations", {"owner": "acme", "action": "decline"}),
        (owner, "/u/acme/-/member", {"user": "outsider", "role": "remove"}),
    ):
        await owner.post("/u/acme/-/member", user="outsider", role="member")
        assert (await browser.post(path, **form)).status == 200
        answer = await guest.post("/settings/organisations", owner="acme", action="accept")
        assert answer.status == 404
    assert await membership(world, "outsider") == (False, False)
    await owner.close()
    await guest.close()


async def test_nobody_answers_for_another_and_nobody_invites_themselves(world: World) -> None:
    owner = await world.browser("owner")
    await owner.post("/u/acme/-/member", user="outsider", role="member")
    for name in ("reader", "admin", "owner"):
        browser = await world.browser(name)
        answer = await browser.post("/settings/organisations", owner="acme", action="accept")
        assert answer.status == 404
        await browser.close()
    assert await membership(world, "outsider") == (False, False)
    stranger = await world.browser("reader")
    answer = await stranger.post("/u/acme/-/member", user="reader", role="manager")
    assert answer.status == 404
    await owner.close()
    await stranger.close()


async def test_members_change_roles_and_teams_take_members_only(world: World) -> None:
    owner = await world.browser("owner")
    await owner.post("/u/acme/-/member", user="member", role="manager")
    assert await membership(world, "member") == (True, True)
    await owner.post("/u/acme/-/member", user="member", role="member")
    assert await membership(world, "member") == (True, False)
    await owner.post("/u/acme/-/teams", name="crew")
    answer = await owner.post("/u/acme/-/team", team="crew", action="add", user="outsider")
    assert answer.status == 409
    assert await membership(world, "outsider") == (False, False)
    answer = await owner.post("/u/acme/-/team", team="crew", action="add", user="member")
    assert answer.status == 200
    # An organisation keeps a manager.
    answer = await owner.post("/settings/organisations", owner="acme", action="leave")
    assert answer.status == 409
    await owner.close()


async def test_invitations_are_limited(world: World) -> None:
    def use_up(conn: object) -> None:
        for _ in range(limits.INVITATIONS.count):
            assert limits.count(conn, [(limits.INVITATIONS, "owner")])  # type: ignore[arg-type]

    await world.hub.db.write(use_up)
    owner = await world.browser("owner")
    answer = await owner.post("/u/acme/-/member", user="outsider", role="member")
    assert answer.status == 403
    await owner.close()
