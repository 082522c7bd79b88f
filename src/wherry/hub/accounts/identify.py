"""From an Authorization header to an actor: passwords, access tokens, bearer tokens."""

from __future__ import annotations

import asyncio
import base64
import binascii
import dataclasses
import hashlib
import secrets
import time

from sqlalchemy import Connection

from wherry.errors import Forbidden, Unauthorized
from wherry.hub.access import ANONYMOUS, Actor, Role
from wherry.hub.accounts import limits
from wherry.hub.accounts.passwords import PasswordVerifier, stamp
from wherry.hub.accounts.tokens import TokenIssuer
from wherry.hub.database import Database
from wherry.hub.records import users
from wherry.hub.records.users import AccessToken
from wherry.hub.texts import is_storable

TOKEN_PREFIX = "whub_"
_WRONG = "incorrect username or password"
_Attempt = tuple[bytes, str, str]


def new_secret() -> str:
    """A fresh access token; only its hash is stored."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """How access tokens and session cookies are stored: they are long and random already."""
    # Headers and cookies may hold any bytes; they come as lone surrogates.
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


class Identifier:
    """Turns credentials into actors; counts failures by address and by name."""

    def __init__(self, db: Database, issuer: TokenIssuer) -> None:
        self._db = db
        self._issuer = issuer
        self._passwords = PasswordVerifier()
        self._attempts: dict[_Attempt, asyncio.Task[bool]] = {}

    async def from_header(self, header: str, service: str, address: str) -> Actor:
        """The actor of an Authorization header; ANONYMOUS for an empty one.

        Raises Unauthorized for wrong credentials and Forbidden after too many wrong ones.
        """
        if not header:
            return ANONYMOUS
        if not header.isascii():
            raise Unauthorized("malformed credentials")
        scheme, _, value = header.partition(" ")
        if scheme.lower() == "bearer":
            return await self._bearer(value.strip(), service)
        if scheme.lower() == "basic":
            name, password = _decode_basic(value)
            return await self.login(name, password, address)
        raise Unauthorized(f"unknown authorization scheme {scheme[:20]!r}")

    async def _bearer(self, token: str, service: str) -> Actor:
        if token.startswith(TOKEN_PREFIX):
            return await self.access_token(token)
        claims = await self._issuer.verify(token, service)
        if claims.user is None:
            return Actor(scopes=claims.scopes)
        if claims.token is not None:
            parent = await self._db.read(users.token_by_id, claims.token, int(time.time()))
            if parent is None:
                raise Unauthorized("the access token of this token was revoked")
            return dataclasses.replace(_of_token(parent), scopes=claims.scopes)
        user = await self._db.read(users.by_id, claims.user)
        if user is None or user.disabled:
            raise Unauthorized("the account of this token is gone")
        if claims.stamp and claims.stamp != stamp(user.password):
            raise Unauthorized("the password of this token's account was changed")
        return Actor(user.id, user.name, user.admin, Role(claims.role), claims.scopes)

    async def login(self, name: str, password: str, address: str) -> Actor:
        """The actor with that name and password or access token.

        Raises Unauthorized, and Forbidden after too many attempts. An attempt counts before its
        password is hashed, so a burst gets no further than a row; a right one is taken back.
        """
        name = name.lower()
        if password.startswith(TOKEN_PREFIX):
            try:
                return await self.access_token(password, name)
            except Unauthorized:
                await self._count(name, address)
                raise
        user = await self._db.read(users.by_name, name)
        stored = user.password if user else ""
        good = await self._check(name, stored, password, address)
        if user is None or not good or user.disabled:
            raise Unauthorized(_WRONG)
        return Actor(user.id, user.name, user.admin, stamp=stamp(stored))

    async def hash_password(self, password: str) -> str:
        """What is stored of a new password."""
        return await self._passwords.hash(password)

    async def _count(self, name: str, address: str) -> float:
        now = time.time()
        if not await self._db.write(limits.count, limits.logins(name, address), now):
            raise Forbidden("too many failed logins; wait a minute")
        return now

    async def _check(self, name: str, stored: str, password: str, address: str) -> bool:
        """Whether the password is right; the same attempts at the same time share one hash.

        A client that starts thirty pulls at once logs in thirty times: that is one attempt.
        """
        mark = self._passwords.mark(stored, password)
        if self._passwords.remembers(mark):
            return True
        key = (mark, name, address)
        attempt = self._attempts.get(key)
        if attempt is None:
            # A task: whoever is first may hang up while others wait.
            attempt = asyncio.create_task(self._attempt(name, stored, password, address))
            self._attempts[key] = attempt
            attempt.add_done_callback(lambda done: self._forget(key, done))
            return await asyncio.shield(attempt)
        good = await asyncio.shield(attempt)
        if not good:
            await self._count(name, address)
        return good

    async def _attempt(self, name: str, stored: str, password: str, address: str) -> bool:
        counted = await self._count(name, address)
        good = await self._passwords.verify(stored, password)
        if good:
            await self._db.write(limits.uncount, limits.logins(name, address), counted)
        return good

    def _forget(self, key: _Attempt, done: asyncio.Task[bool]) -> None:
        del self._attempts[key]
        if not done.cancelled():
            done.exception()  # somebody was told, or nobody is left to be

    async def access_token(self, secret: str, name: str | None = None) -> Actor:
        """The actor with that access token, which must be of the user ``name`` if that is given.

        Raises Unauthorized.
        """
        token = await self._db.read(users.token, hash_secret(secret), int(time.time()))
        if token is None or (name is not None and name.lower() != token.user.name):
            raise Unauthorized(_WRONG)
        if token.stale:
            await self._db.write(_note_use, token.id)
        return _of_token(token)

    async def descend(self, actor: Actor, name: str, lifetime: int, address: str) -> str:
        """The secret of a new login token that ends with the credentials of ``actor``.

        ``name`` and ``address`` tell its user where it is; ``lifetime`` is in seconds. Raises
        Forbidden for credentials that must not multiply: anonymous ones and bearer tokens.
        """
        if actor.user is None or actor.scopes is not None:
            raise Forbidden("a token needs a login")
        secret, expires = new_secret(), int(time.time()) + lifetime
        login = users.Login(actor.user, name, address, int(actor.ceiling), expires, actor.token)
        await self._db.write(users.add_login, login, hash_secret(secret))
        return secret


def _of_token(token: AccessToken) -> Actor:
    user = token.user
    role = Role(token.role)
    return Actor(user.id, user.name, user.admin, role, token=token.id, expires=token.expires)


def _note_use(conn: Connection, token: int) -> None:
    users.note_token_use(conn, token, int(time.time()))


def _decode_basic(value: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Unauthorized("malformed basic credentials") from None
    name, colon, password = text.partition(":")
    if not colon or not is_storable(text):
        raise Unauthorized("malformed basic credentials")
    return name, password
