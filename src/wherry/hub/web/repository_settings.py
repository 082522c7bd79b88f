"""New repositories, and the settings of one."""

from __future__ import annotations

import secrets
import time
from typing import Any

from aiohttp import web
from sqlalchemy import Connection, select

from wherry.errors import Conflict, Forbidden, InvalidParameter, WherryError
from wherry.hub import events
from wherry.hub.access import Role
from wherry.hub.distribution.names import repository_name
from wherry.hub.hub import hub_of
from wherry.hub.outbound import check_url
from wherry.hub.records import images, organisations, repositories, social
from wherry.hub.records.repositories import Repository
from wherry.hub.requests import client_address
from wherry.hub.schema import deliveries, webhooks
from wherry.hub.web.access import see, url
from wherry.hub.web.page import back, form_of, named_user, show, user_of

_LONGEST_README = 100_000
_LONGEST_DESCRIPTION = 200
ROLES = {"none": Role.NONE, "read": Role.READ, "write": Role.WRITE, "admin": Role.ADMIN}


async def new_form(request: web.Request) -> web.StreamResponse:
    """The form for a new repository."""
    user = user_of(request)
    names = await hub_of(request).db.read(organisations.may_create_in, user.id)
    return show(request, "new_repository.html", owners=names, error="", form={})


async def create(request: web.Request) -> web.StreamResponse:
    """Makes an empty repository."""
    user, form, hub = user_of(request), form_of(request), hub_of(request)
    owners = await hub.db.read(organisations.may_create_in, user.id)
    try:
        if form.get("owner") not in owners and not user.admin:
            raise Forbidden("choose an owner that you may make repositories for")
        name = repository_name(f"{form.get('owner', '')}/{form.get('name', '').strip()}")
        if await hub.db.read(repositories.find, name) is not None:
            raise Conflict(f"there is a repository {name} already")
        await hub.db.write(
            repositories.create,
            name,
            private=form.get("private") == "1",
            description=form.get("description", "").strip()[:_LONGEST_DESCRIPTION],
        )
    except WherryError as error:
        return show(
            request,
            "new_repository.html",
            status=400,
            owners=owners,
            error=str(error),
            form=form,
        )
    return back(url(name), "created")


async def settings(request: web.Request) -> web.StreamResponse:
    """The settings page."""
    user_of(request)
    seen = await see(request, Role.ADMIN)
    values = await hub_of(request).db.read(_settings, seen.repository, user_of(request).id)
    return show(request, "repository_settings.html", tab="settings", seen=seen, **values)


def _settings(conn: Connection, repository: Repository, user: int) -> dict[str, Any]:
    hooks = [
        dict(row._mapping)
        for row in conn.execute(select(webhooks).where(webhooks.c.repository_id == repository.id))
    ]
    for hook in hooks:
        last = conn.execute(
            select(deliveries.c.state, deliveries.c.outcome, deliveries.c.created)
            .where(deliveries.c.webhook_id == hook["id"])
            .order_by(deliveries.c.id.desc())
            .limit(1)
        ).first()
        hook["last"] = dict(last._mapping) if last else None
    return {
        "repository": repository,
        "readme": repositories.readme(conn, repository.id),
        "collaborators": repositories.collaborators_of(conn, repository.id),
        "webhooks": hooks,
        "trash": images.trash(conn, repository.id),
        "tag_count": images.count_tags(conn, repository.id),
        "starred": social.has_star(conn, repository.id, user),
        "retention": repository.retention or {},
    }


async def change(request: web.Request) -> web.StreamResponse:
    """Saves description, README, visibility, immutable tags and retention."""
    user, form = user_of(request), form_of(request)
    seen = await see(request, Role.ADMIN)
    values: dict[str, Any] = {
        "description": form.get("description", "").strip()[:_LONGEST_DESCRIPTION],
        "readme": form.get("readme", "")[:_LONGEST_README],
        "private": form.get("private") == "1",
        "immutable_tags": " ".join(form.get("immutable_tags", "").split())[:500],
        "retention": _retention(form),
    }
    hub = hub_of(request)
    await hub.db.write(_change, seen.repository, values, user.name, client_address(request))
    hub.background(hub.renderer.html(values["readme"]))
    return back(url(seen.repository.name, "settings"), "saved")


