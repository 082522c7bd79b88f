"""Bearer tokens of the registry: JWTs signed with keys that rotate.

A key signs for ``key_lifetime`` seconds and verifies for as long again. Keys are looked up by
``kid`` in the hub's own database only; nothing in a token's header is ever used as a key
(CVE-2025-24976), and the algorithm is fixed.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, select

from wherry.errors import Unauthorized
from wherry.hub.access import CATALOG, Actor
from wherry.hub.database import Database
from wherry.hub.schema import signing_keys

_ALGORITHM = "EdDSA"
_ISSUER = "wherry-hub"
_REREAD_SECONDS = 5


@dataclass(frozen=True)
class Claims:
    """What a verified token says; ``token`` or ``stamp`` tells what it was made with."""

    user: int | None
    name: str
    role: int
    scopes: dict[str, frozenset[str]]
    token: int | None
    stamp: str


@dataclass(frozen=True)
class Issued:
    """A new token, when it was made (unix seconds), and for how many seconds it is good."""

    token: str
    at: int
    seconds: int


@dataclass(frozen=True)
class _Key:
    id: str
    private: Ed25519PrivateKey
    created: int


class TokenIssuer:
    """Signs and verifies tokens for one service (the hub's name for itself)."""

    def __init__(self, db: Database, key_lifetime: int, token_lifetime: int) -> None:
        self._db = db
        self._key_lifetime = key_lifetime
        self.token_lifetime = token_lifetime
        self._keys: dict[str, _Key] = {}
        self._read_at = 0.0

    async def issue(self, service: str, actor: Actor, access: list[dict[str, Any]]) -> Issued:
        """A signed token for what ``access`` lists; it ends with the credentials of ``actor``."""
        key = await self._signing_key()
        now = int(time.time())
        end = now + self.token_lifetime
        if actor.expires is not None:
            end = min(end, actor.expires)
        claims = {
            "iss": _ISSUER,
            "sub": actor.name,
            "aud": service,
            "iat": now,
            "nbf": now - 10,
            "exp": end,
            "jti": secrets.token_hex(12),
            "uid": actor.user,
            "role": int(actor.ceiling),
            "tok": actor.token,
            "pwd": actor.stamp,
            "access": access,
        }
        token = jwt.encode(claims, key.private, algorithm=_ALGORITHM, headers={"kid": key.id})
        return Issued(token, now, end - now)

    async def verify(self, token: str, service: str) -> Claims:
        """The claims of a token that this hub signed for ``service``. Raises Unauthorized."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = await self._verifying_key(str(kid))
            claims = jwt.decode(
                token,
                key.private.public_key(),
                algorithms=[_ALGORITHM],
                audience=service,
                issuer=_ISSUER,
                options={"require": ["exp", "iat", "nbf", "aud", "iss", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise Unauthorized(f"invalid token: {error}") from None
        scopes = {
            entry["name"]: frozenset(entry["actions"])
            for entry in claims["access"]
            if entry.get("type") == "repository"
        }
        if any(entry.get("type") == "registry" and entry["actions"] for entry in claims["access"]):
            scopes[CATALOG] = frozenset("*")
        return Claims(
            user=claims["uid"],
            name=claims["sub"],
            role=claims["role"],
            scopes=scopes,
            token=claims.get("tok"),
            stamp=claims.get("pwd", ""),
        )

    async def _signing_key(self) -> _Key:
        newest = max(self._keys.values(), key=lambda key: key.created, default=None)
        if newest is None or newest.created < time.time() - self._key_lifetime:
            await self._db.write(_rotate, int(time.time()), self._key_lifetime)
            await self._reread()
            newest = max(self._keys.values(), key=lambda key: key.created)
        return newest

    async def _verifying_key(self, kid: str) -> _Key:
        # Another process may have made a key; unknown ids may cost one query in five seconds.
        if kid not in self._keys and time.monotonic() > self._read_at + _REREAD_SECONDS:
            await self._reread()
        key = self._keys.get(kid)
        if key is None:
            raise Unauthorized("invalid token: unknown key")
        if key.created + 2 * self._key_lifetime < time.time():
            raise Unauthorized("invalid token: its key is retired")
        return key

    async def _reread(self) -> None:
        self._read_at = time.monotonic()
        rows = await self._db.read(_all)
        self._keys = {
            row["id"]: self._keys.get(row["id"])
            or _Key(row["id"], _load(row["private"]), row["created"])
            for row in rows
        }


def _load(pem: str) -> Ed25519PrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def _all(conn: Connection) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in conn.execute(select(signing_keys))]


def _rotate(conn: Connection, now: int, lifetime: int) -> None:
    """Adds a key unless another process just did; drops keys that verify nothing any more."""
    fresh = conn.execute(select(signing_keys.c.id).where(signing_keys.c.created >= now - lifetime))
    if fresh.first() is not None:
        return
    conn.execute(signing_keys.delete().where(signing_keys.c.created < now - 2 * lifetime))
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    conn.execute(
        signing_keys.insert().values(id=secrets.token_hex(8), private=pem.decode(), created=now)
    )
