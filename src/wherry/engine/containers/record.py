"""What is kept of a container: how it was asked for and what was decided about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wherry.engine.config.codec import decode, encode
from wherry.engine.config.container import ContainerConfig
from wherry.engine.config.host import HostConfig
from wherry.engine.config.mountpoints import MountPoint

_FIRST_ID, _RANGE = 524288, 65536
"""Where ranges of ids began, and how long they were, when records kept their numbers."""


@dataclass(frozen=True, slots=True)
class Record:
    """A container. ``created`` is nanoseconds since 1970.

    ``image`` is the image's id ("" for none); ``layers`` are its diff ids, base first. ``first_id``
    is the first host id of its user namespace, None for the host's own.
    """

    id: str
    name: str
    created: int
    image: str
    platform: str
    layers: tuple[str, ...]
    driver: str
    config: ContainerConfig
    host: HostConfig
    args: tuple[str, ...]
    mounts: tuple[MountPoint, ...] = ()
    first_id: int | None = None

    @property
    def images(self) -> frozenset[str]:
        """Ids of the images that the container needs: its own and those it mounts."""
        mounted = {point.image for point in self.mounts}
        return frozenset({self.image, *mounted} - {""})

    def to_json(self) -> dict[str, Any]:
        """A form for the store."""
        return {
            "id": self.id,
            "name": self.name,
            "created": self.created,
            "image": self.image,
            "platform": self.platform,
            "layers": list(self.layers),
            "driver": self.driver,
            "config": encode(self.config),
            "host": encode(self.host),
            "args": list(self.args),
            "mounts": [point.to_json() for point in self.mounts],
            "first_id": self.first_id,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Record:
        """The inverse of `to_json`, also for what was kept before ranges had first ids."""
        values = dict(values)
        if (number := values.pop("range", None)) is not None:
            values["first_id"] = _FIRST_ID + _RANGE * number
        return cls(
            **{
                **values,
                "layers": tuple(values["layers"]),
                "config": decode(ContainerConfig, values["config"]),
                "host": decode(HostConfig, values["host"]),
                "args": tuple(values["args"]),
                "mounts": tuple(MountPoint.from_json(point) for point in values["mounts"]),
            }
        )


def command_line(config: ContainerConfig) -> Sequence[str]:
    """The words that are executed: entrypoint and command."""
    return (*(config.entrypoint or ()), *(config.cmd or ()))
