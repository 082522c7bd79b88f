"""Progress of pulls, pushes, loads and builds: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys

from wherry.cli.errors import CliError
from wherry.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TextIO

_BAR_WIDTH = 50


def bar(current: int, total: int, columns: int) -> str:
    """``[=====>    ]  3.1MB/9MB`` as wide as ``columns`` allow."""
    if current <= 0 and total <= 0:
        return ""
    numbers = human_size(current)
    if total <= 0:
        return f"{numbers:>8}"
    percent = min(current / total, 1.0)
    drawn = ""
    if columns > 110:
        full = int(percent * _BAR_WIDTH)
        drawn = f"[{'=' * full}>{' ' * (_BAR_WIDTH - full)}] "
    if current > total:
        return drawn + f"{numbers:>8}"
    return drawn + f"{numbers:>8}/{human_size(total)}"


class ProgressView:
    """Draws the messages of one progress stream.

    On a terminal each id has a line of its own that is redrawn in place; elsewhere every change
    of status is a line, and bars are left out.
    """

    def __init__(self, out: TextIO, *, terminal: bool, columns: int = 80) -> None:
        self._out = out
        self._terminal = terminal
        self._columns = columns
        self._lines: dict[str, int] = {}

    def show(self, message: dict[str, Any]) -> None:
        """Draw one message; raises CliError when it reports a failure."""
        detail = message.get("errorDetail")
        if detail or message.get("error"):
            text = (detail or {}).get("message") or message.get("error", "")
            raise CliError(str(text), int((detail or {}).get("code") or 1))
        identity = str(message.get("id", ""))
        progress = message.get("progressDetail") or {}
        stream = message.get("stream")
        if stream is not None:
            self._out.write(str(stream))
            self._out.flush()
            return
        status = str(message.get("status", ""))
        if not status:
            return
        if self._terminal and identity and message.get("progressDetail") is not None:
            self._redraw(identity, status, progress)
            return
        if not self._terminal and (progress.get("current") or progress.get("total")):
            return
        self._out.write(f"{identity}: {status}\n" if identity else f"{status}\n")
        self._out.flush()
        self._lines.clear()

    def _redraw(self, identity: str, status: str, progress: dict[str, Any]) -> None:
        if identity not in self._lines:
            self._lines[identity] = len(self._lines)
            self._out.write("\n")
        up = len(self._lines) - self._lines[identity]
        drawn = bar(
            int(progress.get("current") or 0), int(progress.get("total") or 0), self._columns
        )
        text = f"{identity}: {status} {drawn}"
        self._out.write(f"\x1b[{up}A\x1b[2K\r{text}\x1b[{up}B\r")
        self._out.flush()


def draw(
    messages: Iterable[dict[str, Any]],
    out: TextIO | None = None,
    on_aux: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Draw a whole progress stream on ``out`` (standard output); raises CliError.

    ``on_aux`` is called with what the daemon adds for programs.
    """
    target = out or sys.stdout
    terminal = target.isatty()
    columns = 80
    if terminal:
        from wherry.cli.terminal import size

        columns = size()[1] or 80
    view = ProgressView(target, terminal=terminal, columns=columns)
    for message in messages:
        aux = message.get("aux")
        if aux is not None:
            if on_aux is not None:
                on_aux(aux)
            continue
        view.show(message)
