"""Bearer tokens (distribution: docs/spec/auth/token.md and oauth.md), fetched and remembered."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import urlencode

import aiohttp

from wherry.errors import Unauthorized
from wherry.registry.challenge import Challenge
from wherry.registry.credentials import Credentials, may_tell
from wherry.registry.failures import PASSING, from_answer, joined, parse_answer, read_limited

CLIENT_ID = "wherry"
_DEFAULT_LIFETIME = 60.0
_LONGEST_LIFETIME = 1e9
_SAFETY_SECONDS = 10.0
_MAX_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    expires: float


class TokenSource:
    """The tokens of one account at one registry, by scope."""

    def __init__(self, host: str, credentials: Credentials) -> None:
        self._host = host
        self._credentials = credentials
        self._tokens: dict[str, _Token] = {}

    def known(self, scope: str) -> str | None:
        """A token for ``scope`` that will still hold for a while, or None."""
        token = self._tokens.get(scope)
        return token.value if token and token.expires > time.monotonic() else None

    async def fetch(self, http: aiohttp.ClientSession, challenge: Challenge, scope: str) -> str:
        """Get a token for ``scope`` as the challenge says; raises Unauthorized and others.

        The account's secret is sent only to a realm that belongs to the registry.
        """
        if self._credentials.registry_token:
            return self._credentials.registry_token
        realm = challenge.parameters.get("realm", "")
        if not realm.startswith(("http://", "https://")):
            raise Unauthorized(f"{self._host}: the registry names no place that gives tokens")
        realm = joined(realm, realm)
        scopes = scope or challenge.parameters.get("scope", "")
        query = {"service": challenge.parameters.get("service", ""), "scope": scopes}
        trusted = bool(self._credentials) and may_tell(self._host, realm)
        if self._credentials and not trusted:
            raise Unauthorized(
                f"{self._host}: the registry sends for tokens to {realm}, which is not its own"
                " domain: the account's secret is not sent there"
            )
        if trusted and self._credentials.identity_token:
            answer = await self._post(http, realm, query)
        else:
            answer = await self._get(http, realm, query)
        token = _parse(answer, self._host)
        self._tokens[scope] = token
        return token.value

    async def _get(
        self, http: aiohttp.ClientSession, realm: str, query: dict[str, str]
    ) -> dict[str, object]:
        wanted = {name: value for name, value in query.items() if value}
        headers = {}
        if self._credentials.username:
            wanted["account"] = self._credentials.username
            headers["Authorization"] = self._credentials.basic
        separator = "&" if "?" in realm else "?"
        url = f"{realm}{separator}{urlencode(wanted)}"
        async with http.get(url, headers=headers, allow_redirects=False) as response:
            return await _json(response, f"get token from {realm}")

    async def _post(
        self, http: aiohttp.ClientSession, realm: str, query: dict[str, str]
    ) -> dict[str, object]:
        form = query | {
            "grant_type": "refresh_token",
            "refresh_token": self._credentials.identity_token,
            "client_id": CLIENT_ID,
        }
        async with http.post(realm, data=form, allow_redirects=False) as response:
            return await _json(response, f"get token from {realm}")


async def _json(response: aiohttp.ClientResponse, what: str) -> dict[str, object]:
    if response.status in PASSING:
        response.raise_for_status()  # the session tries again, as it does for cut lines
    body = await read_limited(response, _MAX_ANSWER, what)
    if response.status != 200:
        raise from_answer(response.status, body, what)
    return parse_answer(body, what)


def _parse(answer: dict[str, object], host: str) -> _Token:
    value = answer.get("token") or answer.get("access_token")
    if not isinstance(value, str) or not value:
        raise Unauthorized(f"{host}: the token service gave no token")
    lifetime = answer.get("expires_in")
    seconds = _DEFAULT_LIFETIME
    if isinstance(lifetime, int | float) and 0 <= lifetime <= _LONGEST_LIFETIME:
        seconds = float(lifetime)
    return _Token(value, time.monotonic() + max(0.0, seconds - _SAFETY_SECONDS))
