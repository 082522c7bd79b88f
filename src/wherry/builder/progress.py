"""The builder's output in the classic form that clients show and parse.

Stages may run side by side; the output of one is held back until those before it are through,
so that the text reads as if they had run one after another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wherry.builder.backend import Emit

_SHORT = 12


def short(image_id: str) -> str:
    """An id as people see it."""
    return image_id.rpartition(":")[2][:_SHORT]


@dataclass(frozen=True, slots=True)
class Title:
    """What is said of a step when it begins.

    ``number`` of ``total`` counts the instructions of the file. ``ordinal`` of ``count`` counts
    the FROM of ``stage`` and its steps that make layers; 0 for a step that makes none. ``stage``
    is empty when the file has only one; ``line`` is 0 for what stands in no file.
    """

    number: int
    total: int
    text: str
    stage: str = ""
    ordinal: int = 0
    count: int = 0
    line: int = 0


class Output:
    """The output of a whole build; ``quiet`` leaves only what comes at the end."""

    def __init__(self, emit: Emit, *, quiet: bool = False) -> None:
        self.emit = emit
        self.quiet = quiet
        self._lanes: list[Lane] = []

    def lane(self) -> Lane:
        """The place for the next stage's output."""
        lane = self._new_lane()
        self._lanes.append(lane)
        self.advance()
        return lane

    def _new_lane(self) -> Lane:
        return Lane(self)

    def advance(self) -> None:
        """Let the first unfinished lane speak."""
        for lane in self._lanes:
            lane.release()
            if not lane.finished:
                return

    def text(self, text: str) -> None:
        """Text that is no stage's."""
        if not self.quiet:
            self.emit({"stream": text})

    def aux(self, value: Mapping[str, Any]) -> None:
        """A machine-readable fact; told in any case."""
        self.emit({"aux": value})


class Lane:
    """The output of one stage."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._held: list[Mapping[str, Any]] | None = []
        self.finished = False

    def emit(self, item: Mapping[str, Any]) -> None:
        """Pass an object on, now or when it is this lane's turn."""
        if self._output.quiet:
            return
        if self._held is None:
            self._output.emit(item)
        else:
            self._held.append(item)

    def text(self, text: str) -> None:
        """Text as it is."""
        self.emit({"stream": text})

    def arrow(self, text: str) -> None:
        """A line of the step."""
        self.text(f" ---> {text}\n")

    # What happens to a step, in this order ---------------------------------------------------

    def step(self, title: Title) -> None:
        """A step begins."""
        self.text(f"Step {title.number}/{title.total} : {title.text}")
        self.text("\n")

    def ready(self) -> None:
        """All that the step needs of other stages is there."""

    def cached(self) -> None:
        """The step's result was made before."""
        self.arrow("Using cache")

    def running(self, container: str) -> None:
        """The step's command is executed."""
        self.arrow(f"Running in {short(container)}")

    def wrote(self, data: bytes) -> None:
        """The step's command wrote something."""
        self.text(data.decode("utf-8", "replace"))

    def removed(self, container: str) -> None:
        """The command has ended and its container is gone."""
        self.text(f"Removing intermediate container {short(container)}\n")

    def result(self, image: str) -> None:
        """The step is done; the id of the image so far, empty when there is none."""
        self.arrow(short(image))

    def failed(self, error: BaseException) -> None:
        """The step has failed; the build will say so."""

    def release(self) -> None:
        """From now on output is passed on at once."""
        held, self._held = self._held, None
        for item in held or ():
            self._output.emit(item)

    def finish(self) -> None:
        """Nothing more will come."""
        self.finished = True
        self._output.advance()
