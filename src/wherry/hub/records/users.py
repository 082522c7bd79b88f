"""Users, their access tokens and their sessions."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update

from wherry.errors import Conflict, InvalidParameter, Unauthorized
from wherry.hub import reserved
from wherry.hub.records.repositories import create_owner, owner_id, reserved_owners
from wherry.hub.schema import access_tokens, sessions, users

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9]|[._-](?=[a-z0-9])){1,38}")
_USE_RESOLUTION = 300
_MOST_LOGINS = 200
SHOW_EXPIRED = 30 * 86_400
"""Seconds for which a personal token that ran out is still listed."""


@dataclass(frozen=True)
class User:
    """One account."""

    id: int
    name: str
    email: str
    display_name: str
    password: str
    admin: bool
    disabled: bool
    created: int


@dataclass(frozen=True)
class AccessToken:
    """An access token with its user; ``stale`` when its use was noted long ago."""

    id: int
    role: int
    expires: int | None
    user: User
    stale: bool


@dataclass(frozen=True)
class Login:
    """A token that a login makes; ``parent`` is the token that was the password, if it was one."""

    user: int
    name: str
    address: str
    role: int
    expires: int
    parent: int | None


def check_name(name: str) -> str:
    """``name`` when it can name a user or organisation. Raises InvalidParameter."""
    if not _NAME.fullmatch(name):
        raise InvalidParameter(
            "a name has 2 to 39 lower-case letters, digits and single . _ - between them"
        )
    return name


def check_free(conn: Connection, name: str, *, administrator: bool) -> None:
    """Whether a new user or organisation may be called so. Raises InvalidParameter, Conflict.

    ``administrator``: the new user, or who makes the organisation, administers the hub.
    """
    check_name(name)
    reason = reserved.refusal(name, reserved_owners(conn), administrator=administrator)
    if reason is not None:
        raise Conflict(reason)
    if owner_id(conn, name) is not None or by_name(conn, name) is not None:
        raise Conflict(f"the name {name} is taken")


def by_id(conn: Connection, user: int) -> User | None:
    """The user with that id."""
    row = conn.execute(select(users).where(users.c.id == user)).first()
    return User(**row._mapping) if row else None


def by_name(conn: Connection, name: str) -> User | None:
    """The user with that name."""
    row = conn.execute(select(users).where(users.c.name == name)).first()
    return User(**row._mapping) if row else None


def count(conn: Connection) -> int:
    """How many accounts there are."""
    return conn.execute(select(func.count()).select_from(users)).scalar_one()


def create(
    conn: Connection, name: str, password_hash: str, email: str = "", *, admin: bool = False
) -> User:
    """Adds a user and the owner of the same name. Raises InvalidParameter, Conflict."""
    check_free(conn, name, administrator=admin)
    conn.execute(
        users.insert().values(
            name=name,
            email=email,
            password=password_hash,
            admin=admin,
            created=int(time.time()),
        )
    )
    user = by_name(conn, name)
    assert user is not None
    create_owner(conn, name, user.id)
    return user


def change(conn: Connection, /, user: int, **values: Any) -> None:
    """Sets columns of a user."""
    conn.execute(update(users).where(users.c.id == user).values(**values))


def listing(conn: Connection, after: str = "", limit: int = 200) -> list[User]:
    """Accounts by name."""
    rows = conn.execute(
        select(users).where(users.c.name > after).order_by(users.c.name).limit(limit)
    )
    return [User(**row._mapping) for row in rows]


def add_token(
    conn: Connection, user: int, name: str, secret_hash: str, role: int, expires: int | None
) -> None:
    """Stores the hash of a new personal token."""
    conn.execute(
        access_tokens.insert().values(
            user_id=user,
            name=name,
            hash=secret_hash,
            role=role,
            created=int(time.time()),
            expires=expires,
        )
    )


def add_login(conn: Connection, login: Login, secret_hash: str) -> None:
    """Stores the hash of a login's token: capped by its parent, and gone when that goes.

    A user has so many of them at most; the oldest make room. Raises Unauthorized when the
    parent was revoked meanwhile.
    """
    role, expires = login.role, login.expires
    if login.parent is not None:
        parent = token_by_id(conn, login.parent, int(time.time()))
        if parent is None:
            raise Unauthorized("the access token was revoked")
        role = min(role, parent.role)
        expires = expires if parent.expires is None else min(expires, parent.expires)
    conn.execute(
        access_tokens.insert().values(
            user_id=login.user,
            parent_id=login.parent,
            name=login.name[:60],
            address=login.address,
            hash=secret_hash,
            kind="refresh",
            role=role,
            created=int(time.time()),
            expires=expires,
        )
    )
    logins = select(access_tokens.c.id).where(
        access_tokens.c.user_id == login.user, access_tokens.c.kind == "refresh"
    )
    too_old = conn.execute(
        logins.order_by(access_tokens.c.id.desc()).offset(_MOST_LOGINS).limit(1)
    ).scalar()
    if too_old is not None:
        conn.execute(
            access_tokens.delete().where(
                access_tokens.c.id.in_(logins.where(access_tokens.c.id <= too_old))
            )
        )


def token(conn: Connection, secret_hash: str, now: int) -> AccessToken | None:
    """The live token with that hash, of a live account."""
    return _live_token(conn, access_tokens.c.hash == secret_hash, now)


def token_by_id(conn: Connection, token_id: int, now: int) -> AccessToken | None:
    """The live token with that id, of a live account."""
    return _live_token(conn, access_tokens.c.id == token_id, now)


def _live_token(conn: Connection, condition: Any, now: int) -> AccessToken | None:
    row = conn.execute(
        select(
            access_tokens.c.id,
            access_tokens.c.role,
            access_tokens.c.user_id,
            access_tokens.c.used,
            access_tokens.c.expires,
        ).where(condition)
    ).first()
    if row is None or (row.expires is not None and row.expires <= now):
        return None
    user = by_id(conn, row.user_id)
    if user is None or user.disabled:
        return None
    stale = (row.used or 0) < now - _USE_RESOLUTION
    return AccessToken(row.id, row.role, row.expires, user, stale)


def note_token_use(conn: Connection, token_id: int, now: int) -> None:
    """Remembers that a token was used (to some minutes)."""
    conn.execute(update(access_tokens).where(access_tokens.c.id == token_id).values(used=now))


def tokens_of(conn: Connection, user: int) -> list[dict[str, Any]]:
    """The user's personal tokens, newest first."""
    return _tokens(conn, user, "personal", int(time.time()) - SHOW_EXPIRED)


