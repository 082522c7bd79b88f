"""Files to copy from, whatever holds them: a context, a stage, an image, a repository.

Paths are relative, with slashes; the root is the empty path. Implementations never leave their
root: a link that points out of it leads back into it.
"""

from __future__ import annotations

import hashlib
import io
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from wherry.errors import WherryError

_MAX_LINKS = 40
_CHUNK = 1 << 18


class Kind(Enum):
    """What an entry is; the values are the type flags of tar headers."""

    FILE = "0"
    SYMLINK = "2"
    CHARACTER = "3"
    BLOCK = "4"
    DIRECTORY = "5"
    FIFO = "6"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file's metadata; ``mtime`` is in nanoseconds, ``mode`` has the permission bits only.

    ``inode`` is what all names of a file with several have in common, where that is known.
    """

    kind: Kind
    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    target: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    inode: tuple[int, int] | None = field(default=None, compare=False)

    @property
    def is_directory(self) -> bool:
        """Whether the entry has children."""
        return self.kind is Kind.DIRECTORY


class TreeError(WherryError):
    """A file of a tree cannot be read."""


class Tree(Protocol):
    """A read-only file tree."""

    def entry(self, path: str) -> Entry | None:
        """The entry at exactly ``path`` (no link is followed), or None."""

    def children(self, path: str) -> Iterable[str]:
        """The names in a directory, sorted."""

    def open(self, path: str) -> io.BufferedReader:
        """The content of a file."""

    def digest(self, path: str) -> str:
        """The SHA-256 of a file's content, in hex."""


def normalise(path: str) -> str:
    """``path`` relative to the root, ``..`` clipped there."""
    return posixpath.normpath(f"/{path}").lstrip("/")


def resolve(
    tree: Tree, path: str, *, follow_last: bool = True, missing: bool = False
) -> str | None:
    """The path of the entry that ``path`` leads to, links followed inside the tree; or None.

    With ``missing``, what does not exist yet is taken as written. Raises TreeError for a loop
    of links.
    """
    waiting = [part for part in path.split("/") if part][::-1]
    done: list[str] = []
    links = 0
    while waiting:
        part = waiting.pop()
        if part == "..":
            del done[-1:]
            continue
        if part == ".":
            continue
        here = "/".join((*done, part))
        entry = tree.entry(here)
        if entry is None and not missing:
            return None
        if entry and entry.kind is Kind.SYMLINK and (waiting or follow_last):
            links += 1
            if links > _MAX_LINKS:
                raise TreeError(f"resolve {path}: too many levels of symbolic links")
            if entry.target.startswith("/"):
                done = []
            waiting.extend(part for part in entry.target.split("/")[::-1] if part)
            continue
        done.append(part)
    return "/".join(done)


def walk(tree: Tree, path: str) -> Iterator[str]:
    """All paths below a directory, parents first, sorted."""
    pending = [(path, iter(tree.children(path)))]
    while pending:
        above, names = pending[-1]
        name = next(names, None)
        if name is None:
            pending.pop()
            continue
        below = f"{above}/{name}" if above else name
        yield below
        entry = tree.entry(below)
        if entry is not None and entry.is_directory:
            pending.append((below, iter(tree.children(below))))


def content_digest(file: io.BufferedReader) -> str:
    """The SHA-256 of all that ``file`` holds, in hex; cheap for the many small ones."""
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def entry_digest(tree: Tree, path: str, entry: Entry, *, ownership: bool) -> bytes:
    """A digest of content and metadata, without the time; owners only if they will be kept."""
    owner = (entry.uid, entry.gid) if ownership else (0, 0)
    content = tree.digest(path) if entry.kind is Kind.FILE else ""
    xattrs = sorted(entry.xattrs.items())
    facts = (entry.kind.value, entry.mode, owner, entry.target, entry.device, xattrs, content)
    return hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).digest()
