"""A build on a terminal: a line for each step with its time, and the end of what it prints."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import deque

from wherry.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TextIO

_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)", re.DOTALL)
_SHOWN_LINES = 6
_KEPT_LINES = 200
_TICK = 0.25
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_SWALLOWED = (" ---> ", "Removing intermediate container ", "# Executing ")


class BuildView:
    """Draws the messages of one build; ``columns`` is the width of the terminal."""

    def __init__(
        self, out: TextIO, columns: int, *, explain: bool, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._out = out
        self._columns = max(columns, 20)
        self._explain = explain
        self._now = now
        self._title = ""
        self._began = 0.0
        self._end = ""
        self._reasons = ""
        self._partial = ""
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._shown: list[str] = []  # lines drawn that will be drawn again
        self._lock = threading.Lock()

    def show(self, message: dict[str, Any]) -> None:
        """Draw one message; raises CliError when it reports a failure."""
        with self._lock:
            detail = message.get("errorDetail")
            if detail or message.get("error"):
                self._fail(detail or {}, str(message.get("error", "")))
            stream = message.get("stream")
            if stream is not None:
                self._text(str(stream))
            elif message.get("status"):
                identity = message.get("id")
                status = str(message["status"])
                self._text(f"{identity}: {status}\n" if identity else f"{status}\n")
            self._draw()

    def explained(self, fact: dict[str, Any]) -> None:
        """What the engine says of the step that it has just done."""
        with self._lock:
            self._end = "CACHED" if fact.get("cached") else f"{fact.get('seconds', 0.0):.1f}s"
            reasons = fact.get("reasons") or []
            self._reasons = "; ".join(map(str, reasons)) if self._explain else ""

    def tick(self) -> None:
        """Draw the running step's time anew."""
        with self._lock:
            self._draw()

    def finish(self) -> None:
        """The stream is over."""
        with self._lock:
            self._close()

    def _text(self, text: str) -> None:
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            found = _STEP.fullmatch(line)
            if found:
                self._close()
                self._title = f"[{found[1]}/{found[2]}] {found[3]}"
                self._began, self._end, self._reasons = self._now(), "", ""
                self._lines.clear()
            elif line.startswith("Successfully "):
                self._close()
                self._out.write(f"{line}\n")
            elif line and not line.startswith(_SWALLOWED):
                self._lines.append(_CONTROL.sub("", line.rpartition("\r")[2]))

    def _draw(self) -> None:
        if not self._title:
            self._wipe()
            self._pass_on()
            return
        shown = [self._line(f"{self._now() - self._began:.1f}s")]
        shown += [f"\x1b[2m{self._cut(' => => ' + line)}\x1b[0m" for line in self._tail()]
        if shown != self._shown:
            self._wipe()
            self._out.write("".join(f"{line}\n" for line in shown))
            self._shown = shown
            self._out.flush()

    def _tail(self) -> list[str]:
        return list(self._lines)[-_SHOWN_LINES:]

    def _pass_on(self) -> None:
        """Text that belongs to no step stays."""
        for line in self._lines:
            self._out.write(f"{line}\n")
        self._lines.clear()

    def _close(self) -> None:
        """The step is done: only its own line stays."""
        self._wipe()
        if self._title:
            self._out.write(self._line(self._end or f"{self._now() - self._began:.1f}s") + "\n")
            if self._reasons:
                self._out.write(self._cut(f" => => not cached: {self._reasons}") + "\n")
            self._title = ""
            self._lines.clear()
        self._pass_on()
        self._out.flush()

    def _fail(self, detail: dict[str, Any], error: str) -> None:
        self._wipe()
        if self._title:
            self._out.write(self._line("ERROR") + "\n")
        for line in self._lines:
            self._out.write(f"    {line}\n")
        self._title = ""
        self._out.flush()
        raise CliError(str(detail.get("message") or error), int(detail.get("code") or 1))

    def _wipe(self) -> None:
        if self._shown:
            self._out.write(f"\x1b[{len(self._shown)}A\x1b[J")
            self._shown = []

    def _line(self, end: str) -> str:
        room = self._columns - len(end) - 2
        title = f" => {_CONTROL.sub('', self._title.replace(chr(10), ' '))}"
        if len(title) > room:
            title = title[: room - 1] + "…"
        return f"{title:<{room}} {end}"

    def _cut(self, text: str) -> str:
        return text if len(text) < self._columns else text[: self._columns - 2] + "…"


def draw_build(
    messages: Iterable[dict[str, Any]],
    columns: int,
    *,
    explain: bool,
    on_aux: Callable[[dict[str, Any]], None],
) -> None:
    """Draw a whole build on standard output, a terminal; raises CliError."""
    view = BuildView(sys.stdout, columns, explain=explain)
    over = threading.Event()

    def clock() -> None:
        while not over.wait(_TICK):
            view.tick()

    ticker = threading.Thread(target=clock, daemon=True)
    ticker.start()
    try:
        for message in messages:
            aux = message.get("aux")
            if aux is None:
                view.show(message)
            elif "explain" in aux:
                view.explained(aux["explain"])
            else:
                on_aux(aux)
        view.finish()
    finally:
        over.set()
        ticker.join()
