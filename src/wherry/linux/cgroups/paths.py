"""Where a cgroup lies, decided from what somebody asked for, before anything is made."""

from __future__ import annotations

import posixpath

from wherry.errors import InvalidParameter


def clean(path: str) -> str:
    """An absolute path below a hierarchy's root, for any text: ``..`` ends at that root.

    This is how dockerd and runc read a cgroup's path (``filepath.Clean("/" + path)``). Every
    path that becomes a directory of a hierarchy goes through here. Raises `InvalidParameter`
    for a path with a NUL or a line break, which no file name of a cgroup may have.
    """
    if "\0" in path or "\n" in path:
        raise InvalidParameter(f"invalid cgroup path: {path!r}")
    return posixpath.normpath("/" + path.lstrip("/"))


def below(parent: str, name: str) -> str:
    """The cgroup ``name`` (one file name) of a parent that somebody asked for."""
    return posixpath.join(clean(parent), name)
