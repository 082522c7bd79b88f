"""Where a build's files come from: a directory, standard input, or a place the daemon fetches."""

from __future__ import annotations

import os
import sys
import zlib

from wherry.cli.errors import CliError
from wherry.cli.files import read_chunks
from wherry.cli.tarstream import TarStream
from wherry.dockerignore import Matcher, context_patterns, read_patterns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MAGICS = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
NAMED_CONTEXT = ".named-context"
_REMOTE = ("http://", "https://", "git://", "git@", "github.com/", "ssh://")


def is_remote(source: str) -> bool:
    """``source`` is a URL or a git repository, which the daemon fetches itself."""
    return source.startswith(_REMOTE) and not os.path.isdir(source)


def stdin_context() -> Iterable[bytes]:
    """Standard input: a tar archive as it is, anything else as a Dockerfile of its own."""
    head = b""
    while len(head) < 512 and (part := os.read(0, 512 - len(head))):
        head += part
    if head[257:262] == b"ustar" or head.startswith(_MAGICS):
        return _after(head)
    dockerfile = head + b"".join(read_chunks(0))
    stream = TarStream()
    stream.add_bytes("Dockerfile", dockerfile, 0o600)
    return iter([stream.finish()])


def _after(head: bytes) -> Iterator[bytes]:
    yield head
    yield from read_chunks(0)


def directory_context(
    directory: str, dockerfile: str, *, compress: bool = False, named: dict[str, str] | None = None
) -> tuple[Iterable[bytes], str]:
    """The tar stream of a directory, without what its ignore file names, and the Dockerfile's
    name in it; raises CliError.

    ``named`` are other directories by the path below which they travel.
    """
    if not os.path.isdir(directory):
        raise CliError(f'unable to prepare context: path "{directory}" not found')
    root = os.path.realpath(directory)
    outside: bytes | None = None
    if dockerfile == "-":
        name, outside = ".dockerfile.stdin", sys.stdin.buffer.read()
    else:
        name, outside = _locate(root, directory, dockerfile)
    matcher = Matcher(context_patterns(_patterns(root, name), name))
    extra = {name: outside} if outside is not None else {}
    parts: Iterable[bytes] = _tar(root, matcher, extra, named or {})
    return (_gzip(parts) if compress else parts), name


def _locate(root: str, directory: str, dockerfile: str) -> tuple[str, bytes | None]:
    """The Dockerfile's name in the context; one from outside comes with its content."""
    given = dockerfile or os.path.join(root, "Dockerfile")
    if not dockerfile and not os.path.exists(given):
        lower = os.path.join(root, "dockerfile")
        given = lower if os.path.exists(lower) else given
    path = os.path.abspath(given)
    if dockerfile and not os.path.exists(path):
        path = os.path.join(root, dockerfile)
    if not os.path.lexists(path):
        raise CliError(
            "unable to prepare context: unable to evaluate symlinks in Dockerfile path: "
            f"lstat {os.path.abspath(given)}: no such file or directory"
        )
    real = os.path.realpath(path)
    relative = os.path.relpath(real, root)
    if relative.startswith(".."):
        with open(real, "rb") as file:
            return ".dockerfile.outside", file.read()
    return relative, None


def _patterns(root: str, dockerfile: str) -> list[str]:
    """The ignore file that belongs to the Dockerfile, else the context's."""
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        try:
            with open(os.path.join(root, name), encoding="utf-8") as file:
                return read_patterns(file.read())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CliError(f"unable to prepare context: {name}: {error.strerror}") from None
    return []


def _tar(
    root: str, matcher: Matcher, extra: dict[str, bytes], named: dict[str, str]
) -> Iterator[bytes]:
    stream = TarStream()
    yield from _add(stream, root, matcher, "")
    for place, directory in named.items():
        real = os.path.realpath(directory)
        yield from stream.add(real, place, as_root=True)
        yield from _add(stream, real, Matcher(_patterns(real, "")), f"{place}/")
    for name, content in extra.items():
        stream.add_bytes(name, content)
    yield stream.finish()


def _add(stream: TarStream, root: str, matcher: Matcher, prefix: str) -> Iterator[bytes]:
    for path in walk(root, matcher):
        try:
            # Owned by root, as the daemon would make it anyhow.
            yield from stream.add(os.path.join(root, path), prefix + path, as_root=True)
        except OSError as error:
            raise CliError(f"error checking context: {error}") from None


def walk(root: str, matcher: Matcher) -> Iterator[str]:
    """Paths below ``root``, relative and in order, that the ignore file leaves in."""
    pending = [""]
    while pending:
        directory = pending.pop()
        names = sorted(os.listdir(os.path.join(root, directory)))
        below = []
        for name in names:
            path = f"{directory}/{name}" if directory else name
            full = os.path.join(root, path)
            is_directory = os.path.isdir(full) and not os.path.islink(full)
            excluded = matcher.excludes(path)
            if not excluded:
                yield path
            if is_directory and (not excluded or matcher.may_include_below(path)):
                below.append(path)
        pending += reversed(below)


def _gzip(parts: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=31)
    for part in parts:
        yield packer.compress(part)
    yield packer.flush()
