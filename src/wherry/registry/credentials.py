"""Who talks to a registry, and to whom the secret may be told."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from wherry.errors import InvalidParameter

# Second-level labels below which people, not registries of names, own domains ("co.uk").
_SHARED_SECOND_LEVEL = frozenset({"ac", "co", "com", "edu", "gov", "net", "or", "org"})


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account; ``identity_token`` is an OAuth2 refresh token, ``registry_token`` a bearer's."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __bool__(self) -> bool:
        return bool(self.username or self.identity_token or self.registry_token)

    @property
    def basic(self) -> str:
        """Value of an ``Authorization`` header with name and password (RFC 7617)."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    @classmethod
    def from_header(cls, values: Mapping[str, Any] | None) -> Credentials:
        """From the decoded ``X-Registry-Auth`` header; raises InvalidParameter."""
        texts = {}
        for field, key in (
            ("username", "username"),
            ("password", "password"),
            ("identity_token", "identitytoken"),
            ("registry_token", "registrytoken"),
        ):
            value = (values or {}).get(key) or ""
            if not isinstance(value, str):
                raise InvalidParameter(f"invalid X-Registry-Auth header: {key} is not a string")
            texts[field] = value
        return cls(**texts)


ANONYMOUS = Credentials()


def may_tell(registry_host: str, url: str) -> bool:
    """Whether a secret for ``registry_host`` may go to ``url``.

    A registry names the place that gives tokens, and a bad one could name a place of somebody
    else: only the same host or the same registrable domain is told, and plain HTTP only the same
    host.
    """
    parts = urlsplit(url)
    told, own = (parts.hostname or "").lower(), _host(registry_host)
    if told == own:
        return True
    if parts.scheme != "https" or _is_address(told) or _is_address(own):
        return False
    return _registrable(told) == _registrable(own)


def _host(text: str) -> str:
    return (urlsplit(f"//{text}").hostname or "").lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _registrable(host: str) -> str:
    labels = host.split(".")
    deep = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SHARED_SECOND_LEVEL
    return ".".join(labels[-3 if deep else -2 :])
