"""What is kept of a container: how it was asked for and what was decided about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wherry.engine.config.codec import decode, encode
from wherry.engine.config.container import ContainerConfig
from wherry.engine.config.host import HostConfig
from wherry.engine.config.mountpoints import MountPoint

FIRST_ID = 524288
RANGES = (1879048192 - FIRST_ID) // 65536
"""How many ranges of 65,536 host ids there are for user namespaces."""


@dataclass(frozen=True, slots=True)
class Record:
    """A container. ``created`` is nanoseconds since 1970.

    ``image`` is the image's id ("" for none); ``layers`` are its diff ids, base first. ``range``
    numbers the range of host ids of its user namespace, None for the host's own.
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
    range: int | None = None

    @property
    def first_id(self) -> int | None:
        """The first host id of the container's user namespace."""
        return None if self.range is None else FIRST_ID + 65536 * self.range

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
            "range": self.range,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Record:
        """The inverse of `to_json`."""
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
