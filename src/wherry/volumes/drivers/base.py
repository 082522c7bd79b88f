"""What a volume driver answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol


class VolumeDriver(Protocol):
    """One way to keep volumes.

    Methods may block and may be repeated after a crash; they raise KernelError and OSError.
    """

    name: str
    scope: str

    def check(self, name: str, options: Mapping[str, str]) -> None:
        """Raise InvalidParameter for names and options that the driver does not take."""

    def create(self, name: str, options: Mapping[str, str]) -> None:
        """Make the volume; no error when it is there."""

    def remove(self, name: str, options: Mapping[str, str]) -> None:
        """Take the volume out of the way, quickly and whole; no error when it is gone.

        It is called before the store forgets the volume: ``recover`` brings it back when a crash
        came in between.
        """

    def purge(self, name: str) -> None:
        """Delete the content of a removed volume."""

    def recover(self, known: Collection[str]) -> None:
        """After a crash: bring back volumes that are ``known``, purge those that are not."""

    def path(self, name: str) -> str:
        """Where on the host the content is seen (``Mountpoint``)."""

    def mount(self, name: str, options: Mapping[str, str]) -> str:
        """Make the content available before the first container uses it; returns the path."""

    def unmount(self, name: str, options: Mapping[str, str]) -> None:
        """Undo ``mount`` after the last container."""

    def status(self, name: str) -> Mapping[str, Any] | None:
        """What the driver has to say about the volume (``Status``)."""
