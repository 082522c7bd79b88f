"""Sign up, log in, log out, and one's own settings."""

from __future__ import annotations

import secrets
import time

from aiohttp import web
from sqlalchemy import Connection

from wherry.errors import Forbidden, InvalidParameter, NotFound, Unauthorized, WherryError
from wherry.hub import events, texts
from wherry.hub.access import Role
from wherry.hub.accounts import limits
from wherry.hub.accounts.identify import hash_secret, new_secret
from wherry.hub.accounts.passwords import check_strength
from wherry.hub.hub import hub_of
from wherry.hub.records import invitations, organisations, users
from wherry.hub.records.users import User
from wherry.hub.requests import client_address, scheme
from wherry.hub.web.page import (
    SESSION_COOKIE,
    VISIT,
    back,
    form_of,
    safe_next,
    show,
    user_of,
)

_LIFETIMES = {"7": 7, "30": 30, "90": 90, "365": 365, "": None}


async def login_form(request: web.Request) -> web.StreamResponse:
    """The login page."""
    target = safe_next(request.query.get("next", "/"))
    if request[VISIT].user is not None:
        return back(target)
    return show(request, "login.html", next=target, error="", name="")


async def login(request: web.Request) -> web.StreamResponse:
    """Checks the password and opens a session."""
    form = form_of(request)
    target = safe_next(form.get("next", "/"))
    name = form.get("name", "").strip().lower()
    try:
        if form.get("password", "").startswith("whub_"):
            raise Unauthorized("access tokens are for programs; log in with your password")
        actor = await hub_of(request).identifier.login(
            name, form.get("password", ""), client_address(request)
        )
    except (Unauthorized, Forbidden) as error:
        if isinstance(error, Unauthorized):
            await _note(request, name[:60], "login failed")
        return show(request, "login.html", status=401, next=target, error=str(error), name=name)
    assert actor.user is not None
    await _note(request, actor.name, "login")
    return await _open_session(request, actor.user, back(target))


async def _note(request: web.Request, name: str, action: str) -> None:
    await hub_of(request).db.write(events.record, name, client_address(request), action, name)


async def _open_session(
    request: web.Request, user: int, response: web.Response
) -> web.StreamResponse:
    hub = hub_of(request)
    secret = secrets.token_urlsafe(32)
    lifetime = hub.config.session_lifetime
    await hub.db.write(
        users.add_session,
        user,
        hash_secret(secret),
        lifetime,
        client_address(request),
        texts.storable(request.headers.get("User-Agent", "")),
    )
    response.set_cookie(
        SESSION_COOKIE,
        secret,
        max_age=lifetime,
        httponly=True,
        samesite="Lax",
        secure=scheme(request) == "https",
    )
    return response


async def logout(request: web.Request) -> web.StreamResponse:
    """Ends the session."""
    visit = request[VISIT]
    if visit.user is not None:
        await hub_of(request).db.write(users.remove_session, hash_secret(visit.secret))
    response = back("/")
    response.del_cookie(SESSION_COOKIE)
    return response


async def sign_up_form(request: web.Request) -> web.StreamResponse:
    """The sign-up page."""
    if not hub_of(request).config.sign_up:
        raise NotFound("sign-up is closed")
    return show(request, "sign_up.html", error="", name="", email="")


async def sign_up(request: web.Request) -> web.StreamResponse:
    """Makes an account and logs it in; the first account administers the hub."""
    hub = hub_of(request)
    if not hub.config.sign_up:
        raise NotFound("sign-up is closed")
    form = form_of(request)
    name, email = form.get("name", "").strip().lower(), form.get("email", "").strip()[:200]
    source = limits.source(client_address(request))
    try:
        users.check_name(name)
        check_strength(form.get("password", ""))
        if not await hub.db.write(limits.count, [(limits.SIGN_UPS, source)]):
            raise Forbidden("too many new accounts from your address; come back in an hour")
        hashed = await hub.identifier.hash_password(form["password"])
        user = await hub.db.write(_create, name, hashed, email)
    except WherryError as error:
        return show(request, "sign_up.html", status=400, error=str(error), name=name, email=email)
    await _note(request, user.name, "sign up")
    return await _open_session(request, user.id, back("/", "welcome"))


def _create(conn: Connection, name: str, password: str, email: str) -> User:
    return users.create(conn, name, password, email, admin=users.count(conn) == 0)


async def settings(request: web.Request) -> web.StreamResponse:
    """Profile, password, access tokens, logins of programs, organisations."""
    return await _settings(request, user_of(request))


async def _settings(
    request: web.Request, user: User, *, status: int = 200, **values: str
) -> web.Response:
    hub = hub_of(request)
    tokens = await hub.db.read(users.tokens_of, user.id)
    logins = await hub.db.read(users.logins_of, user.id)
    mine = await hub.db.read(organisations.of_user, user.id)
    invited = await hub.db.read(invitations.of_user, user.id)
    return show(
        request,
        "settings.html",
        status=status,
        tokens=tokens,
        logins=logins,
        organisations=mine,
        invited=invited,
        roles=Role,
        **{"error": "", "secret": "", **values},
    )


async def change_profile(request: web.Request) -> web.StreamResponse:
    """Saves name and e-mail address."""
    user, form = user_of(request), form_of(request)
    # Only these two: a form can not make its sender an administrator.
    await hub_of(request).db.write(
        users.change,
        user.id,
        display_name=form.get("display_name", "").strip()[:100],
        email=form.get("email", "").strip()[:200],
    )
    return back("/settings", "saved")


async def change_password(request: web.Request) -> web.StreamResponse:
    """Changes the password and ends all other sessions."""
    user, form, hub = user_of(request), form_of(request), hub_of(request)
    try:
        await hub.identifier.login(user.name, form.get("old", ""), client_address(request))
        check_strength(form.get("new", ""))
    except WherryError as error:
        return await _settings(request, user, status=400, error=str(error))
    password = await hub.identifier.hash_password(form["new"])

    def store(conn: Connection) -> None:
        users.change(conn, user.id, password=password)
        users.remove_sessions(conn, user.id)

    await hub.db.write(store)
    await _note(request, user.name, "password changed")
    return await _open_session(request, user.id, back("/settings", "password"))


async def create_token(request: web.Request) -> web.StreamResponse:
    """Makes an access token and shows it, once."""
    user, form, hub = user_of(request), form_of(request), hub_of(request)
    name = form.get("name", "").strip()[:60]
    try:
        role = {"read": Role.READ, "write": Role.WRITE, "admin": Role.ADMIN}.get(
            form.get("role", "")
        )
        if not name or role is None:
            raise InvalidParameter("a token needs a name and a scope")
        days = _LIFETIMES.get(form.get("days", ""), 30)
    except WherryError as error:
        return await _settings(request, user, status=400, error=str(error))
    secret = new_secret()
    expires = int(time.time()) + days * 86_400 if days else None
    await hub.db.write(users.add_token, user.id, name, hash_secret(secret), int(role), expires)
    await _note(request, user.name, "token created")
    return await _settings(request, user, secret=secret)


async def revoke_token(request: web.Request) -> web.StreamResponse:
    """Revokes one of the user's own tokens."""
    user, form = user_of(request), form_of(request)
    token = form.get("token", "")
    if token.isascii() and token.isdigit() and len(token) < 18:
        await hub_of(request).db.write(users.remove_token, user.id, int(token))
    return back("/settings", "revoked")
