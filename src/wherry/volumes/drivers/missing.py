"""Stands in for the driver of a volume that is kept while the driver's package is gone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from wherry.errors import NotFound


class MissingDriver:
    """Shows the volume; it cannot be mounted, and is not removed behind its driver's back."""

    scope = "local"

    def __init__(self, name: str) -> None:
        self.name = name

    def check(self, name: str, options: Mapping[str, str]) -> None:
        raise self._failure()

    def create(self, name: str, options: Mapping[str, str]) -> None:
        raise self._failure()

    def remove(self, name: str, options: Mapping[str, str]) -> None:
        raise self._failure()

    def purge(self, name: str) -> None:
        pass

    def recover(self, known: Collection[str]) -> None:
        pass

    def path(self, name: str) -> str:
        return ""

    def mount(self, name: str, options: Mapping[str, str]) -> str:
        raise self._failure()

    def unmount(self, name: str, options: Mapping[str, str]) -> None:
        pass

    def status(self, name: str) -> Mapping[str, Any] | None:
        return None

    def _failure(self) -> NotFound:
        return NotFound(
            f'error looking up volume plugin {self.name}: plugin "{self.name}" not found'
        )
