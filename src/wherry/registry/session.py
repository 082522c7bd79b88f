"""One conversation with one registry: requests with authorization, patience and care.

Failures that may pass (no connection, 408, 429, 500, 502, 503, 504) are tried again with
growing pauses; ``Retry-After`` is honoured. A redirect to another host takes no authorization
along.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from wherry import __version__
from wherry.errors import Unauthorized, Unavailable
from wherry.numbers import whole_number
from wherry.registry.challenge import Challenge, parse_challenges
from wherry.registry.credentials import ANONYMOUS, Credentials
from wherry.registry.failures import PASSING, from_answer, joined, read_limited
from wherry.registry.hosts import Endpoint, RegistryOptions, certificates, endpoints
from wherry.registry.tokens import TokenSource

ATTEMPTS = 6
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0
LONGEST_WISH = 60.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=30, sock_connect=15, sock_read=60)
_ERROR_BYTES = 64 * 1024


def reason(error: Exception) -> str:
    """Why a registry cannot be reached, in the words that Docker's clients look for."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {error.host}: no such host"
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno:
        failed = os.strerror(error.os_error.errno).lower()
        return f"dial tcp {error.host}:{error.port}: connect: {failed}"
    return str(error)


def pause(attempt: int, retry_after: str | None = None) -> float:
    """Seconds to wait before attempt ``attempt`` + 1; a registry's own wish wins, in limits."""
    wish = _seconds(retry_after) if retry_after else None
    if wish is not None:
        return min(wish, LONGEST_WISH)
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt) * random.uniform(0.5, 1.0))


