"""COPY and ADD: which entries the new layer gets. Decides only; nothing is read but metadata."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from wherry import filepath
from wherry.builder.modes import ModeChange
from wherry.builder.trees import Entry, Kind, Tree, TreeError, normalise, resolve, walk
from wherry.dockerignore import Matcher


class CopyError(TreeError):
    """What a COPY or ADD asks for cannot be done."""


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a new layer; a file's content is in ``data``, or in ``tree`` at ``source``.

    ``hard_link`` is the path of an earlier item that this is another name of.
    """

    path: str
    entry: Entry
    tree: Tree | None = None
    source: str = ""
    data: bytes = b""
    hard_link: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """A file or directory to copy; ``name`` is what it is called where it arrives."""

    tree: Tree
    path: str
    name: str
    contents: bool = True  # of a directory, what is in it, not the directory itself


@dataclass(frozen=True, slots=True)
class Options:
    """How entries change on their way; ``owner`` None keeps the owners of the source."""

    owner: tuple[int, int] | None = (0, 0)
    chmod: ModeChange | None = None
    exclude: tuple[str, ...] = ()
    clamp: int | None = None  # latest mtime, in nanoseconds
    now: int = 0  # mtime of new directories


def find_sources(
    tree: Tree, pattern: str, *, parents: bool = False, context: bool = True
) -> list[Origin]:
    """What ``pattern`` names in ``tree``; ``..`` is clipped at its root.

    ``context`` says that the tree is a build context. Raises CopyError when there is nothing.
    """
    pivot, has_pivot, kept = pattern.rpartition("/./")
    if not has_pivot:
        pivot, kept = "", pattern
    if parents and has_pivot:
        base = normalise(pivot)
        paths = _matches(tree, normalise(f"{base}/{kept}"), deep=True)
        cut = len(base) + 1 if base else 0
        found = [Origin(tree, path, path[cut:], contents=False) for path in paths]
    elif parents:
        paths = _matches(tree, normalise(pattern), deep=True)
        found = [Origin(tree, path, path, contents=False) for path in paths]
    else:
        paths = _matches(tree, normalise(pattern), deep=False)
        found = []
        for path in paths:
            target = resolve(tree, path)
            if target is not None:
                found.append(Origin(tree, target, posixpath.basename(path)))
    if not found:
        if filepath.has_wildcard(pattern):
            raise CopyError("no source files were specified")
        where = "file not found in build context or excluded by .dockerignore: "
        raise CopyError(f"{where if context else ''}stat {pattern}: file does not exist")
    return found


def _matches(tree: Tree, pattern: str, *, deep: bool) -> list[str]:
    if not filepath.has_wildcard(pattern):
        found = resolve(tree, pattern, follow_last=False)
        return [] if found is None else [pattern if tree.entry(pattern) else found]
    try:
        return sorted(set(_expand(tree, "", pattern.split("/"), deep, set())))
    except filepath.BadPattern as error:
        raise CopyError(f"{pattern}: {error}") from None
    except RecursionError:
        raise CopyError(f"{pattern[:100]}...: too many parts") from None


def _expand(
    tree: Tree, directory: str, parts: Sequence[str], deep: bool, seen: set[tuple[str, int]]
) -> Iterator[str]:
    """The paths below ``directory`` that match; many ways (links, ``**``) may lead to one.

    ``seen`` are the directories that were looked through already, with the number of parts left.
    """
    if (directory, len(parts)) in seen:
        return
    seen.add((directory, len(parts)))
    part, rest = parts[0], parts[1:]
    if deep and part == "**":
        below = list(walk(tree, directory))
        if not rest:
            yield from below
            return
        entries = [(path, tree.entry(path)) for path in below]
        for start in (
            directory,
            *(path for path, entry in entries if entry and entry.is_directory),
        ):
            yield from _expand(tree, start, rest, deep, seen)
        return
    for name in tree.children(directory):
        if not filepath.match(part, name):
            continue
        path = f"{directory}/{name}" if directory else name
        if not rest:
            yield path
            continue
        inner = resolve(tree, path)
        entry = tree.entry(inner) if inner is not None else None
        if inner is not None and entry and entry.is_directory:
            yield from _expand(tree, inner, rest, deep, seen)


def _linked(item: Item, firsts: dict[tuple[int, tuple[int, int]], Item]) -> Item:
    """``item`` as another name of the first one of the same file, if there is one already."""
    if item.tree is None or item.entry.inode is None:
        return item
    first = firsts.setdefault((id(item.tree), item.entry.inode), item)
    if first is item or first.entry != item.entry:
        return item
    return replace(item, hard_link=first.path)


