"""Pages for administrators of the hub: accounts, storage, audit trail."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

from aiohttp import web
from sqlalchemy import Connection, func, select

from wherry.errors import Conflict, NotFound
from wherry.hub import collector, events
from wherry.hub.hub import hub_of
from wherry.hub.records import jobs, organisations, quotas, users
from wherry.hub.records.quotas import parse_quota
from wherry.hub.records.users import User
from wherry.hub.requests import client_address
from wherry.hub.schema import audit, blobs, manifests, repositories, uploads
from wherry.hub.schema import users as user_table
from wherry.hub.web.page import back, form_of, show, user_of

_AUDIT_PAGE = 100


def _administrator(request: web.Request) -> User:
    """The visitor if they administer the hub; for all others the page does not exist."""
    user = user_of(request)
    if not user.admin:
        raise NotFound("no such page")
    return user


async def overview(request: web.Request) -> web.StreamResponse:
    """Figures, accounts and the latest of the audit trail."""
    _administrator(request)
    after = request.query.get("after", "")[:40]
    owner = request.query.get("owner", "").strip().lower()[:40]
    hub = hub_of(request)
    values = await hub.db.read(_overview, after, owner)
    default = hub.config.owner_quota
    taken = await hub.db.read(organisations.taken, hub.config.reserved_owners)
    return show(
        request,
        "administration.html",
        asked=owner,
        default_quota=default,
        taken=taken,
        **values,
    )


def _limits(conn: Connection, owner: str) -> list[quotas.Usage]:
    """Owners with limits of their own, and the one that was asked for."""
    found = quotas.usages(conn)
    if owner and owner not in {usage.owner for usage in found}:
        asked = quotas.usage(conn, owner)
        found = [asked, *found] if asked else found
    return found


def _overview(conn: Connection, after: str, owner: str) -> dict[str, Any]:
    def count(table: Any) -> int:
        return conn.execute(select(func.count()).select_from(table)).scalar_one()

    size = conn.execute(select(func.coalesce(func.sum(blobs.c.size), 0))).scalar_one()
    rows = conn.execute(select(audit).order_by(audit.c.id.desc()).limit(_AUDIT_PAGE))
    return {
        "figures": [
            ("Accounts", count(user_table)),
            ("Repositories", count(repositories)),
            ("Manifests", count(manifests)),
            ("Blobs", count(blobs)),
            ("Uploads under way", count(uploads)),
        ],
        "stored": int(size),
        "accounts": users.listing(conn, after),
        "jobs": jobs.listing(conn),
        "now": int(time.time()),
        "limits": _limits(conn, owner),
        "trail": [dict(row._mapping) for row in rows],
    }


async def change_user(request: web.Request) -> web.StreamResponse:
    """Disables, enables, promotes or demotes an account."""
    admin, form, db = _administrator(request), form_of(request), hub_of(request).db
    user = await db.read(users.by_name, form.get("user", ""))
    if user is None:
        raise NotFound("no such account")
    if user.id == admin.id:
        raise Conflict("change your own account with another administrator's help")
    action = form.get("action", "")
    changes: dict[str, dict[str, bool]] = {
        "disable": {"disabled": True},
        "enable": {"disabled": False},
        "promote": {"admin": True},
        "demote": {"admin": False},
    }
    if action not in changes:
        raise NotFound("no such action")

    def store(conn: Connection) -> None:
        users.change(conn, user.id, **changes[action])
        if action == "disable":
            users.remove_sessions(conn, user.id)
        events.record(conn, admin.name, client_address(request), f"account {action}d", user.name)

    await db.write(store)
    return back("/admin", "saved")


async def take_over(request: web.Request) -> web.StreamResponse:
    """Makes a name that people had before it was reserved the hub's own."""
    admin, hub = _administrator(request), hub_of(request)
    name = form_of(request).get("owner", "")
    address = client_address(request)

    def store(conn: Connection) -> None:
        for owner in organisations.taken(conn, hub.config.reserved_owners):
            if owner.name == name:
                organisations.take_over(conn, owner.id)
                events.record(conn, admin.name, address, "name taken over", name, name)
                return
        raise NotFound("no such name")

    await hub.db.write(store)
    return back("/admin", "saved")


async def set_quota(request: web.Request) -> web.StreamResponse:
    """Sets how much an owner may store."""
    admin, form, db = _administrator(request), form_of(request), hub_of(request).db
    owner = form.get("owner", "").strip().lower()
    size = parse_quota(form.get("quota", ""))
    address = client_address(request)

    def store(conn: Connection) -> None:
        if not quotas.set_limit(conn, owner, size):
            raise NotFound(f"there is no owner {owner}")
        events.record(conn, admin.name, address, "quota changed", owner, owner, {"quota": size})

    await db.write(store)
    return back(f"/admin?owner={quote(owner)}", "saved")


async def collect(request: web.Request) -> web.StreamResponse:
    """Runs the garbage collector now, orphaned files included."""
    admin, hub = _administrator(request), hub_of(request)
    await hub.db.write(events.record, admin.name, client_address(request), "garbage collected", "")
    await collector.collect(hub, sweep=True)
    return back("/admin", "saved")
