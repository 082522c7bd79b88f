"""Signals by name or number, as clients write them (signal(7))."""

from __future__ import annotations

import signal

from wherry.errors import InvalidParameter
from wherry.numbers import whole_number

_NAMES = {one.name.removeprefix("SIG"): int(one) for one in signal.Signals} | {
    "RTMIN": int(signal.SIGRTMIN),
    "RTMAX": int(signal.SIGRTMAX),
    "IOT": int(signal.SIGABRT),
    "CLD": int(signal.SIGCHLD),
    "POLL": int(signal.SIGIO),
}
_NAMES |= {f"RTMIN+{n}": signal.SIGRTMIN + n for n in range(1, 16)}
_NAMES |= {f"RTMAX-{n}": signal.SIGRTMAX - n for n in range(1, 15)}


def parse_signal(text: str) -> int:
    """The number of ``SIGTERM``, ``term``, ``15``; raises InvalidParameter."""
    given = whole_number(text)
    if given is not None:
        if 0 < given <= int(signal.SIGRTMAX):
            return given
        raise InvalidParameter(f"invalid signal: {text}")
    number = _NAMES.get(text.upper().removeprefix("SIG"))
    if number is None:
        raise InvalidParameter(f"invalid signal: {text}")
    return number
