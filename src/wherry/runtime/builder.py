"""Making a container in a short-lived process, so that the shim itself stays small.

Parsing the spec, planning the root and setting cgroups touch memory that the shim would share
with the launcher no more, for as long as the container lives. The builder is a fork of the
shim; it clones the container's first process as the *shim's* child, hands it over, and ends.
"""

from __future__ import annotations

import json
import os
import socket
from typing import NoReturn

from wherry.runtime import messages, spawn
from wherry.runtime.bundle import Bundle, StartFailed
from wherry.runtime.host import Host


def begin(payload: bytes, host: Host) -> tuple[int, socket.socket]:
    """Start a builder for a bundle in JSON: its pid, and where its answer comes."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        near.close()
        _build(payload, host, far)
    far.close()
    return pid, near


def finish(pid: int, answers: socket.socket) -> spawn.Spawned:
    """What the builder made; raises `StartFailed` with everything undone."""
    with answers:
        try:
            message, fds = messages.receive_packet(answers)
        except messages.Closed:
            message, fds = messages.failure(StartFailed("the builder was killed", "build")), []
    os.waitpid(pid, 0)
    if "pid" not in message:
        raise messages.failed(message)
    if message["joiner"]:
        os.waitpid(message["joiner"], 0)
    pidfd, channel = fds
    return spawn.Spawned(
        pid=message["pid"],
        pidfd=pidfd,
        channel=socket.socket(fileno=channel),
        join_flags=message["join_flags"],
        warnings=message["warnings"],
    )


def _build(payload: bytes, host: Host, answers: socket.socket) -> NoReturn:
    try:
        spawned = spawn.spawn(Bundle.from_json(json.loads(payload)), host, for_parent=True)
        message = {
            "pid": spawned.pid,
            "joiner": spawned.joiner,
            "join_flags": spawned.join_flags,
            "warnings": spawned.warnings,
        }
        assert spawned.channel is not None
        messages.send_packet(answers, message, [spawned.pidfd, spawned.channel.fileno()])
    except BaseException as error:
        messages.send_packet(answers, messages.failure(error))
    os._exit(0)
