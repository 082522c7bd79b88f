"""The process that shims are forked from: small, single-threaded, with everything imported.

``python -I -S launcher FD INIT``: requests come in on the stream socket ``FD``: what a shim has to
know, and the bundle for its builder. Each brings its own connection for the answers, which
becomes a shim's first conversation. The end of the stream ends
the launcher; shims live on.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import sys

from wherry.errors import KernelError
from wherry.linux import process
from wherry.linux.cgroups import discover
from wherry.runtime import host, messages, shim


def main(fd: int, init: str = "") -> None:
    """Serve requests until the daemon has gone; ``init`` is the program for ``--init``."""
    requests = socket.socket(fileno=fd)
    requests.set_inheritable(False)
    process.set_name("wherry-launcher")
    process.set_dumpable(False)
    process.heed_signals()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # shims need no reaping
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the daemon's business
    os.setpgid(0, 0)
    facts = host.look(init)
    discover()
    gc.collect()
    gc.freeze()
    gc.collect()  # the collector forgets the frozen, so that it runs in time for the rest
    gc.disable()
    ctypes.CDLL(None).malloc_trim(0)
    while True:
        try:
            head, fds = messages.receive_bytes(requests)
            bundle, _ = messages.receive_bytes(requests)
        except messages.Closed:
            return
        _launch(head, bundle, fds, facts)


def _launch(head: bytes, bundle: bytes, fds: list[int], facts: host.Host) -> None:
    stream = socket.socket(fileno=fds[0])
    try:
        pid = os.fork()
    except OSError as error:
        failure = messages.failure(KernelError("fork shim", "", error.errno or 0))
        stream.sendall(messages.encode({"id": 0, "error": failure}))
        pid = -1
    if pid == 0:
        shim.main(head, bundle, stream, fds[1:], facts)
    stream.close()
    for fd in fds[1:]:
        os.close(fd)


if __name__ == "__main__":
    main(int(sys.argv[1]))
