"""Loop devices: a file as a block device, loop(4)."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from wherry.errors import KernelError

_GET_FREE = 0x4C82
_CONFIGURE = 0x4C0A
_SIZE = 0x80081272
_CONFIG = struct.Struct("=II5Q4I64s64s32s2Q64x")
_AUTOCLEAR = 4


def attach(path: str) -> int:
    """A descriptor of a loop device over the file ``path``.

    The device goes with the last descriptor or user (autoclear).
    """
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        while True:
            control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
            try:
                number = fcntl.ioctl(control, _GET_FREE)
            finally:
                os.close(control)
            loop = os.open(f"/dev/loop{number}", os.O_RDWR | os.O_CLOEXEC)
            config = _CONFIG.pack(
                file, 0, 0, 0, 0, 0, 0, 0, 0, 0, _AUTOCLEAR, os.fsencode(path)[:63], b"", b"", 0, 0
            )
            try:
                fcntl.ioctl(loop, _CONFIGURE, config)
            except OSError as error:
                os.close(loop)
                if error.errno != errno.EBUSY:  # somebody else was quicker with this number
                    raise
                continue
            return loop
    except OSError as error:
        raise KernelError("attach loop device", path, error.errno or 5) from error
    finally:
        os.close(file)


def block_size(descriptor: int) -> int:
    """Bytes of an open block device."""
    answer = fcntl.ioctl(descriptor, _SIZE, bytes(8))
    return int(struct.unpack("=Q", answer)[0])
