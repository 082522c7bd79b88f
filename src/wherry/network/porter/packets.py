"""Messages between daemon and porter: JSON, one a packet, long ones in a file beside it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

_PACKET = 1 << 16
_DESCRIPTORS = 2


def send(peer: socket.socket, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send a message with descriptors beside it; raises OSError when the other side is gone."""
    data = json.dumps(message).encode()
    if len(data) <= _PACKET:
        socket.send_fds(peer, [data], descriptors)
        return
    # The kernel limits the size of a packet; containers and names are as many as they are.
    file = os.memfd_create("message", os.MFD_CLOEXEC)
    try:
        with open(file, "wb", closefd=False) as out:
            out.write(data)
        socket.send_fds(peer, [b'{"do": "read"}'], [file, *descriptors])
    finally:
        os.close(file)


def receive(peer: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The next message and the descriptors beside it, which are the caller's to close.

    Raises EOFError when the other side is gone.
    """
    data, descriptors, _, _ = socket.recv_fds(peer, _PACKET, _DESCRIPTORS + 1)
    if not data:
        raise EOFError("the other side is gone")
    message: dict[str, Any] = json.loads(data)
    if message.get("do") == "read":
        with open(descriptors.pop(0), "rb") as file:
            file.seek(0)
            message = json.load(file)
    return message, descriptors
