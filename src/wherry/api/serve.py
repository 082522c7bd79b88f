"""Listening: unix sockets, TCP with and without TLS, and sockets passed on by systemd."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import logging
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from wherry.api.connections import Gate, Limits
from wherry.api.tls import TLSFiles, bridge, server_context
from wherry.errors import Conflict, InvalidParameter, WherryError

log = logging.getLogger(__name__)

DEFAULT_SOCKET = "/run/wherry.sock"
_AT_ONCE = 64  # connections that are accepted before the first of them gets its place
_BACKLOG = 1024  # connections that wait to be accepted
_FIRST_PASSED = 3  # the first descriptor of socket activation, sd_listen_fds(3)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a path, a host and port, or sockets passed by the service manager."""

    kind: Literal["unix", "tcp", "fd"]
    path: str = ""
    port: int = 0


def parse_address(text: str, *, tls: bool = False) -> Address:
    """Read a ``-H`` value; raises InvalidParameter."""
    scheme, slashes, rest = text.strip().partition("://")
    if not slashes:
        scheme, rest = "tcp", scheme
    if scheme == "unix":
        return Address("unix", rest or DEFAULT_SOCKET)
    if scheme == "fd":
        return Address("fd", "" if rest == "*" else rest)
    if scheme != "tcp":
        raise InvalidParameter(f"invalid bind address format: {text}")
    host, _, port = rest.rpartition(":") if ":" in rest.rpartition("]")[2] else (rest, "", "")
    port = port.rstrip("/") or ("2376" if tls else "2375")
    if not port.isdigit() or int(port) > 65535:
        raise InvalidParameter(f"invalid bind address format: {text}")
    return Address("tcp", host.strip("[]") if rest else "localhost", int(port))


class Listeners:
    """The sockets that a server listens on; ``connection`` makes the protocol of each client."""

    def __init__(
        self, connection: Callable[[Gate], asyncio.Protocol], limits: Limits | None = None
    ) -> None:
        self._connection = connection
        self._limits = limits or Limits()
        self._servers: list[asyncio.Server] = []
        self._paths: list[tuple[str, int]] = []

    async def open(self, address: Address, *, tls: TLSFiles | None = None, group: str = "") -> None:
        """Start to listen, with ``tls`` on what is no unix socket.

        Raises WherryError that says why it cannot.
        """
        if address.kind == "unix":
            await self._serve(bind_unix(address.path, group), None)
            self._paths.append((address.path, os.stat(address.path).st_ino))
            log.info("API listen on %s", address.path)
        elif address.kind == "fd":
            for passed in passed_sockets(address.path):
                await self._serve(passed, None if passed.family == socket.AF_UNIX else tls)
        else:
            await self._serve_tcp(address, tls)

    async def _serve(self, sock: socket.socket, tls: TLSFiles | None) -> None:
        loop = asyncio.get_running_loop()
        factory = self._factory(tls)
        if sock.family == socket.AF_UNIX:
            server = await loop.create_unix_server(factory, sock=sock, backlog=_AT_ONCE)
        else:
            server = await loop.create_server(factory, sock=sock, backlog=_AT_ONCE)
        self._keep(server)

    async def _serve_tcp(self, address: Address, tls: TLSFiles | None) -> None:
        loop = asyncio.get_running_loop()
        where = f"tcp://{address.path}:{address.port}"
        if tls is None:
            log.warning("API on %s has no TLS: whoever reaches it is root on this machine", where)
        try:
            server = await loop.create_server(
                self._factory(tls),
                address.path or None,
                address.port,
                reuse_address=True,
                backlog=_AT_ONCE,
            )
        except OSError as error:
            raise WherryError(f"listen on {where}: {error.strerror}") from error
        self._keep(server)

    def _keep(self, server: asyncio.Server) -> None:
        """Let more wait than asyncio accepts at once: it knows one number for both."""
        for listening in server.sockets:
            with socket.socket(fileno=os.dup(listening.fileno())) as same:
                same.listen(_BACKLOG)
        self._servers.append(server)

    def _factory(self, tls: TLSFiles | None) -> Callable[[], asyncio.Protocol]:
        """What makes the protocols of one listener."""
        gate = Gate(self._limits)
        if tls is None:
            return lambda: self._connection(gate)
        context = server_context(tls)
        return lambda: bridge(context, gate, lambda: self._connection(gate))

    def close(self) -> None:
        """Accept nothing more; open connections go on."""
        for server in self._servers:
            server.close()
        for path, inode in self._paths:
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_ino == inode:
                    os.unlink(path)


def bind_unix(path: str, group: str = "") -> socket.socket:
    """A socket bound to ``path``, for its owner and ``group``; one that a dead daemon left goes.

    Raises Conflict when another daemon listens there, WherryError for other failures.
    """
    _clear_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        gid = group_id(group)
        if gid is not None:
            os.chown(path, 0, gid)
        os.chmod(path, 0o660)
    except OSError as error:
        sock.close()
        raise WherryError(f"listen on unix://{path}: {error.strerror}") from error
    return sock


def group_id(group: str) -> int | None:
    """The number of a group given by name or number; None when the host has no such group."""
    if group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None


def passed_sockets(name: str) -> list[socket.socket]:
    """Sockets of socket activation, all or those called ``name``; raises WherryError."""
    count = int(os.environ.get("LISTEN_FDS", "0"))
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not count:
        raise WherryError("listen on fd://: no sockets were passed by the service manager")
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    found = [
        socket.socket(fileno=_FIRST_PASSED + index)
        for index in range(count)
        if not name or name in (str(_FIRST_PASSED + index), *names[index : index + 1])
    ]
    if not found:
        raise WherryError(f"listen on fd://{name}: no such socket was passed")
    return found


def _clear_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise Conflict(f"listen on unix://{path}: it exists and is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        except OSError:
            pass
    raise Conflict(f"listen on unix://{path}: another daemon listens there")
