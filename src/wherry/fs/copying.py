"""Copying trees between open directories; no link is followed on either side."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from wherry.fs.descent import descending
from wherry.fs.making import Metadata, describe, describe_name, make_directory, make_file
from wherry.fs.opening import open_directory

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE = 1 << 20


def copy_tree(origin: int, target: int, *, keep_mode: bool = False) -> None:
    """Copy all that is in ``origin`` (O_PATH will do) into ``target``.

    Modes and owners are copied, too, but for that of ``target`` itself with ``keep_mode``;
    sockets, pipes and devices are left out. A directory that is there already is filled, a file
    that is there raises FileExistsError. Raises OSError.
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


def copy_into(source: int, destination: int, name: str, shown: str) -> None:
    """Copy ``name`` of directory ``source`` as ``shown`` into directory ``destination``.

    The same as for one entry of `copy_tree`. Raises OSError.
    """
    found = os.stat(name, dir_fd=source, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        _copy_file(source, destination, name, shown, found)
        return
    inner = open_directory(name, source)
    try:
        made = make_directory(destination, shown)
        try:
            copy_tree(inner, made)
        finally:
            os.close(made)
    finally:
        os.close(inner)


def _copy(source: int, destination: int) -> None:
    with descending(source) as reading, descending(destination) as writing:
        pending = [_directories(reading.directory, writing.directory)]
        above: list[os.stat_result] = []
        while pending:
            name = next(pending[-1], None)
            if name is not None:
                reading.enter(name)
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=writing.directory)
                writing.enter(name)
                above.append(os.fstat(reading.directory))
                pending.append(_directories(reading.directory, writing.directory))
                continue
            pending.pop()
            if above:
                describe(writing.directory, _metadata(above.pop()))
                reading.leave()
                writing.leave()


def _directories(source: int, destination: int) -> Iterator[str]:
    """Copy the files of a directory; the names of the directories in it."""
    directories = []
    for name in os.listdir(source):
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            directories.append(name)
        else:
            _copy_file(source, destination, name, name, found)
    return iter(directories)


def _copy_file(
    source: int,
    destination: int,
    name: str,
    shown: str,
    found: os.stat_result,
) -> None:
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), shown, dir_fd=destination)
        describe_name(destination, shown, _metadata(found))
    elif stat.S_ISREG(found.st_mode):
        reading = os.open(name, _READ, dir_fd=source)
        try:
            _copy_content(reading, destination, shown)
        finally:
            os.close(reading)


def _copy_content(reading: int, destination: int, name: str) -> None:
    writing = make_file(destination, name)
    try:
        found = os.fstat(reading)
        while os.sendfile(writing, reading, None, _PIECE):
            pass
        describe(writing, _metadata(found))
    finally:
        os.close(writing)


def _metadata(found: os.stat_result) -> Metadata:
    return Metadata(stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
