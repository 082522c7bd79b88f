"""Users and groups by name, from the container's own /etc/passwd and /etc/group.

Read from inside the container's root, as plain files of bounded size: no name service, no
loader and nothing else of the image is consulted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from wherry.numbers import whole_number
from wherry.runtime.bundle import StartFailed

_LARGEST_FILE = 16 << 20
_MAX_ID = 2**31 - 1
_MAX_GROUPS = 65536

Lines = Callable[[str], "list[list[str]]"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a process runs as."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def read_entries(path: str) -> list[list[str]]:
    """The colon-separated entries of a file; a file that is missing or no plain file has none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        return entries_of(fd)
    finally:
        os.close(fd)


def entries_of(fd: int) -> list[list[str]]:
    """`read_entries` of an open file."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return []
    content = b""
    while len(content) < _LARGEST_FILE and (chunk := os.read(fd, 1 << 16)):
        content += chunk
    return parse_entries(content)


def parse_entries(content: bytes) -> list[list[str]]:
    """The fields of each line that is neither empty nor a comment."""
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    return [line.strip().split(":") for line in lines if line.strip() and line[0] != "#"]


def home_of(uid: int, entries: Lines = read_entries) -> str:
    """The home folder of ``uid``, "/" when it has none."""
    for entry in _users(entries):
        if entry[2] == str(uid):
            return entry[5] or "/"
    return "/"


def resolve(user: str, added: Sequence[str], entries: Lines = read_entries) -> Identity:
    """Who ``user`` ("name", "uid", "name:group", "uid:gid", …) is, as Docker reads it.

    Without a group the user's own group and its supplementary groups hold, with a group only
    that one. ``added`` are names or ids of further groups.
    """
    name, has_group, group = user.partition(":")
    uid, gid, home, login = 0, 0, "/", ""
    number = _number(name)
    found = None
    for entry in _users(entries):
        if (name and entry[0] == name) or (number is not None and entry[2] == str(number)):
            found = entry
            break
        if not name and entry[2] == "0":
            found = entry
            break
    if found is not None:
        login, uid, gid, home = found[0], int(found[2]), int(found[3]), found[5] or "/"
    elif name:
        if number is None:
            raise _unknown(f"unable to find user {name}: no matching entries in passwd file")
        uid = _checked(name, number)
    supplementary: list[int] = []
    if has_group and group:
        gid = _group(group, entries)
    elif login:
        supplementary = [
            number
            for entry in _groups(entries)
            if login in entry[3].split(",") and (number := whole_number(entry[2])) is not None
        ]
    if gid not in supplementary:
        # Else a process could drop its primary group to pass a rule that bars the group.
        supplementary.append(gid)
    for extra in added:
        gid_added = _group(extra, entries)
        if gid_added not in supplementary:
            supplementary.append(gid_added)
    return Identity(uid, gid, tuple(supplementary[:_MAX_GROUPS]), home)


def _group(name: str, entries: Lines) -> int:
    number = _number(name)
    for entry in _groups(entries):
        if entry[0] == name or (number is not None and entry[2] == str(number)):
            return int(entry[2])
    if number is None:
        raise _unknown(f"unable to find group {name}: no matching entries in group file")
    return _checked(name, number)


def _number(name: str) -> int | None:
    """An id is ASCII digits only: no sign, no spaces, no other script's digits."""
    return int(name) if name.isascii() and name.isdecimal() and len(name) <= 20 else None


def _checked(name: str, number: int) -> int:
    if number > _MAX_ID:
        raise _unknown(f"uids and gids must be in range 0-{_MAX_ID}: {name}")
    return number


def _users(entries: Lines) -> Iterator[list[str]]:
    for entry in entries("/etc/passwd"):
        if len(entry) >= 4 and _valid(entry[2]) and _valid(entry[3]):
            yield [*entry, "", "", ""]


def _groups(entries: Lines) -> Iterator[list[str]]:
    for entry in entries("/etc/group"):
        if len(entry) >= 3 and _valid(entry[2]):
            yield [*entry, ""]


def _valid(field: str) -> bool:
    number = _number(field)
    return number is not None and number <= _MAX_ID


def _unknown(message: str) -> StartFailed:
    return StartFailed(message, "look up user")
