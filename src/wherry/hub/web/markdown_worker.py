"""A process that turns Markdown into HTML, text by text, within limits.

    python -m wherry.hub.web.markdown_worker

Reads texts from standard input and writes HTML to standard output, each with its length in front
(four bytes, big-endian; ``REFUSED`` for a text that has no sensible HTML). People write the texts:
some make the parser work for minutes. The kernel ends this process when one text takes more than
``CPU_SECONDS`` of processor time or the process more than ``MEMORY`` bytes, whatever it is doing.
"""

from __future__ import annotations

import os
import resource
import signal
import struct
import sys
import time
from typing import BinaryIO

from wherry.hub.web import markdown

LENGTH = struct.Struct(">I")
REFUSED = 2**32 - 1
CPU_SECONDS = 2
MEMORY = 512 * 1024 * 1024
LONGEST_HTML = 4 * 1024 * 1024
_NICE = 10


def main() -> None:
    """Serves until standard input ends."""
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    while head := sys.stdin.buffer.read(LENGTH.size):
        source = sys.stdin.buffer.read(*LENGTH.unpack(head)).decode("utf-8", "replace")
        # Whole seconds of the process's life: at least CPU_SECONDS are left for this text.
        limit = int(time.process_time()) + CPU_SECONDS + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        _answer(sys.stdout.buffer, source)


def _answer(output: BinaryIO, source: str) -> None:
    try:
        html = markdown.render(source).encode("utf-8", "replace")
    except (RecursionError, MemoryError, ValueError):
        html = None
    if html is None or len(html) > LONGEST_HTML:
        output.write(LENGTH.pack(REFUSED))
    else:
        output.write(LENGTH.pack(len(html)) + html)
    output.flush()


if __name__ == "__main__":
    main()
