"""The values of ``--chmod`` and ``--chown``.

Source: https://docs.docker.com/reference/dockerfile/#copy---chown---chmod
"""

from __future__ import annotations

import re
from collections.abc import Callable

from wherry.builder.errors import SyntaxProblem
from wherry.builder.trees import Kind, Tree, resolve

_CLAUSE = re.compile(r"([ugoa]*)([-+=][rwxXst]*)+")
_OPERATION = re.compile(r"([-+=])([rwxXst]*)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_MAX_ID = 1 << 31
_MAX_FILE = 1 << 20

ModeChange = Callable[[int, bool], int]
"""(mode, is a directory) → new mode."""


def parse_chmod(text: str) -> ModeChange:
    """An octal or symbolic mode (chmod(1)). Raises SyntaxProblem."""
    if re.fullmatch(r"[0-7]{1,5}", text) and int(text, 8) <= 0o7777:
        fixed = int(text, 8)
        return lambda mode, is_directory: fixed
    clauses = text.split(",")
    if not all(map(_CLAUSE.fullmatch, clauses)):
        raise SyntaxProblem(
            f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
        )

    def change(mode: int, is_directory: bool) -> int:
        for clause in clauses:
            mode = _apply(clause, mode, is_directory)
        return mode

    return change


def _apply(clause: str, mode: int, is_directory: bool) -> int:
    who = re.match(r"[ugoa]*", clause)
    classes = who[0] if who else ""
    everyone = "ugo" if not classes or "a" in classes else classes
    for operator, letters in _OPERATION.findall(clause[len(classes) :]):
        bits = mask = 0
        for name in everyone:
            mask |= 7 << _SHIFTS[name]
            bits |= _bits(letters, mode, is_directory) << _SHIFTS[name]
        if "s" in letters:
            bits |= (0o4000 if "u" in everyone else 0) | (0o2000 if "g" in everyone else 0)
        if "t" in letters:
            bits |= 0o1000
        if operator == "+":
            mode |= bits
        elif operator == "-":
            mode &= ~bits
        else:
            mode = (mode & ~mask) | bits
    return mode


def _bits(letters: str, mode: int, is_directory: bool) -> int:
    executable = "x" in letters or ("X" in letters and (is_directory or mode & 0o111))
    return (4 if "r" in letters else 0) | (2 if "w" in letters else 0) | (1 if executable else 0)


def parse_chown(text: str, root: Tree) -> tuple[int, int]:
    """``USER[:GROUP]`` as ids; names are looked up in the tree's own files.

    A user without a group has its own group, or the group id equal to its number.
    Raises SyntaxProblem.
    """
    user, colon, group = text.partition(":")
    if ":" in group or not user or (colon and not group):
        raise SyntaxProblem(f"invalid chown string format: {text}")
    uid, own_gid = _user(user, root)
    if not colon:
        return uid, own_gid
    if (gid := _number(group)) is not None:
        return uid, gid
    for fields in _lines(root, "etc/group"):
        if fields[0] == group and len(fields) > 2 and (gid := _number(fields[2])) is not None:
            return uid, gid
    raise SyntaxProblem(f"can't find gid for group {group}: no such group: {group}")


def _user(user: str, root: Tree) -> tuple[int, int]:
    if (uid := _number(user)) is not None:
        return uid, uid
    for fields in _lines(root, "etc/passwd"):
        if fields[0] == user and len(fields) > 3:
            uid, gid = _number(fields[2]), _number(fields[3])
            if uid is not None and gid is not None:
                return uid, gid
    raise SyntaxProblem(f"can't find uid for user {user}: no such user: {user}")


def _number(text: str) -> int | None:
    if not re.fullmatch(r"[0-9]+", text):
        return None
    number = int(text) if len(text) < 12 else _MAX_ID
    if number >= _MAX_ID:
        raise SyntaxProblem(f"uids and gids must be in range 0-{_MAX_ID - 1}")
    return number


def _lines(root: Tree, path: str) -> list[list[str]]:
    found = resolve(root, path)
    entry = root.entry(found) if found else None
    # Whatever else an image puts there (a device, a huge file) is not read.
    if not found or entry is None or entry.kind is not Kind.FILE or entry.size > _MAX_FILE:
        return []
    with root.open(found) as file:
        content = file.read(_MAX_FILE)
    return [line.split(":") for line in content.decode("utf-8", "replace").splitlines()]
