"""Why a registry was not reached is told in words that clients know."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from wherry.errors import Unauthorized
from wherry.registry.failures import login_refused
from wherry.registry.session import reason

KEY: Any = SimpleNamespace(host="registry.test", port=5000, ssl=True, is_ssl=True)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            aiohttp.ClientConnectorError(KEY, OSError(errno.ECONNREFUSED, "x")),
            "dial tcp registry.test:5000: connect: connection refused",
        ),
        (
            aiohttp.ClientConnectorDNSError(KEY, OSError(-3, os.strerror(0))),
            "dial tcp: lookup registry.test: no such host",
        ),
        (TimeoutError("too late"), "too late"),
    ],
)
def test_reasons(error: Exception, text: str) -> None:
    assert reason(error) == text


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("get token from http://r/token: unauthorized: wrong password", "wrong password"),
        ("ping registry: the registry answered 401", "ping registry: the registry answered 401"),
    ],
)
def test_a_refused_login_says_so_once(cause: str, words: str) -> None:
    told = str(login_refused("r", Unauthorized(cause)))
    assert told == f"login attempt to r failed: unauthorized: {words}"
