"""Passwords: argon2id hashes, and a short memory of the ones just verified.

``docker pull`` sends the password with every token request; the memory spares a hash of 20 ms
and 19 MiB each time. It holds no password, only a keyed digest, and forgets after minutes.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from wherry.errors import InvalidParameter

# The second recommended option of RFC 9106 scaled to what OWASP names as the floor.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_MINIMUM = 8
_MAXIMUM = 1024
_REMEMBER_SECONDS = 300
_REMEMBER_COUNT = 4096


def check_strength(password: str) -> None:
    """Raises InvalidParameter for passwords too short or absurdly long."""
    if len(password) < _MINIMUM:
        raise InvalidParameter(f"the password needs at least {_MINIMUM} characters")
    if len(password) > _MAXIMUM:
        raise InvalidParameter(f"the password has more than {_MAXIMUM} characters")


def hash_password(password: str) -> str:
    """An argon2id hash with its parameters and salt."""
    return _hasher.hash(password)


def stamp(stored: str) -> str:
    """What changes with a password, for tokens to carry: nothing can be learnt from it."""
    return hashlib.sha256(f"stamp {stored}".encode()).hexdigest()[:16]


_UNKNOWN_USER = hash_password(os.urandom(16).hex())


class PasswordVerifier:
    """Hashes and verifies in two threads, so that a burst of logins cannot eat the memory."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2, "hub-argon2")
        self._key = os.urandom(32)
        self._remembered: OrderedDict[bytes, float] = OrderedDict()

    async def hash(self, password: str) -> str:
        """``hash_password`` beside the event loop, one of few at a time."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, hash_password, password)

    def mark(self, stored: str, password: str) -> bytes:
        """What stands for this password and this hash in memory."""
        text = f"{stored}\0{password}".encode(errors="surrogatepass")
        return hmac.digest(self._key, text, hashlib.sha256)

    def remembers(self, mark: bytes) -> bool:
        """Whether the password was verified a short while ago."""
        return self._remembered.get(mark, 0) > time.monotonic()

    async def verify(self, stored: str, password: str) -> bool:
        """Whether ``password`` belongs to the hash; an empty hash (no such user) takes as long."""
        if len(password) > _MAXIMUM:
            return False
        mark = self.mark(stored, password)
        if self.remembers(mark):
            return True
        loop = asyncio.get_running_loop()
        good = await loop.run_in_executor(self._pool, _verify, stored or _UNKNOWN_USER, password)
        if not good or not stored:
            return False
        self._remembered[mark] = time.monotonic() + _REMEMBER_SECONDS
        if len(self._remembered) > _REMEMBER_COUNT:
            self._remembered.popitem(last=False)
        return True


def _verify(stored: str, password: str) -> bool:
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
