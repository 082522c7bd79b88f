"""What daemon and nftables process say to each other on a stream socket.

Each message is a head and a body of the length that the head tells. A request is a text and, when
its head says so, comes with the descriptor of a network namespace; the answer is an outcome and
nft's words.
"""

from __future__ import annotations

import os
import socket
import struct
from enum import IntEnum

_HEAD = struct.Struct("=IB")


class Outcome(IntEnum):
    """How a request ended."""

    APPLIED = 0
    REFUSED = 1
    UNAVAILABLE = 2


def send(channel: socket.socket, kind: int, body: bytes, descriptor: int | None = None) -> None:
    """Send a message; raises OSError when the other side is gone."""
    head = _HEAD.pack(len(body), kind)
    if descriptor is None:
        channel.sendall(head)
    else:
        socket.send_fds(channel, [head], [descriptor])
    channel.sendall(body)


def receive(channel: socket.socket) -> tuple[int, bytes, int | None]:
    """The next message: kind, body and the descriptor beside it, which is the caller's to close.

    Raises EOFError when the other side is gone.
    """
    head, descriptors, _, _ = socket.recv_fds(channel, _HEAD.size, 1)
    descriptor = descriptors[0] if descriptors else None
    try:
        head += _exactly(channel, _HEAD.size - len(head))
        length, kind = _HEAD.unpack(head)
        return kind, _exactly(channel, length), descriptor
    except BaseException:
        if descriptor is not None:
            os.close(descriptor)
        raise


def _exactly(channel: socket.socket, length: int) -> bytes:
    parts = []
    while length:
        part = channel.recv(min(length, 1 << 20))
        if not part:
            raise EOFError("the other side is gone")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
