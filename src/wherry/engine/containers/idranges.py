"""Which host ids a container's user namespace gets: ids that nobody else on this machine has.

An engine takes ids in blocks, and claims a block for its data root in a folder that all engines
of the machine share, below /run: so no two engines ever have the same ids, whether they run or
their containers live on without them. What /etc/subuid and /etc/subgid give to others is left
out, subuid(5); where they have an entry for ``wherry``, everything comes from there.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from wherry.errors import KernelError, Unavailable

log = logging.getLogger(__name__)

SIZE = 65536
"""Ids in one range: one container's."""

OWNER = "wherry"
CLAIMS = "/run/wherry-ids"
_SUBORDINATE = ("/etc/subuid", "/etc/subgid")
_ACCOUNTS = ("/etc/passwd", "/etc/group")
_RANGES_A_BLOCK = 16

_LOWEST, _HIGHEST = 65536, 2**32 - 1
"""Users of the machine and its "nobody" lie below; the last id of all means "none", setuid(2)."""

_FIRST, _END = 524288, 1879048192
"""The ids that systemd's UIDS-GIDS sets aside for containers with 65,536 ids each."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of /etc/subuid or /etc/subgid: ``count`` ids from ``first`` belong to ``owner``."""

    owner: str
    first: int
    count: int

    @property
    def end(self) -> int:
        """The first id behind it."""
        return self.first + self.count


def parse(text: str) -> tuple[Entry, ...]:
    """The entries of /etc/subuid or /etc/subgid; lines that are none are passed over."""
    entries = []
    for line in text.splitlines():
        fields = line.strip().split(":")
        if (
            len(fields) == 3
            and fields[0][:1] != "#"
            and all(f.isascii() and f.isdecimal() for f in fields[1:])
        ):
            entries.append(Entry(fields[0], int(fields[1]), int(fields[2])))
    return tuple(entries)


def parse_accounts(text: str) -> tuple[Entry, ...]:
    """The ids of /etc/passwd or /etc/group, one each."""
    entries = (line.split(":") for line in text.splitlines())
    ids = [(entry[0], entry[2]) for entry in entries if len(entry) > 2]
    return tuple(Entry(n, int(id_), 1) for n, id_ in ids if id_.isascii() and id_.isdecimal())


@dataclass(frozen=True, slots=True)
class Block:
    """What is claimed at once: the ids from ``start`` to before ``end``.

    ``ranges`` are the first ids of those of its ranges that are nobody else's.
    """

    start: int
    end: int
    ranges: tuple[int, ...]


def blocks(
    users: Iterable[Entry], groups: Iterable[Entry], accounts: Iterable[Entry] = ()
) -> Iterator[Block]:
    """Every block that engines may claim and that has a range, lowest first.

    A range holds for users and groups alike. ``users`` and ``groups`` are the entries of
    /etc/subuid and /etc/subgid.
    """
    users, groups = tuple(users), tuple(groups)
    own = [
        (max(a, c, _LOWEST), min(b, d, _HIGHEST))
        for a, b in merged(entry for entry in users if entry.owner == OWNER)
        for c, d in merged(entry for entry in groups if entry.owner == OWNER)
    ]
    others = [entry for entry in (*users, *groups) if entry.owner != OWNER]
    foreign = merged([*others, *accounts])
    for first, last in sorted(own) or [(_FIRST, _END)]:
        for start in range(first, last - SIZE + 1, SIZE * _RANGES_A_BLOCK):
            end = min(start + SIZE * _RANGES_A_BLOCK, last)
            ranges = tuple(
                r
                for r in range(start, end - SIZE + 1, SIZE)
                if not any(a < r + SIZE and r < b for a, b in foreign)
            )
            if ranges:
                yield Block(start, end, ranges)


