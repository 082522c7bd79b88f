"""libnftables(3) through ctypes: apply a ruleset text in one transaction, and hear of changes.

The texts are nft(8) syntax, made by ``firewall`` from typed values only. A text is applied as a
whole or not at all.
"""

from __future__ import annotations

import ctypes
import functools
import os
import socket
import struct
import threading
from collections.abc import Callable

from wherry.errors import KernelError, Unavailable

_NFT_CTX_DEFAULT = 0
_NETLINK_NETFILTER = 12
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP = 270, 1
_NFNLGRP_NFTABLES = 7
_NFNL_SUBSYS_NFTABLES = 10
_NFT_MSG_NEWGEN = 15
_NFTA_GEN_PROC_PID = 2
_NFTA_TABLE_NAME = 1  # the table's name is attribute 1 in chain, rule, set and element messages too
_HEADER = struct.Struct("=IHHII")
_one_at_a_time = threading.Lock()  # libnftables keeps some of its state in globals


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError as error:
        raise Unavailable(
            f"load libnftables: {error}; install it (Debian: libnftables1) or use --network none"
        ) from error
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = (ctypes.c_uint32,)
    library.nft_ctx_free.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_buffer_output.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_buffer_error.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_get_output_buffer.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    library.nft_ctx_get_error_buffer.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    library.nft_run_cmd_from_buffer.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
    return library


def run(text: str, step: str) -> str:
    """Apply ``text`` in the calling thread's network namespace and return nft's output.

    Raises KernelError with libnftables' own explanation when anything in it was refused (then
    nothing of it is in effect), Unavailable when the library is not installed.
    """
    with _one_at_a_time:
        return _run(_library(), text, step)


def _run(library: ctypes.CDLL, text: str, step: str) -> str:
    context = library.nft_ctx_new(_NFT_CTX_DEFAULT)
    try:
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)
        ctypes.set_errno(0)
        if library.nft_run_cmd_from_buffer(context, text.encode()) != 0:
            reason = (library.nft_ctx_get_error_buffer(context) or b"").decode(errors="replace")
            first = reason.strip().splitlines()[0] if reason.strip() else "unknown reason"
            raise KernelError(
                f"{step} ({first.removeprefix('Error: ')})", "nftables", _errno(first)
            )
        return (library.nft_ctx_get_output_buffer(context) or b"").decode(errors="replace")
    finally:
        library.nft_ctx_free(context)


def _errno(reason: str) -> int:
    """libnftables reports errors as text; find the number again."""
    return next((code for code in range(1, 134) if reason.endswith(os.strerror(code))), 22)


class Watch:
    """Hears when somebody else changes a table (nftables netlink notifications).

    ``fileno()`` becomes readable; ``foreign_change()`` then says whether a process other than
    this thread group's ``writers`` touched the table.
    """

    def __init__(self, table: str, is_own: Callable[[int], bool]) -> None:
        self._table = table.encode() + b"\0"
        self._is_own = is_own
        self._touched = False
        self._socket = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
            _NETLINK_NETFILTER,
        )
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def foreign_change(self) -> bool:
        """Read all pending notifications; True when a foreign transaction touched the table.

        Notifications that were lost because too many came at once count as foreign.
        """
        found = False
        while True:
            try:
                data = self._socket.recv(1 << 17)
            except BlockingIOError:
                return found
            except OSError:
                found = True
                continue
            found |= self._scan(data)

    def _scan(self, data: bytes) -> bool:
        found = False
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
            if length < _HEADER.size:
                break
            body = data[offset + _HEADER.size + 4 : offset + length]
            if kind >> 8 == _NFNL_SUBSYS_NFTABLES:
                if kind & 0xFF == _NFT_MSG_NEWGEN:
                    writer = struct.unpack(">I", _find(body, _NFTA_GEN_PROC_PID) or bytes(4))[0]
                    found |= self._touched and not self._is_own(writer)
                    self._touched = False
                elif _find(body, _NFTA_TABLE_NAME) == self._table:
                    self._touched = True
            offset += length + 3 & ~3
        return found


def _find(body: bytes, wanted: int) -> bytes | None:
    offset = 0
    while offset + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, offset)
        if length < 4:
            return None
        if kind & 0x3FFF == wanted:
            return body[offset + 4 : offset + length]
        offset += length + 3 & ~3
    return None


class Writers:
    """Thread ids that write our tables; the kernel names the writer of each transaction."""

    def __init__(self) -> None:
        self._threads: set[int] = set()

    def register(self) -> None:
        """Declare the calling thread a writer."""
        self._threads.add(threading.get_native_id())

    def __contains__(self, thread: int) -> bool:
        return thread in self._threads