def logins_of(conn: Connection, user: int) -> list[dict[str, Any]]:
    """The live tokens that logins of programs made for the user, newest first.

    ``parent`` is the name of the personal token that was the password, if it was one.
    """
    return _tokens(conn, user, "refresh", int(time.time()))


def _tokens(conn: Connection, user: int, kind: str, since: int) -> list[dict[str, Any]]:
    parent = access_tokens.alias("parent")
    rows = conn.execute(
        select(access_tokens, parent.c.name.label("parent"))
        .outerjoin(parent, parent.c.id == access_tokens.c.parent_id)
        .where(
            access_tokens.c.user_id == user,
            access_tokens.c.kind == kind,
            access_tokens.c.expires.is_(None) | (access_tokens.c.expires > since),
        )
        .order_by(access_tokens.c.id.desc())
    )
    return [dict(row._mapping) for row in rows]


def remove_token(conn: Connection, user: int, token_id: int) -> bool:
    """Revokes one of the user's tokens and what descends from it; False when it is not theirs."""
    gone = conn.execute(
        access_tokens.delete().where(
            access_tokens.c.id == token_id, access_tokens.c.user_id == user
        )
    )
    return gone.rowcount > 0


def add_session(
    conn: Connection, user: int, secret_hash: str, lifetime: int, address: str, agent: str
) -> None:
    """Stores a new web session and drops expired ones."""
    now = int(time.time())
    conn.execute(sessions.delete().where(sessions.c.expires < now))
    conn.execute(
        sessions.insert().values(
            hash=secret_hash,
            user_id=user,
            created=now,
            expires=now + lifetime,
            address=address,
            agent=agent[:200],
        )
    )


def session_user(conn: Connection, secret_hash: str) -> User | None:
    """The live account of a live session."""
    row = conn.execute(
        select(sessions.c.user_id).where(
            sessions.c.hash == secret_hash, sessions.c.expires > int(time.time())
        )
    ).first()
    user = by_id(conn, row.user_id) if row else None
    return None if user is None or user.disabled else user


def remove_session(conn: Connection, secret_hash: str) -> None:
    """Ends one session."""
    conn.execute(sessions.delete().where(sessions.c.hash == secret_hash))


def remove_sessions(conn: Connection, user: int) -> None:
    """Ends what was made with a user's password: web sessions and logins of programs."""
    conn.execute(sessions.delete().where(sessions.c.user_id == user))
    conn.execute(
        access_tokens.delete().where(
            access_tokens.c.user_id == user,
            access_tokens.c.kind == "refresh",
            access_tokens.c.parent_id.is_(None),
        )
    )
