"""Copying a directory's content onto a fresh mount (``tmpcopyup``), by descriptors only."""

from __future__ import annotations

import os
import stat

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def copy_tree(origin: int, target: int, *, keep_mode: bool = False) -> None:
    """Copy everything in ``origin`` (an O_PATH directory) into ``target``; links are not followed.

    Modes and owners are copied, too, but for that of ``target`` itself with ``keep_mode``;
    sockets, pipes and devices are left out.
    """
    source = os.open(".", _READ | os.O_DIRECTORY, dir_fd=origin)
    destination = os.open(".", _READ | os.O_DIRECTORY, dir_fd=target)
    try:
        status = os.fstat(source)
        os.fchown(destination, status.st_uid, status.st_gid)
        if not keep_mode:
            os.fchmod(destination, stat.S_IMODE(status.st_mode))
        for entry in os.scandir(source):
            _copy_entry(entry.name, source, destination)
    finally:
        os.close(source)
        os.close(destination)


def _copy_entry(name: str, source: int, destination: int) -> None:
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        os.mkdir(name, 0o700, dir_fd=destination)
        below = os.open(name, _READ | os.O_DIRECTORY, dir_fd=source)
        into = os.open(name, _READ | os.O_DIRECTORY, dir_fd=destination)
        try:
            copy_tree(below, into)
        finally:
            os.close(below)
            os.close(into)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=destination)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=destination, follow_symlinks=False)
    elif stat.S_ISREG(status.st_mode):
        _copy_file(name, source, destination, status)


def _copy_file(name: str, source: int, destination: int, status: os.stat_result) -> None:
    reading = os.open(name, _READ, dir_fd=source)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    writing = os.open(name, flags, 0o600, dir_fd=destination)
    try:
        while os.sendfile(writing, reading, None, 1 << 20):
            pass
        os.fchown(writing, status.st_uid, status.st_gid)
        os.fchmod(writing, stat.S_IMODE(status.st_mode))
    finally:
        os.close(reading)
        os.close(writing)
