"""The nftables process: ``python -I -m wherry.network.nft DESCRIPTOR``.

``DESCRIPTOR`` is its end of a stream socket, see ``protocol``. It ends when the other end is
closed.
"""

from __future__ import annotations

import os
import socket
import sys

from wherry.errors import KernelError, Unavailable
from wherry.network.netns import entered
from wherry.network.nft import library, protocol
from wherry.network.nft.protocol import Outcome


def main(descriptor: int) -> None:
    """Apply what comes, one text after the other, until the daemon is gone."""
    with socket.socket(fileno=descriptor) as channel:
        while True:
            try:
                _, text, namespace_fd = protocol.receive(channel)
                outcome, words = _apply(text, namespace_fd)
                protocol.send(channel, outcome, words)
            except (EOFError, ConnectionError):
                return


def _apply(text: bytes, namespace_fd: int | None) -> tuple[Outcome, bytes]:
    try:
        if namespace_fd is None:
            return Outcome.APPLIED, library.apply(text)
        try:
            with entered(namespace_fd):
                return Outcome.APPLIED, library.apply(text)
        finally:
            os.close(namespace_fd)
    except Unavailable as error:
        return Outcome.UNAVAILABLE, str(error).encode()
    except (library.Refused, KernelError) as error:
        return Outcome.REFUSED, str(error).encode()


if __name__ == "__main__":
    main(int(sys.argv[1]))
