"""Hearing of changes to a table, whoever makes them (nftables netlink notifications)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from wherry.network.netlink import hear_bursts

_NETLINK_NETFILTER = 12
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP = 270, 1
_NFNLGRP_NFTABLES = 7
_NFNL_SUBSYS_NFTABLES = 10
_NFT_MSG_NEWGEN = 15
_NFTA_GEN_PROC_PID = 2
_NFTA_TABLE_NAME = 1  # the table's name is attribute 1 in chain, rule, set and element messages too
_HEADER = struct.Struct("=IHHII")


class Watch:
    """Hears when somebody else changes a table (nftables netlink notifications).

    ``fileno()`` becomes readable; ``foreign_change()`` then says whether a process that is not
    one of ours (``is_own`` of its id) touched the table.
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
        hear_bursts(self._socket)
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
