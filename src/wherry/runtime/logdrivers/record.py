"""What every log driver is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class LogRecord(NamedTuple):
    """One line of a container's output, without its newline. A tuple, for there are millions.

    ``time_ns`` is nanoseconds since the epoch. ``partial`` marks a piece of a line that was longer
    than the 16 KiB a record holds; the last piece is not partial.
    """

    stream: str
    line: bytes
    time_ns: int
    partial: bool = False


@dataclass(frozen=True, slots=True)
class LogSource:
    """Whose output it is: what the drivers put beside each line.

    ``tag`` is final (the engine has expanded its template); ``attributes`` are the labels and
    variables that the options ``labels``, ``labels-regex``, ``env`` and ``env-regex`` chose.
    """

    container_id: str
    container_name: str
    image_id: str
    image_name: str
    command: str
    created: str
    hostname: str
    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