def _seconds(retry_after: str) -> float | None:
    """Seconds or an HTTP date (RFC 9110, 10.2.3); None for anything else."""
    if (seconds := whole_number(retry_after)) is not None:
        return float(seconds)
    try:
        then = parsedate_to_datetime(retry_after)
        return max(0.0, (then - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # TypeError: a date without a time zone
        return None


class RegistrySession:
    """Talks to one endpoint on behalf of one account; an async context manager."""

    def __init__(
        self, endpoint: Endpoint, credentials: Credentials, options: RegistryOptions
    ) -> None:
        self.endpoint = endpoint
        self._credentials = credentials
        self._tokens = TokenSource(endpoint.host, credentials)
        self._challenge: Challenge | None = None
        folders = options.certificate_folders
        tls: ssl.SSLContext | bool = True
        if endpoint.url.startswith("https"):
            tls = certificates(endpoint.host, folders, verify=endpoint.verify)
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit_per_host=8),
            timeout=_TIMEOUT,
            headers={"User-Agent": f"wherry/{__version__}"},
            auto_decompress=False,
            trust_env=True,
        )

    async def __aenter__(self) -> RegistrySession:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connections."""
        await self._http.close()

    @property
    def host(self) -> str:
        """The registry's host, for messages."""
        return self.endpoint.host

    def url(self, path: str) -> str:
        """The absolute URL of a path below the registry, or of an upload's own location."""
        return path if "://" in path else urljoin(self.endpoint.url + "/", path.lstrip("/"))

    async def ping(self) -> None:
        """Ask for ``/v2/`` once, which also tells how to authorize.

        Raises Unauthorized for a wrong account and Unavailable when nothing answers.
        """
        async with self.request("GET", "/v2/", what="ping registry", attempts=1):
            return

    @contextlib.asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        *,
        what: str,
        scope: str = "",
        headers: Mapping[str, str] | None = None,
        data: Any = None,
        accept: frozenset[int] = frozenset(),
        attempts: int = ATTEMPTS,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request whose answer is 2xx or in ``accept``; others raise the matching failure.

        ``data`` must be bytes, None, or a function that gives a fresh body for each attempt.
        """
        async with contextlib.AsyncExitStack() as stack:
            response = await self._patiently(
                method, path, what, scope, dict(headers or {}), data, accept, attempts
            )
            stack.callback(response.release)
            yield response

    async def document(
        self,
        path: str,
        limit: int,
        *,
        what: str,
        scope: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        """GET a small document: the answer (for its headers) and its whole body.

        A body that ends early is asked for again. InvalidParameter for more than ``limit`` bytes.
        """
        for attempt in range(ATTEMPTS):
            try:
                async with self.request(
                    "GET", path, what=what, scope=scope, headers=headers
                ) as response:
                    return response, await read_limited(response, limit, what)
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                failure = error
            await asyncio.sleep(pause(attempt))
        raise Unavailable(f'{what}: GET "{self.url(path)}": {reason(failure)}')

    async def _patiently(
        self,
        method: str,
        path: str,
        what: str,
        scope: str,
        headers: dict[str, str],
        data: Any,
        accept: frozenset[int],
        attempts: int,
    ) -> aiohttp.ClientResponse:
        for attempt in range(attempts):
            last = attempt == attempts - 1
            try:
                response = await self._authorized(method, path, scope, headers, data)
            except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError) as error:
                raise Unavailable(f"{what}: {self.url(path)}: {error}") from None
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                if last:
                    where = f'{method} "{self.url(path)}"'
                    raise Unavailable(f"{what}: {where}: {reason(error)}") from None
                await asyncio.sleep(pause(attempt))
                continue
            if response.status < 300 or response.status in accept:
                return response
            body = b""
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
                body = await response.content.read(_ERROR_BYTES)
            wish = response.headers.get("Retry-After")
            response.release()
            if response.status not in PASSING or last:
                raise from_answer(response.status, body, what, wish)
            await asyncio.sleep(pause(attempt, wish))
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _authorized(
        self, method: str, path: str, scope: str, headers: dict[str, str], data: Any
    ) -> aiohttp.ClientResponse:
        response = await self._send(method, path, headers | await self._header(scope), data)
        if response.status != 401:
            return response
        challenge = _choose(response.headers.getall("WWW-Authenticate", []))
        if challenge is None:
            return response
        first_time = self._challenge is None
        self._challenge = challenge
        response.release()
        if challenge.scheme == "basic":
            if not self._credentials.username:
                raise Unauthorized(f"{self.host}: no basic auth credentials")
            if not first_time:
                return response
            return await self._send(method, path, headers | await self._header(scope), data)
        token = await self._tokens.fetch(self._http, challenge, scope)
        bearer = {"Authorization": f"Bearer {token}"}
        return await self._send(method, path, headers | bearer, data)

    async def _header(self, scope: str) -> dict[str, str]:
        if self._challenge is None:
            return {}
        if self._challenge.scheme == "basic":
            return {"Authorization": self._credentials.basic}
        token = self._tokens.known(scope)
        if token is None:
            token = await self._tokens.fetch(self._http, self._challenge, scope)
        return {"Authorization": f"Bearer {token}"}

    async def _send(
        self, method: str, path: str, headers: dict[str, str], data: Any
    ) -> aiohttp.ClientResponse:
        url = self.url(path)
        own = urlsplit(self.endpoint.url)
        for _ in range(_MAX_REDIRECTS):
            target = urlsplit(url)
            if (target.scheme, target.netloc) != (own.scheme, own.netloc):
                headers = {k: v for k, v in headers.items() if k != "Authorization"}
            body = data() if callable(data) else data
            response = await self._http.request(
                method, url, headers=headers, data=body, allow_redirects=False
            )
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location or method not in ("GET", "HEAD"):
                return response
            response.release()
            url = joined(url, location)
            if target.scheme == "https" and not url.startswith("https://"):
                raise Unavailable(f"{self.host}: redirects from HTTPS to {url}: refused")
        raise Unavailable(f"{self.host}: more than {_MAX_REDIRECTS} redirects at {url}")


def _choose(headers: list[str]) -> Challenge | None:
    """The strongest scheme that is known: bearer before basic."""
    challenges = [challenge for header in headers for challenge in parse_challenges(header)]
    for scheme in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.scheme == scheme:
                return challenge
    return None


async def open_sessions(
    domain: str,
    options: RegistryOptions,
    credentials: Credentials = ANONYMOUS,
    *,
    push: bool = False,
) -> AsyncGenerator[RegistrySession, None]:
    """Sessions for the places of a domain, in order, each already greeted; the caller tries one
    after the other until the work is done.

    A mirror that does not answer is passed over. When nothing answers the last failure is raised.
    """
    failure: Exception | None = None
    reached = False
    for endpoint in endpoints(domain, options, push=push):
        own = ANONYMOUS if endpoint.mirror else credentials
        async with RegistrySession(endpoint, own, options) as session:
            try:
                await session.ping()
            except Unavailable as error:
                failure = failure or error
                continue
            except Unauthorized:
                if not endpoint.mirror and own:
                    raise
            reached = True
            yield session
    if not reached and failure is not None:
        raise failure
