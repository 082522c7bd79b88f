"""The frames in which output of a container without a terminal arrives.

Each frame is 8 bytes of header (stream number, three zero bytes, length as 32 bits big-endian)
and its payload. Engine API, "Attach to a container", stream format.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STDIN, STDOUT, STDERR, SYSTEM_ERROR = 0, 1, 2, 3


def frames(read_some: Callable[[], bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield ``(stream, payload)`` until ``read_some`` returns nothing.

    A frame that is cut off is yielded as far as it came. Payloads of long frames are passed on
    in pieces as they arrive, so nothing waits for the end of a frame.
    """
    buffer = b""
    stream = left = 0
    while data := read_some():
        buffer = buffer + data if buffer else data
        while buffer:
            if left == 0:
                if len(buffer) < 8:
                    break
                stream = buffer[0]
                left = int.from_bytes(buffer[4:8], "big")
                buffer = buffer[8:]
                continue
            payload, buffer = buffer[:left], buffer[left:]
            left -= len(payload)
            yield stream, payload
