"""Making and managing organisations."""

from __future__ import annotations

from aiohttp import web
from sqlalchemy import Connection

from wherry.errors import Conflict, Forbidden, NotFound, WherryError
from wherry.hub import events
from wherry.hub.accounts import limits
from wherry.hub.hub import hub_of
from wherry.hub.records import invitations, organisations, repositories
from wherry.hub.records.organisations import Owner
from wherry.hub.records.users import User
from wherry.hub.requests import actor_of, client_address
from wherry.hub.web.page import back, form_of, named_user, show, user_of
from wherry.hub.web.repository_settings import ROLES


async def new_form(request: web.Request) -> web.StreamResponse:
    """The form for a new organisation."""
    user_of(request)
    return show(request, "new_organisation.html", error="", name="")


async def create(request: web.Request) -> web.StreamResponse:
    """Makes an organisation that the user manages."""
    user = user_of(request)
    name = form_of(request).get("name", "").strip().lower()
    try:
        await hub_of(request).db.write(organisations.create, name, user.id)
    except WherryError as error:
        return show(request, "new_organisation.html", status=400, error=str(error), name=name)
    return back(f"/u/{name}", "created")


async def _managed(request: web.Request) -> tuple[User, Owner]:
    """The organisation of the URL, for its managers; NotFound for everybody else."""
    user, hub = user_of(request), hub_of(request)
    owner = await hub.db.read(organisations.find, request.match_info["owner"])
    if owner is None or owner.user_id is not None:
        raise NotFound("no such organisation")
    if not user.admin and not await hub.db.read(organisations.is_manager, owner.id, user.id):
        raise NotFound("no such organisation")
    return user, owner


async def settings(request: web.Request) -> web.StreamResponse:
    """Members, teams and their roles."""
    _, owner = await _managed(request)
    db = hub_of(request).db
    return show(
        request,
        "organisation.html",
        owner=owner,
        members=await db.read(organisations.members_of, owner.id),
        invited=await db.read(invitations.of_owner, owner.id),
        teams=await db.read(organisations.teams_of, owner.id),
        repositories=await db.read(repositories.by_owner, actor_of(request), owner.name),
    )


def _done(owner: Owner) -> web.Response:
    return back(f"/u/{owner.name}/-/settings", "saved")


async def _audit(request: web.Request, user: User, owner: Owner, action: str, what: str) -> None:
    await hub_of(request).db.write(
        events.record, user.name, client_address(request), action, what, owner.name
    )


async def change(request: web.Request) -> web.StreamResponse:
    """Saves the profile and what membership alone allows."""
    user, owner = await _managed(request)
    form = form_of(request)
    website = form.get("website", "").strip()[:200]
    if website and not website.startswith(("https://", "http://")):
        website = f"https://{website}"
    await hub_of(request).db.write(
        organisations.change,
        owner.id,
        display_name=form.get("display_name", "").strip()[:100],
        description=form.get("description", "").strip()[:500],
        website=website,
        member_role=int(ROLES.get(form.get("member_role", "read"), ROLES["read"])),
    )
    await _audit(request, user, owner, "organisation changed", owner.name)
    return _done(owner)


async def set_member(request: web.Request) -> web.StreamResponse:
    """Invites a user; promotes, demotes or removes a member; takes an invitation back."""
    user, owner = await _managed(request)
    form, db = form_of(request), hub_of(request).db
    member = await named_user(request)
    role = form.get("role", "")
    if role not in ("member", "manager", "remove"):
        raise Forbidden("no such role")
    action = await db.write(_set_member, owner, member, role, user.name)
    await _audit(request, user, owner, action, member.name)
    return _done(owner)


def _set_member(conn: Connection, owner: Owner, member: User, role: str, by: str) -> str:
    """Does it and says what was done."""
    if role == "remove":
        if not invitations.withdraw(conn, owner.id, member.id):
            organisations.remove_member(conn, owner.id, member.id)
        return "member removed"
    if not organisations.is_member(conn, owner.id, member.id):
        if not limits.count(conn, [(limits.INVITATIONS, by)]):
            raise Forbidden("too many invitations at once; come back in an hour")
        invitations.invite(conn, owner.id, member.id, manager=role == "manager", by=by)
        return "member invited"
    if role == "member" and organisations.is_manager(conn, owner.id, member.id):
        organisations.remove_member(conn, owner.id, member.id)
    organisations.set_member(conn, owner.id, member.id, manager=role == "manager")
    return f"member {role}"


async def answer(request: web.Request) -> web.StreamResponse:
    """Accepts or declines an invitation, or leaves an organisation: for oneself only."""
    user, form, hub = user_of(request), form_of(request), hub_of(request)
    action = form.get("action", "")
    owner = await hub.db.read(organisations.find, form.get("owner", ""))
    if owner is None:
        raise NotFound("no such organisation")
    address = client_address(request)

    def store(conn: Connection) -> None:
        if action == "accept":
            invitations.accept(conn, owner.id, user.id)
        elif action == "decline" and invitations.withdraw(conn, owner.id, user.id):
            pass
        elif action == "leave" and organisations.is_member(conn, owner.id, user.id):
            organisations.remove_member(conn, owner.id, user.id)
        else:
            raise NotFound("no such invitation or membership")
        events.record(conn, user.name, address, f"invitation {action}", user.name, owner.name)

    await hub.db.write(store)
    return back("/settings", "saved")


async def create_team(request: web.Request) -> web.StreamResponse:
    """Adds a team."""
    user, owner = await _managed(request)
    name = form_of(request).get("name", "").strip().lower()
    await hub_of(request).db.write(organisations.create_team, owner.id, name)
    await _audit(request, user, owner, "team created", name)
    return _done(owner)


async def change_team(request: web.Request) -> web.StreamResponse:
    """Adds or removes a team's member, sets its role on a repository, or deletes it."""
    user, owner = await _managed(request)
    form, db = form_of(request), hub_of(request).db
    team = await db.read(organisations.team, owner.id, form.get("team", ""))
    if team is None:
        raise NotFound("no such team")
    action = form.get("action", "")
    if action == "delete":
        await db.write(organisations.remove_team, team)
    elif action in ("add", "remove"):
        member = await named_user(request)
        inside = await db.read(organisations.is_member, owner.id, member.id)
        if action == "add" and not inside:
            raise Conflict(f"{member.name} is no member of {owner.name} yet: invite them first")
        await db.write(organisations.set_team_member, team, member.id, action == "add")
    elif action == "role":
        repository = await db.read(repositories.find, form.get("repository", ""))
        role = ROLES.get(form.get("role", ""))
        if repository is None or repository.owner_id != owner.id or role is None:
            raise NotFound("no such repository or role")
        await db.write(organisations.set_team_role, team, repository.id, role)
    await _audit(request, user, owner, f"team {action}", form.get("team", ""))
    return _done(owner)
