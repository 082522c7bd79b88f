"""Terminals: handing the master to a console socket, or relaying it to our own terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import termios
import tty
from collections.abc import Iterator

from wherry.errors import KernelError
from wherry.runtime import rootbuild


def hand_over(path: str, master: int) -> None:
    """Send a terminal's master to the console socket at ``path``."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(path)
        socket.send_fds(sock, [b"/dev/ptmx"], [master])
    except OSError as error:
        raise KernelError("send terminal to console socket", path, error.errno or 0) from error
    finally:
        sock.close()


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _copy_size(master: int) -> None:
    with contextlib.suppress(OSError):
        packed = fcntl.ioctl(1, termios.TIOCGWINSZ, b"\0" * 8)
        rows, columns, _, _ = struct.unpack("HHHH", packed)
        rootbuild.set_size(master, rows, columns)


def relay(master: int) -> None:
    """Copy between our terminal and ``master`` until the other side has ended."""
    _copy_size(master)
    signal.signal(signal.SIGWINCH, lambda *_: _copy_size(master))
    sources = select.poll()
    sources.register(0, select.POLLIN)
    sources.register(master, select.POLLIN)
    with _raw_terminal():
        while True:
            ready = {fd for fd, _ in sources.poll()}
            if master in ready:
                try:
                    data = os.read(master, 1 << 16)
                except OSError:
                    return
                if not data:
                    return
                os.write(1, data)
            if 0 in ready:
                data = os.read(0, 1 << 16)
                if data:
                    os.write(master, data)
                else:
                    sources.unregister(0)
