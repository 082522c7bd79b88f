"""Events that are not in the store yet, in a file, so that a killed daemon has lost none.

One line of JSON an event, appended as it happens and without waiting for the disk: what was
written outlives the process, though not a failure of power.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

Line = dict[str, Any]


class EventJournal:
    """The file at ``path``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = -1

    def read(self) -> list[Line]:
        """What a former process left; a line that was torn is left out."""
        found: list[Line] = []
        with suppress(FileNotFoundError), open(self._path, encoding="utf-8") as file:
            for line in file:
                with suppress(ValueError):
                    found.append(json.loads(line))
        return found

    def append(self, line: Line) -> None:
        """Add one event; a full disk costs it its place here and nothing else."""
        with suppress(OSError):
            if self._file == -1:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._file = os.open(self._path, flags, 0o600)
            os.write(self._file, _text(line))

    def keep(self, lines: Iterable[Line]) -> None:
        """Forget all but these."""
        content = b"".join(map(_text, lines))
        with suppress(OSError):
            if not content and self._file != -1:
                os.ftruncate(self._file, 0)
                return
            temporary = f"{self._path}.tmp"
            with open(temporary, "wb") as file:
                file.write(content)
            os.rename(temporary, self._path)
            self.close()

    def close(self) -> None:
        """Let go of the file; the next event opens it again."""
        if self._file != -1:
            os.close(self._file)
            self._file = -1


def _text(line: Line) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"
