"""The states of a container and the moves between them; pure.

::

    created ──▶ running ◀──▶ paused
       │           │  ▲
       │           ▼  │
       │        exited / restarting
       ▼           ▼
      removing ──▶ (gone)      dead: removing failed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from wherry.errors import Conflict
from wherry.timestamps import SECOND, rfc3339

Status = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]

_NEVER = "0001-01-01T00:00:00Z"

TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    "created": frozenset({"running", "created", "removing"}),
    "running": frozenset({"paused", "exited", "restarting"}),
    "paused": frozenset({"running", "exited", "restarting"}),
    "restarting": frozenset({"running", "exited", "restarting", "removing"}),
    "exited": frozenset({"running", "exited", "removing"}),
    "removing": frozenset({"dead"}),
    "dead": frozenset({"removing"}),
}


@dataclass(frozen=True, slots=True)
class State:
    """Where a container is in its life. Times are nanoseconds since 1970, 0 for never.

    ``stopped_by_user`` keeps a restart policy from starting it again.
    """

    status: Status = "created"
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started: int = 0
    finished: int = 0
    restart_count: int = 0
    stopped_by_user: bool = False

    @property
    def running(self) -> bool:
        """Whether it has a process, or will have one again by itself."""
        return self.status in ("running", "paused", "restarting")

    @property
    def alive(self) -> bool:
        """Whether it has a process."""
        return self.status in ("running", "paused")

    def to(self, status: Status, **changes: Any) -> State:
        """The state after a move; raises Conflict for a move that cannot be."""
        if status not in TRANSITIONS[self.status]:
            raise Conflict(f"a container that is {self.status} cannot become {status}")
        return replace(self, status=status, **changes)

    def to_json(self) -> dict[str, Any]:
        """A form for the store."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> State:
        """The inverse of `to_json`."""
        return cls(**values)

    def view(self) -> dict[str, Any]:
        """``State`` of inspect, without health."""
        return {
            "Status": self.status,
            "Running": self.running,
            "Paused": self.status == "paused",
            "Restarting": self.status == "restarting",
            "OOMKilled": self.oom_killed,
            "Dead": self.status == "dead",
            "Pid": self.pid if self.alive else 0,
            "ExitCode": self.exit_code,
            "Error": self.error,
            "StartedAt": rfc3339(self.started) if self.started else _NEVER,
            "FinishedAt": rfc3339(self.finished) if self.finished else _NEVER,
        }

    def summary(self, now: int, health: str = "") -> str:
        """The ``Status`` column of ``docker ps``; ``health`` is a container's health status."""
        if self.status == "removing":
            return "Removal In Progress"
        if self.status in ("dead", "created"):
            return self.status.capitalize()
        if self.status == "restarting":
            return f"Restarting ({self.exit_code}) {human_duration(now - self.finished)} ago"
        if self.status == "exited":
            return f"Exited ({self.exit_code}) {human_duration(now - self.finished)} ago"
        up = f"Up {human_duration(now - self.started)}"
        if self.status == "paused":
            return f"{up} (Paused)"
        if health and health != "none":
            return f"{up} ({'health: starting' if health == 'starting' else health})"
        return up


def human_duration(nanoseconds: int) -> str:
    """About how long, in words, as ``docker ps`` tells it."""
    seconds = max(0, nanoseconds) // SECOND
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    minutes = seconds // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = (seconds + 1800) // 3600
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{hours // 24 // 365} years"