def _retention(form: dict[str, str]) -> dict[str, Any] | None:
    rules: dict[str, Any] = {}
    for key in ("keep_last", "keep_days", "untagged_days"):
        text = form.get(key, "").strip()
        if text:
            if not text.isascii() or not text.isdigit() or len(text) > 5:
                raise InvalidParameter(f"{key.replace('_', ' ')} is not a number")
            rules[key] = int(text)
    keep = " ".join(form.get("keep_tags", "").split())[:500]
    if keep:
        rules["keep_tags"] = keep
    return rules or None


def _change(
    conn: Connection, repository: Repository, values: dict[str, Any], actor: str, address: str
) -> None:
    repositories.change(conn, repository.id, **values)
    detail = {key: values[key] for key in ("private", "immutable_tags", "retention")}
    events.record(
        conn, actor, address, "settings changed", repository.name, repository.owner, detail
    )


async def set_collaborator(request: web.Request) -> web.StreamResponse:
    """Gives a user a role on the repository, or takes it away."""
    actor, form, hub = user_of(request), form_of(request), hub_of(request)
    seen = await see(request, Role.ADMIN)
    user, role = await named_user(request), ROLES.get(form.get("role", ""))
    if role is None:
        raise InvalidParameter("no such role")
    repository = seen.repository

    def store(conn: Connection) -> None:
        repositories.set_collaborator(conn, repository.id, user.id, role)
        events.record(
            conn,
            actor.name,
            client_address(request),
            "role changed",
            repository.name,
            repository.owner,
            {"user": user.name, "role": role.name.lower()},
        )

    await hub.db.write(store)
    return back(url(repository.name, "settings"), "saved")


async def add_webhook(request: web.Request) -> web.StreamResponse:
    """Adds a webhook."""
    user_of(request)
    form, hub = form_of(request), hub_of(request)
    seen = await see(request, Role.ADMIN)
    target = form.get("url", "").strip()[:500]
    check_url(target, private=hub.config.webhooks_to_private_addresses)
    secret = form.get("secret", "").strip()[:200] or secrets.token_urlsafe(24)

    def store(conn: Connection) -> None:
        conn.execute(
            webhooks.insert().values(
                repository_id=seen.repository.id,
                url=target,
                secret=secret,
                created=int(time.time()),
            )
        )

    await hub.db.write(store)
    return back(url(seen.repository.name, "settings"), "created")


async def remove_webhook(request: web.Request) -> web.StreamResponse:
    """Removes a webhook of this repository."""
    user_of(request)
    seen = await see(request, Role.ADMIN)
    text = form_of(request).get("webhook", "")
    if text.isascii() and text.isdigit() and len(text) < 18:

        def remove(conn: Connection) -> None:
            conn.execute(
                webhooks.delete().where(
                    webhooks.c.id == int(text),
                    webhooks.c.repository_id == seen.repository.id,
                )
            )

        await hub_of(request).db.write(remove)
    return back(url(seen.repository.name, "settings"), "deleted")


async def delete(request: web.Request) -> web.StreamResponse:
    """Deletes the repository after its name was typed."""
    user = user_of(request)
    seen = await see(request, Role.ADMIN)
    repository = seen.repository
    if form_of(request).get("confirm", "").strip() != repository.name:
        raise InvalidParameter("type the full name of the repository to delete it")
    address = client_address(request)

    def remove(conn: Connection) -> None:
        repositories.remove(conn, repository.id)
        events.record(
            conn, user.name, address, "repository deleted", repository.name, repository.owner
        )

    await hub_of(request).db.write(remove)
    return back(f"/u/{repository.owner}", "deleted")