def merged(entries: Iterable[Entry]) -> list[tuple[int, int]]:
    """The ids of many entries as few spans, each from its first id to behind its last."""
    spans: list[tuple[int, int]] = []
    for entry in sorted(entries, key=lambda entry: entry.first):
        if spans and entry.first <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], entry.end))
        else:
            spans.append((entry.first, entry.end))
    return spans


@dataclass(frozen=True, slots=True)
class _Claim:
    start: int
    end: int
    owner: str
    name: str


class IdRanges:
    """The ranges of one engine. A claim is a file ``<start>-<end>`` that names its data root.

    It ends when the machine does, or when the data root is no more.
    """

    def __init__(
        self,
        data_root: str,
        claims: str = CLAIMS,
        subordinate: Sequence[str] = _SUBORDINATE,
        accounts: Sequence[str] = _ACCOUNTS,
    ) -> None:
        self._data_root = os.path.realpath(data_root)
        self._claims = claims
        self._subordinate = subordinate
        self._accounts = accounts
        self._ours: list[int] = []
        self._next = 0

    def take(self, taken: Collection[int]) -> int:
        """The first id of a range that is not ``taken`` by a container of this engine.

        Ours come in turn, so that ids given up rest for a while. Raises Unavailable when there
        are none left, KernelError when claims cannot be kept.
        """
        for step in range(len(self._ours)):
            place = (self._next + step) % len(self._ours)
            if self._ours[place] not in taken:
                self._next = place + 1
                return self._ours[place]
        new = self._claim(lambda block: any(first not in taken for first in block.ranges))
        if new is None:
            raise Unavailable(
                "no host ids are left for a user namespace: give more to the user"
                f" {OWNER} in {' and '.join(self._subordinate)}, or use --userns=host"
            )
        return self.take(taken)

    def keep(self, first: int) -> None:
        """Claim what a container has from before, unless another engine was faster."""
        if first not in self._ours:
            try:
                self._claim(lambda block: first in block.ranges)
            except KernelError as error:
                log.warning("the host ids from %d: %s", first, error)

    def give_up(self) -> None:
        """Let every claim go: no container is left."""
        self._ours, self._next = [], 0
        with contextlib.suppress(KernelError), self._locked():
            for claim in self._read_claims():
                if claim.owner == self._data_root:
                    _remove(f"{self._claims}/{claim.name}")

    def _claim(self, wanted: Callable[[Block], bool]) -> Block | None:
        """The lowest block that is wanted and neither used here yet nor another engine's."""
        users, groups = (parse(_read(path)) for path in self._subordinate)
        accounts = [entry for path in self._accounts for entry in parse_accounts(_read(path))]
        have = {*self._ours}
        with self._locked():
            foreign = [claim for claim in self._read_claims() if claim.owner != self._data_root]
            for block in blocks(users, groups, accounts):
                if have.intersection(block.ranges) or not wanted(block):
                    continue
                if any(c.start < block.end and block.start < c.end for c in foreign):
                    continue
                _write(f"{self._claims}/{block.start}-{block.end}", self._data_root)
                self._next = len(self._ours)
                self._ours += block.ranges
                return block
        return None

    def _read_claims(self) -> list[_Claim]:
        """All claims that hold; those of data roots that are gone are taken away."""
        found = []
        for name in os.listdir(self._claims):
            start, dash, end = name.partition("-")
            if not (dash and start.isdecimal() and end.isdecimal()):
                continue
            claim = _Claim(int(start), int(end), _read(f"{self._claims}/{name}"), name)
            if os.path.isdir(claim.owner):
                found.append(claim)
            else:
                _remove(f"{self._claims}/{name}")
        return found

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            os.makedirs(self._claims, 0o700, exist_ok=True)
            fd = os.open(f"{self._claims}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise KernelError("claim host ids", self._claims, error.errno or 0) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise KernelError("read host ids", path, error.errno or 0) from error


def _write(path: str, text: str) -> None:
    temporary = f"{path}.new"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(temporary, path)
    except OSError as error:
        raise KernelError("claim host ids", path, error.errno or 0) from error


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
