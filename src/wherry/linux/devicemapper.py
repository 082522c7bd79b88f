"""Device-mapper by its ioctls (include/uapi/linux/dm-ioctl.h): devices that tables make of others.

Nodes are those that devtmpfs makes, ``/dev/dm-<minor>``; neither udev nor dmsetup is needed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from dataclasses import dataclass

from wherry.errors import KernelError

CONTROL = "/dev/mapper/control"
_REQUEST = 0xC138FD00
_CREATE, _REMOVE, _SUSPEND, _STATUS, _LOAD, _TABLE, _MESSAGE, _VERSION = 3, 4, 6, 7, 9, 12, 14, 17
_HEADER = struct.Struct("=3I2IIiIIIQ128s129s7x")
"""struct dm_ioctl: version, size and start of data, targets, openers, flags, event, pad, device,
name, uuid."""
_TARGET = struct.Struct("=QQiI16s")
"""struct dm_target_spec: first sector, sectors, status, offset of the next, kind."""
_ANSWER_BYTES = 4096
_DEFERRED = 1 << 17
SECTOR = 512


@dataclass(frozen=True, slots=True)
class Target:
    """A table of one line: ``sectors`` of the device are made by ``kind`` with ``parameters``."""

    sectors: int
    kind: str
    parameters: str


def has_target(kind: str) -> bool:
    """Whether the kernel knows a kind of target; its module is loaded on the way."""
    try:
        _call("look for target", _VERSION, kind)
    except KernelError:
        return False
    return True


def device(name: str) -> int | None:
    """The device number of an active device; None when there is none of the name."""
    try:
        return _call("look up device", _STATUS, name)[0]
    except KernelError as error:
        if error.errno == errno.ENXIO:
            return None
        raise


def activate(name: str, target: Target) -> int:
    """Make a device; returns its number. EBUSY when it is there already."""
    number = _call("create device", _CREATE, name)[0]
    try:
        line = target.parameters.encode() + b"\0"
        line += bytes(-len(line) % 8)
        spec = _TARGET.pack(0, target.sectors, 0, _TARGET.size + len(line), target.kind.encode())
        _call("load table", _LOAD, name, data=spec + line, targets=1)
        _call("resume device", _SUSPEND, name)
    except KernelError:
        remove(name)
        raise
    return number


def remove(name: str, *, deferred: bool = False) -> None:
    """Remove a device; ``deferred``: as soon as nobody has it open."""
    _call("remove device", _REMOVE, name, flags=_DEFERRED if deferred else 0)


def message(name: str, text: str) -> None:
    """Send a message to the first target of a device."""
    _call("send message", _MESSAGE, name, data=struct.pack("=Q", 0) + text.encode() + b"\0",
          detail=text)  # fmt: skip


def status(name: str) -> str:
    """What the first target says of itself."""
    _, answer = _call("read status", _TABLE, name)
    return answer[_TARGET.size :].partition(b"\0")[0].decode()


def node(number: int) -> str:
    """The path of a device's node."""
    return f"/dev/dm-{os.minor(number)}"


def _call(
    step: str,
    command: int,
    name: str,
    *,
    data: bytes = b"",
    flags: int = 0,
    targets: int = 0,
    detail: str = "",
) -> tuple[int, bytes]:
    """One request; the device's number and the data of the answer."""
    size = _HEADER.size + max(len(data), _ANSWER_BYTES)
    buffer = bytearray(size)
    version = (4, 0, 0)
    _HEADER.pack_into(
        buffer, 0, *version, size, _HEADER.size, targets, 0, flags, 0, 0, 0, name.encode(), b""
    )
    buffer[_HEADER.size : _HEADER.size + len(data)] = data
    try:
        control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(control, _REQUEST | command, buffer)
        finally:
            os.close(control)
    except OSError as error:
        what = f"{name}: {detail}" if detail else name
        raise KernelError(f"device-mapper: {step}", what, error.errno or 5) from error
    fields = _HEADER.unpack_from(buffer)
    number = fields[10]
    major, minor = number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00
    return os.makedev(major, minor), bytes(buffer[fields[4] :])
