"""A registry's refusals as Wherry's kinds of failure, in the words that clients know.

Registries answer ``{"errors": [{"code", "message", "detail"}]}`` (OCI distribution-spec,
"Error Codes").
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from wherry.errors import (
    Forbidden,
    InvalidParameter,
    NotFound,
    Unauthorized,
    Unavailable,
    WherryError,
)

PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses of failures that may pass: the same request is worth another attempt."""


class TooManyRequests(WherryError):
    """The registry limits requests (429); ``wish`` is its Retry-After."""

    wish: str | None = None


def from_answer(status: int, body: bytes, what: str, wish: str | None = None) -> WherryError:
    """The failure for an answer; ``what`` says what was attempted, on what."""
    code, message = _first_error(body)
    said = f"{code.lower().replace('_', ' ')}: {message}" if code else message
    text = f"{what}: {said}" if said else f"{what}: the registry answered {status}"
    if status == 401:
        return Unauthorized(text)
    if status == 403:
        return Forbidden(text)
    if status == 404:
        return NotFound(text)
    if status == 429:
        refusal = TooManyRequests(f"toomanyrequests: {text}")
        refusal.wish = wish
        return refusal
    if status >= 500:
        return Unavailable(text)
    return WherryError(text)


def parse_answer(body: bytes, what: str) -> dict[str, Any]:
    """A JSON object; WherryError when it is none."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise WherryError(f"{what}: the answer is not a JSON object")
    return answer


async def read_limited(response: aiohttp.ClientResponse, limit: int, what: str) -> bytes:
    """The body of an answer; raises InvalidParameter when it has more than ``limit`` bytes."""
    data = bytearray()
    while len(data) <= limit and (piece := await response.content.readany()):
        data += piece
    if len(data) > limit:
        raise InvalidParameter(f"{what}: it has more than {limit >> 20} MiB")
    return bytes(data)


def joined(base: str, location: str) -> str:
    """Where a Location header leads; raises Unavailable for what is no http(s) URL."""
    try:
        url = urljoin(base, location)
        split = urlsplit(url)
        if split.scheme in ("http", "https") and split.hostname and split.port != 0:
            return url
    except ValueError:  # also of a port
        pass
    raise Unavailable(f"the registry sends to a malformed address: {location[:200]!r}")


def _first_error(body: bytes) -> tuple[str, str]:
    try:
        error = json.loads(body)["errors"][0]
        return str(error.get("code", "")), str(error.get("message", ""))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return "", ""


def pull_denied(familiar_name: str) -> NotFound:
    """What people see when a repository is private or not there: the two are not told apart."""
    return NotFound(
        f"pull access denied for {familiar_name}, repository does not exist or may require"
        " 'docker login': denied: requested access to the resource is denied"
    )


def push_denied(cause: WherryError) -> Forbidden:
    """What people see who may not push; the registry's own words follow."""
    return Forbidden(f"denied: requested access to the resource is denied ({cause})")


def login_refused(address: str, cause: Unauthorized) -> Unauthorized:
    """What ``docker login`` shows: the registry's own words, once."""
    words = str(cause).rpartition("unauthorized: ")[2]
    return Unauthorized(f"login attempt to {address} failed: unauthorized: {words}")


def manifest_unknown(reference: str) -> NotFound:
    """What people see when a tag or digest is not there."""
    return NotFound(f"manifest for {reference} not found: manifest unknown: manifest unknown")
