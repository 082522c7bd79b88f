"""Copying trees between open directories; no link is followed on either side."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from wherry.fs.descent import Descent, descending
from wherry.fs.making import Metadata, describe, describe_name, make_file
from wherry.fs.opening import open_directory

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE = 1 << 20


def copy_tree(origin: int, target: int, *, keep_mode: bool = False) -> None:
    """Copy all that is in ``origin`` (O_PATH will do) into ``target``.

    Modes and owners are copied, too, but for that of ``target`` itself with ``keep_mode``;
    sockets, pipes and devices are left out. What is in ``target`` already stays as it is, but for
    directories, which are filled. Raises OSError.
    """
    source = open_directory(".", origin)
    try:
        destination = open_directory(".", target)
        try:
            _copy(source, destination)
            found = os.fstat(source)
            os.fchown(destination, found.st_uid, found.st_gid)
            if not keep_mode:
                os.fchmod(destination, stat.S_IMODE(found.st_mode))
        finally:
            os.close(destination)
    finally:
        os.close(source)


def _copy(source: int, destination: int) -> None:
    with descending(source) as reading, descending(destination) as writing:
        pending = [_directories(reading.directory, writing.directory)]
        above: list[os.stat_result | None] = []  # None: it was there
        while pending:
            name = next(pending[-1], None)
            if name is not None:
                reading.enter(name)
                found = _made(writing, name, os.fstat(reading.directory))
                if writing.depth < reading.depth:
                    reading.leave()
                    continue
                above.append(found)
                pending.append(_directories(reading.directory, writing.directory))
                continue
            pending.pop()
            if pending:
                made = above.pop()
                if made is not None:
                    describe(writing.directory, _metadata(made))
                reading.leave()
                writing.leave()


def _made(writing: Descent, name: str, found: os.stat_result) -> os.stat_result | None:
    """Make a directory and enter it, unless something else is there; None when it was there."""
    new: os.stat_result | None = found
    try:
        os.mkdir(name, 0o700, dir_fd=writing.directory)
    except FileExistsError:
        new = None
    with suppress(NotADirectoryError):
        writing.enter(name)
    return new


def _directories(source: int, destination: int) -> Iterator[str]:
    """Copy the files of a directory; the names of the directories in it."""
    directories = []
    for name in os.listdir(source):
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            directories.append(name)
        else:
            with suppress(FileExistsError):
                _copy_file(source, destination, name, found)
    return iter(directories)


def _copy_file(source: int, destination: int, name: str, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=destination)
        describe_name(destination, name, _metadata(found))
    elif stat.S_ISREG(found.st_mode):
        reading = os.open(name, _READ, dir_fd=source)
        try:
            _copy_content(reading, destination, name)
        finally:
            os.close(reading)


def _copy_content(reading: int, destination: int, name: str) -> None:
    writing = make_file(destination, name)
    try:
        found = os.fstat(reading)
        for begin, end in _data(reading, found.st_size):
            os.lseek(writing, begin, os.SEEK_SET)
            while begin < end:
                sent = os.sendfile(writing, reading, begin, min(end - begin, _PIECE))
                if not sent:  # somebody made it shorter
                    break
                begin += sent
        os.ftruncate(writing, found.st_size)
        describe(writing, _metadata(found))
    finally:
        os.close(writing)


def _data(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file has data, lseek(2). Its holes may be longer than any disk."""
    end = 0
    while end < size:
        try:
            begin = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # ENXIO: nothing but a hole is left
                raise
            return
        end = os.lseek(file, begin, os.SEEK_HOLE)
        yield begin, end


def _metadata(found: os.stat_result) -> Metadata:
    return Metadata(stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
