"""What the health checks of a container have found; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from wherry.timestamps import rfc3339

Status = Literal["none", "starting", "healthy", "unhealthy"]
_KEPT = 5


@dataclass(frozen=True, slots=True)
class Result:
    """One check; times are nanoseconds since 1970."""

    start: int
    end: int
    code: int
    output: str

    def view(self) -> dict[str, Any]:
        """An entry of ``Health.Log``."""
        return {
            "Start": rfc3339(self.start),
            "End": rfc3339(self.end),
            "ExitCode": self.code,
            "Output": self.output,
        }


@dataclass(frozen=True, slots=True)
class Health:
    """What the checks so far say."""

    status: Status = "starting"
    streak: int = 0
    results: tuple[Result, ...] = ()

    def after(self, result: Result, retries: int, *, starting: bool) -> Health:
        """The health after one more result; failures count nothing while ``starting``."""
        results = (*self.results, result)[-_KEPT:]
        if result.code == 0:
            return Health("healthy", 0, results)
        if self.status == "starting" and starting:
            return replace(self, results=results)
        streak = self.streak + 1
        return Health("unhealthy" if streak >= retries else self.status, streak, results)

    def ended(self) -> Health:
        """The health once nobody checks any more: unhealthy, with what was found kept."""
        return replace(self, status="unhealthy")

    def to_json(self) -> dict[str, Any]:
        """A form for the store."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Health:
        """The inverse of `to_json`."""
        results = tuple(Result(**result) for result in values["results"])
        return cls(values["status"], values["streak"], results)

    def view(self) -> dict[str, Any]:
        """``State.Health`` of inspect."""
        return {
            "Status": self.status,
            "FailingStreak": self.streak,
            "Log": [result.view() for result in self.results],
        }
