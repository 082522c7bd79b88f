"""Control files: what is to be written as data, and reading and writing them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from wherry.errors import InvalidParameter, KernelError

Reader = Callable[[str], "str | None"]
"""Reads a control file of one cgroup by name; None when this kernel does not have it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One write. An ``optional`` file may be missing: the kernel then has no such feature."""

    file: str
    value: str
    optional: bool = False


def reader(directory: str) -> Reader:
    """A `Reader` of the control files in ``directory``."""

    def read(name: str) -> str | None:
        try:
            fd = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            chunks = []
            while chunk := os.read(fd, 65536):
                chunks.append(chunk)
            return b"".join(chunks).decode()
        except OSError:
            return None  # ENODEV, EOPNOTSUPP: removed meanwhile, or not for this cgroup
        finally:
            os.close(fd)

    return read


def write(directory: str, name: str, value: str) -> None:
    """Write one control file in one write(2), as cgroupfs demands."""
    if "/" in name or "\0" in name:
        raise InvalidParameter(f"cgroup setting {name!r} must be a file name (no slashes)")
    path = f"{directory}/{name}"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelError(f"write {value.strip()!r} to", path, error.errno or 0) from error


def write_all(directory: str, settings: Iterable[Setting]) -> None:
    """Write all settings.

    Some limits must stay ordered among each other (memory below memory+swap, quota within the
    parent's period), so what the kernel refuses is tried once more after the others.
    """
    refused = []
    for setting in settings:
        try:
            write(directory, setting.file, setting.value)
        except KernelError as error:
            if error.errno == 2:
                if setting.optional:
                    continue
                if not os.path.isdir(directory):
                    raise KernelError("find cgroup", directory, error.errno) from None
                raise InvalidParameter(
                    f"this kernel has no {setting.file}: cannot set it to {setting.value.strip()!r}"
                ) from None
            if setting.optional and error.errno in (1, 95):
                continue
            refused.append(setting)
    for setting in refused:
        write(directory, setting.file, setting.value)


def number(content: str | None, default: int = 0) -> int:
    """The number in a control file; ``max`` and "not there" give ``default``."""
    try:
        return int(content) if content is not None else default
    except ValueError:
        return default


def table(content: str | None) -> dict[str, int]:
    """A flat-keyed file: one ``key value`` a line."""
    result = {}
    for line in (content or "").splitlines():
        key, _, value = line.partition(" ")
        if value.strip().lstrip("-").isdigit():
            result[key] = int(value)
    return result
