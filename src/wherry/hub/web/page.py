"""What every page does: session, CSRF, errors as pages, security headers."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from wherry.errors import (
    Conflict,
    Forbidden,
    InvalidParameter,
    NotFound,
    Unauthorized,
    WherryError,
)
from wherry.hub.access import ANONYMOUS, Actor
from wherry.hub.accounts.identify import hash_secret
from wherry.hub.distribution.errors import RegistryError
from wherry.hub.hub import hub_of
from wherry.hub.records import users
from wherry.hub.records.users import User
from wherry.hub.requests import ACTOR, base_url, form_fields, scheme
from wherry.hub.space import NoSpace
from wherry.hub.web.render import render

SESSION_COOKIE = "hub_session"
_VISITOR_COOKIE = "hub_visitor"
_NOTICE_COOKIE = "hub_notice"
_VISITOR_SECONDS = 86_400

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_STATUS: tuple[tuple[type[WherryError], int], ...] = (
    (InvalidParameter, 400),
    (Unauthorized, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (NoSpace, 507),
)


@dataclass
class Visit:
    """One page request: who, with which form, and which cookie guards the forms."""

    user: User | None
    secret: str
    form: dict[str, str]
    fresh: bool

    @property
    def csrf(self) -> str:
        """The token that the visit's forms carry."""
        return hash_secret(f"csrf {self.secret}")


VISIT = web.RequestKey("visit", Visit)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def page(handler: _Handler) -> _Handler:
    """Makes a page of a handler: identifies the visitor, checks forms, shows errors."""

    async def visited(request: web.Request) -> web.StreamResponse:
        visit = await _visit(request)
        request[VISIT] = visit
        user = visit.user
        request[ACTOR] = Actor(user.id, user.name, user.admin) if user else ANONYMOUS
        try:
            if request.method == "POST":
                await _read_form(request, visit)
            response = await handler(request)
        except web.HTTPRedirection as redirect:
            response = web.Response(status=redirect.status, headers=redirect.headers)
        except RegistryError as error:
            response = error_page(request, 404 if error.status == 401 else error.status, str(error))
        except WherryError as error:
            status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
            response = error_page(request, status, str(error))
        _finish(request, visit, response)
        return response

    return visited


async def _visit(request: web.Request) -> Visit:
    session = request.cookies.get(SESSION_COOKIE, "")
    if session:
        user = await hub_of(request).db.read(users.session_user, hash_secret(session))
        if user is not None:
            return Visit(user, session, {}, fresh=False)
    visitor = request.cookies.get(_VISITOR_COOKIE, "")
    if len(visitor) >= 32:
        return Visit(None, visitor, {}, fresh=False)
    return Visit(None, secrets.token_urlsafe(32), {}, fresh=True)


async def _read_form(request: web.Request, visit: Visit) -> None:
    """Reads the form and refuses those that another site made the browser send."""
    origin = request.headers.get("Origin")
    if origin is not None and origin != "null":
        own = base_url(request).partition("://")[2].partition("/")[0]
        if origin.partition("://")[2] not in (own, request.host):
            raise Forbidden("the form was sent from another site")
    visit.form = await form_fields(request)
    if not hmac.compare_digest(visit.form.get("csrf", "").encode(), visit.csrf.encode()):
        raise Forbidden("the form is out of date; go back, reload the page and send it again")


def _finish(request: web.Request, visit: Visit, response: web.StreamResponse) -> None:
    response.headers.update(SECURITY_HEADERS)
    response.headers["Cache-Control"] = "no-store" if visit.user else "no-cache"
    if visit.fresh:
        response.set_cookie(
            _VISITOR_COOKIE,
            visit.secret,
            max_age=_VISITOR_SECONDS,
            httponly=True,
            samesite="Lax",
            secure=scheme(request) == "https",
        )


def user_of(request: web.Request) -> User:
    """The logged-in user; sends everybody else to the login page."""
    user = request[VISIT].user
    if user is None:
        raise web.HTTPSeeOther(f"/login?next={request.rel_url.raw_path}")
    return user


def form_of(request: web.Request) -> dict[str, str]:
    """The checked form of a POST."""
    return request[VISIT].form


def page_number(request: web.Request) -> int:
    """Which page of a list the URL asks for, from 1 on."""
    text = request.query.get("page", "1")
    return max(int(text), 1) if text.isdecimal() and len(text) < 6 else 1


async def named_user(request: web.Request) -> User:
    """The user whom a form names; InvalidParameter when there is none."""
    name = form_of(request).get("user", "").strip().lower()
    found = await hub_of(request).db.read(users.by_name, name)
    if found is None:
        raise InvalidParameter(f"there is no user {name}")
    return found


def show(request: web.Request, template: str, *, status: int = 200, **values: Any) -> web.Response:
    """Renders a template with what all pages need."""
    visit = request[VISIT]
    notice = request.cookies.get(_NOTICE_COOKIE, "")
    html = render(
        template,
        user=visit.user,
        csrf=visit.csrf,
        path=request.path,
        host=base_url(request).partition("://")[2],
        base_url=base_url(request),
        title_of_site=hub_of(request).config.title,
        sign_up_open=hub_of(request).config.sign_up,
        notice=_NOTICES.get(notice, ""),
        **{"query": "", **values},
    )
    response = web.Response(text=html, content_type="text/html", status=status)
    if notice:
        response.del_cookie(_NOTICE_COOKIE)
    return response


def error_page(request: web.Request, status: int, message: str) -> web.Response:
    """An error with its explanation."""
    if status == 404:
        message = "There is nothing here, or nothing that you may see."
    return show(request, "error.html", status=status, code=status, message=message)


_NOTICES = {
    "saved": "Saved.",
    "deleted": "Deleted.",
    "restored": "Restored.",
    "password": "Your password was changed; other sessions were ended.",
    "revoked": "Revoked.",
    "created": "Created.",
    "welcome": "Welcome aboard!",
}


def back(location: str, notice: str = "") -> web.Response:
    """Redirects after a form, with a short notice on the next page."""
    response = web.Response(status=303, headers={"Location": location})
    if notice:
        assert notice in _NOTICES
        response.set_cookie(_NOTICE_COOKIE, notice, max_age=30, httponly=True, samesite="Lax")
    return response


def safe_next(target: str) -> str:
    """Where to go after a login: a path of this site, never another one."""
    if not target.startswith("/") or target.startswith(("//", "/\\")):
        return "/"
    # It becomes a header: no control characters, which browsers also drop from addresses.
    if not target.isprintable() or urlsplit(target).netloc:
        return "/"
    return target
