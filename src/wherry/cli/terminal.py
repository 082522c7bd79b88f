"""The user's terminal: raw mode, its size, keys that detach."""

from __future__ import annotations

import os
import sys

from wherry.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CONTROL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


class RawTerminal:
    """A context in which standard input passes every key through, and nothing is echoed.

    Does nothing when standard input is not a terminal or ``wanted`` is False.
    """

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted and os.isatty(0)
        self._saved: list[Any] | None = None

    def __enter__(self) -> RawTerminal:
        if self._wanted:
            import termios
            import tty

            self._saved = termios.tcgetattr(0)
            tty.setraw(0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._saved is not None:
            import termios

            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)
            self._saved = None


def size() -> tuple[int, int]:
    """(rows, columns) of the terminal at standard output; zeros when it is none."""
    for stream in (sys.stdout, sys.stdin, sys.stderr):
        try:
            columns, rows = os.get_terminal_size(stream.fileno())
        except (OSError, ValueError, AttributeError):
            continue
        return rows, columns
    return 0, 0


def detach_sequence(keys: str) -> bytes:
    """``ctrl-p,ctrl-q`` as the bytes that a terminal sends; raises CliError.

    Empty means Docker's default.
    """
    result = bytearray()
    for key in (keys or "ctrl-p,ctrl-q").split(","):
        if len(key) == 1:
            result.append(ord(key))
            continue
        letter = key.removeprefix("ctrl-")
        if letter == key or len(letter) != 1:
            raise CliError(f"invalid detach keys ({keys}): Unknown character: '{key}'")
        if "a" <= letter <= "z":
            result.append(ord(letter) - ord("a") + 1)
        elif letter in _CONTROL:
            result.append(_CONTROL[letter])
        else:
            raise CliError(f"invalid detach keys ({keys}): Unknown character: '{key}'")
    return bytes(result)


class DetachFilter:
    """Looks for the keys that detach in what is typed, and holds back what may become them."""

    __slots__ = ("_held", "_sequence", "detached")

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._held = b""
        self.detached = False

    def feed(self, data: bytes) -> bytes:
        """The bytes to pass on; ``detached`` is set once the whole sequence was typed.

        Nothing passes after that.
        """
        passed = bytearray()
        if self.detached:
            return b""
        for index in range(len(data)):
            self._held += data[index : index + 1]
            if self._held == self._sequence:
                self.detached = True
                return bytes(passed)
            while self._held and not self._sequence.startswith(self._held):
                passed += self._held[:1]
                self._held = self._held[1:]
        return bytes(passed)
