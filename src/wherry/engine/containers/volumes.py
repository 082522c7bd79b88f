"""A container's mounts: volumes and images acquired at creation, sources found at start."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from wherry.engine.config.mountpoints import MountPoint, bind_propagation
from wherry.engine.containers.record import Record
from wherry.engine.containers.services import Services
from wherry.errors import InvalidParameter, KernelError
from wherry.linux.root import OverlayRoot


def with_propagation(services: Services, point: MountPoint) -> MountPoint:
    """A mount point that says how mounts go on between it and the host; raises InvalidParameter."""
    if point.type != "bind":
        return point
    data_root = os.path.realpath(services.config.data_root)
    source = os.path.realpath(point.source)
    return replace(point, propagation=bind_propagation(source, point.propagation, data_root))


def check_source(services: Services, point: MountPoint) -> None:
    """Raise InvalidParameter for a bind whose source has to be there and is not."""
    if point.type != "bind" or point.create_source:
        return
    try:
        os.lstat(point.source)
    except OSError:
        raise InvalidParameter(
            f'invalid mount config for type "bind": bind source path does not exist: {point.source}'
        ) from None


async def acquire(services: Services, record: Record) -> Record:
    """Refer to the volumes and images of a new container; its record with names and places.

    What the image has at a volume's destination is copied into a volume that is empty.
    """
    points: list[MountPoint] = []
    for number, point in enumerate(record.mounts):
        if point.type == "image":
            points.append(await asyncio.to_thread(_acquire_image, services, record, number))
        elif point.type == "volume":
            view = services.volumes.acquire(
                record.id, point.name, point.driver, point.driver_options, point.labels
            )
            mode = point.mode
            if not point.anonymous and not mode and view["Driver"] == "local":
                mode = "z"  # what Docker shows for named volumes
            points.append(
                replace(
                    point,
                    name=view["Name"],
                    driver=view["Driver"],
                    source=view["Mountpoint"],
                    mode=mode,
                )
            )
        else:
            points.append(point)
    record = replace(record, mounts=tuple(points))
    if any(point.type == "volume" and point.copy_up for point in points):
        await asyncio.to_thread(_copy_up, services, record)
    return record


def _acquire_image(services: Services, record: Record, number: int) -> MountPoint:
    """Hold the layers of an image that is mounted; raises NotFound."""
    point = record.mounts[number]
    image = services.images.resolve(point.name)
    services.layers.create_root(image_root(record, number), image.layers)
    return replace(point, source=image.id, image=image.id, layers=image.layers)


def image_root(record: Record, number: int) -> str:
    """The name of the root (of which nothing is written) of the container's mount ``number``."""
    return f"{record.id}.{number}"


def release(services: Services, record: Record, *, remove_anonymous: bool) -> None:
    """Give up the volumes and images of a container that is removed; may be repeated."""
    for number, point in enumerate(record.mounts):
        if point.type == "image":
            services.layers.remove_root(image_root(record, number))
    services.volumes.release(record.id, remove_anonymous=remove_anonymous)


def _copy_up(services: Services, record: Record) -> None:
    empty = []
    try:
        for point in record.mounts:
            if point.type == "volume" and point.copy_up:
                services.volumes.mount(point.name, record.id)
                if services.volumes.needs_content(point.name):
                    empty.append(point)
        if empty:
            with services.layers.driver.mounted(record.id, record.layers) as root:
                for point in empty:
                    services.volumes.populate(point.name, root, point.destination)
    finally:
        services.volumes.unmount(record.id)


async def prepare(services: Services, record: Record, undo: AsyncExitStack) -> Sequence[MountPoint]:
    """The mounts of a starting container with sources that exist on the host."""
    if not record.mounts:
        return ()
    if any(point.type == "volume" for point in record.mounts):
        undo.callback(services.volumes.unmount, record.id, tell=True)
    return await asyncio.to_thread(
        lambda: [_prepared(services, record, number) for number in range(len(record.mounts))]
    )


def _prepared(services: Services, record: Record, number: int) -> MountPoint:
    point = record.mounts[number]
    if point.type == "image":
        root = services.layers.driver.root(image_root(record, number), point.layers)
        # The empty upper directory comes first: it has the owner and mode of the image's root.
        if isinstance(root, OverlayRoot):
            return replace(point, lowers=(root.upper, *root.lowers))
        return replace(point, lowers=(root.path,))
    if point.type == "volume":
        told = {
            "destination": point.destination,
            "read/write": "true" if point.read_write else "false",
            "propagation": point.propagation,
        }
        path = services.volumes.mount(point.name, record.id, point.subpath, told=told)
        return replace(point, source=path)
    if point.type == "bind" and not os.path.lexists(point.source):
        if not point.create_source:
            raise InvalidParameter(
                'invalid mount config for type "bind": bind source path does not exist:'
                f" {point.source}"
            )
        try:
            os.makedirs(point.source, 0o755, exist_ok=True)
        except OSError as error:
            raise KernelError("create bind source", point.source, error.errno or 0) from error
    return point
