"""What the daemon, the shim and a container's first process say to each other.

::

    daemon                    shim                              init (or exec)
      │ Create ──────────────▶ │                                  ·
      │  (through the launcher)│ cgroups, clone3 ────────────────▶│
      │                        │ id maps, idmapped trees          │ waits
      │                        │ Proceed + descriptors ──────────▶│ builds the root, makes stdio
      │ ◀───────────── created │                                  │
      │                        │ ◀─────────── Ready + descriptors │ waits
      │ start ───────────────▶ │ Go ─────────────────────────────▶│ user, capabilities, seccomp
      │ ◀────────────── result │ ◀──────────────── end of file    │ execve
      │                        │ ◀──────────────── Failure        │ (or why not)
      │ ◀───────── event: exit │

Between shim and init there is one packet a message on a SOCK_SEQPACKET pair that execve closes:
the end of file *is* the message that execve happened. Between daemon and shim there are
length-prefixed JSON objects on a stream: requests carry ``id`` and ``op``, answers ``id`` and
``ok`` or ``error``, events ``event``. Descriptors ride on a message's first byte.
"""

from __future__ import annotations

import array
import json
import socket
import struct
from collections.abc import Sequence
from typing import Any

from wherry.errors import KernelError, WherryError
from wherry.runtime.bundle import StartFailed

Message = dict[str, Any]

_HEADER = struct.Struct("!I")
_LARGEST = 64 << 20
_LONGEST_TEXT = 4096
_DESCRIPTORS_A_PACKET = 250  # SCM_MAX_FD is 253


class Closed(Exception):
    """The other side has ended."""


# --- failures, in a form that crosses process borders


def failure(error: BaseException) -> Message:
    """Any error as a message that fits into a packet, whatever names the error quotes."""
    told = _failure(error)
    return {key: _short(value) if isinstance(value, str) else value for key, value in told.items()}


def _short(text: str) -> str:
    if len(text) <= _LONGEST_TEXT:
        return text
    return f"{text[: _LONGEST_TEXT // 2]} … {text[-_LONGEST_TEXT // 2 :]}"


def _failure(error: BaseException) -> Message:
    if isinstance(error, StartFailed):
        return {
            "message": str(error),
            "step": error.step,
            "path": error.path,
            "errno": error.errno,
            "exit_code": error.exit_code,
        }
    if isinstance(error, KernelError):
        return {
            "message": str(error),
            "step": error.step,
            "path": error.path,
            "errno": error.errno,
            "exit_code": 125,
        }
    if isinstance(error, OSError):
        path = str(error.filename or "")
        return {
            "message": str(error),
            "step": "start",
            "path": path,
            "errno": error.errno or 0,
            "exit_code": 125,
        }
    message = str(error) if isinstance(error, WherryError) else repr(error)
    return {"message": message, "step": "start", "path": "", "errno": 0, "exit_code": 125}


def failed(message: Message) -> StartFailed:
    """The inverse of `failure`."""
    return StartFailed(
        message["message"],
        message["step"],
        message["path"],
        message["errno"],
        message["exit_code"],
    )


# --- packets: shim and init


def send_packet(channel: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Send one message; more descriptors than one packet takes go ahead in packets of their own."""
    fds = list(fds)
    while len(fds) > _DESCRIPTORS_A_PACKET:
        socket.send_fds(channel, [b'{"more":1}'], fds[:_DESCRIPTORS_A_PACKET])
        del fds[:_DESCRIPTORS_A_PACKET]
    payload = json.dumps(message).encode()
    if fds:
        socket.send_fds(channel, [payload], fds)
    else:
        channel.send(payload)


def receive_packet(channel: socket.socket) -> tuple[Message, list[int]]:
    """Receive one message and its descriptors; raises `Closed` at the end of file."""
    collected: list[int] = []
    while True:
        payload, fds = _receive(channel, 1 << 17)
        collected += fds
        if not payload:
            raise Closed
        message: Message = json.loads(payload)
        if "more" not in message:
            return message, collected


# --- streams: daemon and shim


def encode(message: Message) -> bytes:
    """A message with its length before it."""
    payload = json.dumps(message).encode()
    return _HEADER.pack(len(payload)) + payload


def receive(stream: socket.socket) -> tuple[Message, list[int]]:
    """Receive one message from a blocking stream; raises `Closed` at the end of file."""
    payload, fds = receive_bytes(stream)
    message: Message = json.loads(payload)
    return message, fds


def receive_bytes(stream: socket.socket) -> tuple[bytes, list[int]]:
    """Like `receive`, with the message still in JSON."""
    header, fds = _receive(stream, _HEADER.size)
    header += _exactly(stream, _HEADER.size - len(header)) if header else b""
    if len(header) < _HEADER.size:
        raise Closed
    (length,) = _HEADER.unpack(header)
    if length > _LARGEST:
        raise Closed
    return _exactly(stream, length), fds


def _exactly(stream: socket.socket, length: int) -> bytes:
    parts = []
    while length:
        part = stream.recv(min(length, 1 << 20))
        if not part:
            raise Closed
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _receive(channel: socket.socket, size: int) -> tuple[bytes, list[int]]:
    space = socket.CMSG_SPACE(_DESCRIPTORS_A_PACKET * 4)
    try:
        payload, ancillary, _, _ = channel.recvmsg(size, space, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        raise Closed from None
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return payload, list(fds)