class LayerPlan:
    """The entries of a layer that goes on top of ``target``, in the order of their paths."""

    def __init__(self, target: Tree, options: Options) -> None:
        self._target = target
        self._options = options
        self._items: dict[str, Item] = {}
        self._excluded = Matcher(options.exclude)

    def items(self) -> list[Item]:
        """What was planned: parents come before their children."""
        ordered = [self._items[path] for path in sorted(self._items, key=lambda p: p.split("/"))]
        firsts: dict[tuple[int, tuple[int, int]], Item] = {}
        return [_linked(item, firsts) for item in ordered]

    def copy(self, origins: Sequence[Origin], destination: str, *, into: bool = False) -> None:
        """Plan a COPY; ``into`` says that the destination is a directory in any case.

        Raises CopyError.
        """
        slash = destination.endswith("/") or posixpath.basename(destination) == "."
        root = self._arrive(destination)
        existing = self._entry(root)
        is_directory = slash or into or (existing is not None and existing.is_directory)
        for origin in origins:
            entry = origin.tree.entry(origin.path)
            assert entry is not None
            if entry.is_directory and origin.contents:
                if existing is not None and not existing.is_directory:
                    raise CopyError(f"cannot copy to non-directory: /{root}")
                # Only a directory that is made here looks like the source.
                self._directory(root, None if slash or into or existing else entry)
                self._tree(origin, root)
            elif not origin.contents:
                self._with_parents(origin, root, entry)
            else:
                path = f"{root}/{origin.name}".lstrip("/") if is_directory else root
                if is_directory:
                    self._directory(root, None)
                self._file(origin, path, entry)

    def unpacked(self, origin: Origin, destination: str, *, keep_owner: bool) -> None:
        """Plan the contents of an archive, which arrive in a directory in any case."""
        root = self._arrive(destination)
        self._directory(root, None)
        before = self._options
        if keep_owner:
            self._options = replace(before, owner=None)
        self._tree(origin, root)
        self._options = before

    def document(self, name: str, data: bytes, destination: str, *, several: bool) -> None:
        """Plan a file whose content stands in the Dockerfile."""
        root = self._arrive(destination)
        existing = self._entry(root)
        if several or destination.endswith("/") or (existing and existing.is_directory):
            self._directory(root, None)
            root = f"{root}/{name}".lstrip("/")
        entry = Entry(Kind.FILE, 0o644, size=len(data), mtime=self._options.now)
        self._put(Item(root, self._changed(entry), data=data))

    def directory(self, path: str) -> None:
        """Plan a directory with all its parents, as WORKDIR makes them."""
        self._directory(self._arrive(path), None)

    def _arrive(self, destination: str) -> str:
        root = resolve(self._target, normalise(destination), missing=True)
        assert root is not None
        return root

    def _entry(self, path: str) -> Entry | None:
        planned = self._items.get(path)
        return planned.entry if planned else self._target.entry(path)

    def _tree(self, origin: Origin, root: str) -> None:
        cut = len(origin.path) + 1 if origin.path else 0
        for path in walk(origin.tree, origin.path):
            entry = origin.tree.entry(path)
            inside = path[cut:]
            named = inside if origin.contents else f"{origin.name}/{inside}"
            if entry is None or self._excluded.excludes(named):
                continue
            where = f"{root}/{inside}".lstrip("/")
            if entry.is_directory:
                self._directory(where, entry)
            else:
                self._file(Origin(origin.tree, path, named), where, entry)

    def _with_parents(self, origin: Origin, root: str, entry: Entry) -> None:
        parts = origin.name.split("/")
        outside = origin.path[: len(origin.path) - len(origin.name)]
        for count in range(1, len(parts)):
            name = "/".join(parts[:count])
            self._directory(f"{root}/{name}".lstrip("/"), origin.tree.entry(outside + name))
        where = f"{root}/{origin.name}".lstrip("/")
        if entry.is_directory:
            self._directory(where, entry)
            self._tree(origin, where)
        else:
            self._file(origin, where, entry)

    def _file(self, origin: Origin, path: str, entry: Entry) -> None:
        if self._excluded.excludes(origin.name):
            return
        existing = self._entry(path)
        if existing is not None and existing.is_directory:
            raise CopyError(f"cannot replace directory /{path} with a file")
        self._put(Item(path, self._changed(entry), origin.tree, origin.path))

    def _directory(self, path: str, like: Entry | None) -> None:
        """Plan a directory that looks ``like`` another, or a plain one if it is new."""
        if not path:
            return
        existing = self._entry(path)
        if existing is not None and existing.is_directory and like is None:
            return
        if existing is not None and not existing.is_directory and like is None:
            raise CopyError(f"cannot copy to non-directory: /{path}")
        entry = self._plain_directory() if like is None else self._changed(like)
        self._put(Item(path, entry))

    def _plain_directory(self) -> Entry:
        owner = self._options.owner or (0, 0)
        return Entry(Kind.DIRECTORY, 0o755, *owner, mtime=self._options.now)

    def _put(self, item: Item) -> None:
        """Add an item and the directories above it, which stay as they are."""
        while True:
            self._items[item.path] = item
            parent = posixpath.dirname(item.path)
            if not parent or parent in self._items:
                return
            existing = self._target.entry(parent)
            if existing is not None and not existing.is_directory:
                raise CopyError(f"cannot copy to non-directory: /{parent}")
            item = Item(parent, existing or self._plain_directory())

    def _changed(self, entry: Entry) -> Entry:
        options = self._options
        uid, gid = options.owner if options.owner is not None else (entry.uid, entry.gid)
        mode = entry.mode
        if options.chmod and entry.kind is not Kind.SYMLINK:
            mode = options.chmod(mode, entry.is_directory)
        mtime = entry.mtime if options.clamp is None else min(entry.mtime, options.clamp)
        return replace(entry, uid=uid, gid=gid, mode=mode, mtime=mtime)
