"""Tar archives between local files and containers, for ``wherry cp``."""

from __future__ import annotations

import io
import os
import tarfile

from wherry.cli.errors import CliError
from wherry.cli.tarstream import Reader, TarStream, members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Plan:
    """A copy into a container: what to read, where to unpack it, under which name."""

    __slots__ = ("directory", "name", "size", "source")

    def __init__(self, source: str, directory: str, name: str, size: int) -> None:
        self.source = source
        self.directory = directory
        self.name = name
        self.size = size


def plan(
    source: str,
    target: str,
    *,
    follow: bool,
    target_exists: bool,
    target_is_directory: bool,
) -> Plan:
    """Decide name and place as cp(1) would: into a directory, onto a file, or as a new name.

    Raises CliError when the two do not fit together.
    """
    contents = source.endswith("/.") or source == "."
    path = source.rstrip("/") or "/"
    if follow or source.endswith("/"):
        path = os.path.realpath(path)
    is_directory = os.path.isdir(path) and not os.path.islink(path)
    size = _size(path)
    if contents and not os.path.isdir(path):
        raise CliError(f"lstat {source}: not a directory")
    base = os.path.basename(os.path.abspath(source.rstrip("/")))
    if target_is_directory:
        return Plan(path, target, "." if contents else base, size)
    if target_exists and is_directory:
        raise CliError("cannot copy directory")
    if not target_exists and target.endswith("/") and not is_directory:
        raise CliError("no such directory")
    directory, name = os.path.split(target.rstrip("/"))
    return Plan(path, directory or "/", name, size)


def _size(path: str) -> int:
    if os.path.islink(path) or os.path.isfile(path):
        return os.lstat(path).st_size
    total = 0
    for directory, _, names in os.walk(path):
        total += sum(os.lstat(os.path.join(directory, name)).st_size for name in names)
    return total


def pack(step: Plan) -> Iterator[bytes]:
    """The tar stream of a plan; the daemon decides whose the files will be."""
    stream = TarStream()
    for path, name in members(step.source, step.name):
        yield from stream.add(path, name, as_root=False)
    yield stream.finish()


def extract(parts: Iterable[bytes], target: str, *, whole: bool) -> int:
    """Unpack what a container sent at ``target``, as cp(1) would; returns the bytes of files.

    With ``whole`` the contents of the directory are meant, not the directory itself. Nothing is
    written outside the target: names that lead out of it raise CliError. Files belong to
    whoever copies.
    """
    into = os.path.isdir(target)
    directory = target if into else os.path.dirname(target.rstrip("/")) or "."
    renamed = "" if into else os.path.basename(target.rstrip("/"))
    size = 0
    times: list[tuple[str, float]] = []
    with tarfile.open(fileobj=io.BufferedReader(Reader(parts)), mode="r|*") as archive:
        for member in archive:
            name = _local_name(member.name, renamed, whole and into)
            if member.islnk():
                member.linkname = _local_name(member.linkname, renamed, whole and into)
            if not name:
                continue
            if not into and member.isdir() and os.path.isfile(target):
                raise CliError("cannot copy directory")
            member.name = name
            size += member.size if member.isreg() else 0
            if member.isdir():
                times.append((os.path.join(directory, name), member.mtime))
            try:
                archive.extract(
                    member,
                    directory,
                    filter=_own,
                    numeric_owner=True,
                )
            except tarfile.FilterError as error:
                raise CliError(f"refused to copy {member.name}: {error}") from None
    for path, moment in reversed(times):  # what was put into them has changed their times
        os.utime(path, (moment, moment))
    return size


def _local_name(name: str, renamed: str, contents: bool) -> str:
    """The name of a member below the target directory."""
    clean = name.strip("/")
    first, _, rest = clean.partition("/")
    if renamed:
        return f"{renamed}/{rest}" if rest else renamed
    return rest if contents or first == "." else clean


def _own(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
    """Inside the target only, owned by whoever copies, with the mode it has."""
    checked = tarfile.tar_filter(member, path)
    return checked.replace(
        mode=member.mode,
        uid=os.geteuid(),
        gid=os.getegid(),
        uname="",
        gname="",
        deep=False,
    )
