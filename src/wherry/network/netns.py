"""Network namespaces of others: enter one for a moment, in the calling thread only.

setns(2) with CLONE_NEWNET moves one thread. What is opened inside (netlink sockets, listening
sockets) keeps belonging to that namespace, so the stay is a few microseconds.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from wherry.errors import KernelError

_CLONE_NEWNET = 0x40000000
_SIOCGSKNS = 0x894C
_OWN = "/proc/thread-self/ns/net"
_libc = ctypes.CDLL(None, use_errno=True)


class NamespaceGone(KernelError):
    """The process whose namespace was wanted has ended."""


def open_namespace(pid: int) -> int:
    """A descriptor of the network namespace of a container's process ``pid``.

    Raises NamespaceGone when the process has ended, also when the number has gone to a process
    of the host's since: a container's namespace is never our own. Raises KernelError.
    """
    path = f"/proc/{pid}/ns/net"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        gone = error.errno in (errno.ENOENT, errno.ESRCH)
        kind = NamespaceGone if gone else KernelError
        raise kind("open network namespace", path, error.errno or 0) from error
    if os.path.samestat(os.fstat(fd), os.stat(_OWN)):
        os.close(fd)
        raise NamespaceGone("open network namespace", path, errno.ESRCH)
    return fd


def namespace_of_socket(one: socket.socket) -> int:
    """A descriptor of the network namespace that a socket belongs to (netdevice(7))."""
    return fcntl.ioctl(one.fileno(), _SIOCGSKNS)


@contextmanager
def entered(namespace_fd: int) -> Iterator[None]:
    """Be inside a network namespace; must be left in the thread that entered.

    Raises KernelError when the namespace may not be entered. A thread that cannot come home
    must not live on in a foreign namespace: that ends the process.
    """
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(namespace_fd)
        try:
            yield
        finally:
            try:
                _setns(home)
            except KernelError:  # pragma: no cover - the kernel has no reason to refuse
                os.abort()
    finally:
        os.close(home)


def _setns(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        raise KernelError("enter network namespace", f"descriptor {fd}", ctypes.get_errno())
