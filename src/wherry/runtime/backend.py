"""What the shim asks of whatever makes processes: Wherry's own runtime, or another OCI runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from wherry.runtime import spawn
from wherry.runtime.messages import Message


@dataclass(frozen=True, slots=True)
class Started:
    """A process that is the shim's child, and the outer ends of its stdio."""

    pid: int
    pidfd: int
    ends: list[int]


class Backend(Protocol):
    """One container's maker. Calls come in this order; each may raise `WherryError`."""

    def begin(self, bundle: bytes) -> None:
        """Start to make the container of a bundle in JSON."""

    def finish(self) -> spawn.Spawned:
        """Wait until its first process exists; with an error everything is undone."""

    def wait_ready(self) -> list[int]:
        """Wait until only execve is missing; the outer ends of its stdio."""

    def release(self) -> None:
        """Let it go on to execve; returns when that has happened."""

    def execute(self, request: Message) -> Started:
        """Start one more process."""

    def clean(self) -> None:
        """The container has ended: remove what the making left."""
