"""Making a container: the request is checked and completed, then kept."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any

from wherry import faults
from wherry.engine import ids
from wherry.engine.config import rules
from wherry.engine.config.codec import TEXT, canonical, decode, encode
from wherry.engine.config.container import ContainerConfig
from wherry.engine.config.host import HostConfig
from wherry.engine.config.limits import check_resources
from wherry.engine.config.merge import complete_host, merge_image
from wherry.engine.config.mountpoints import MountPoint, check_duplicates, clean, requested
from wherry.engine.config.network import NetworkingConfig
from wherry.engine.containers import namespaces, runtimes, start, volumes
from wherry.engine.containers.container import Container
from wherry.engine.containers.furnish import furnish
from wherry.engine.containers.record import Record, command_line
from wherry.engine.containers.services import Services
from wherry.engine.containers.state import State
from wherry.engine.spec.security import parse_security_options
from wherry.errors import Conflict, InvalidParameter, NotFound
from wherry.fs.removing import remove_path
from wherry.images.platforms import parse_platform
from wherry.images.store import Image
from wherry.network import requests
from wherry.network.links import parse_link
from wherry.runtime.logdrivers import options as log_options
from wherry.storage.sizes import parse_size


async def create(
    services: Services, body: Mapping[str, Any], name: str | None, platform: str | None
) -> dict[str, Any]:
    """``POST /containers/create``: {"Id", "Warnings"}.

    Raises InvalidParameter, NotFound (the image), Conflict (the name).
    """
    config, host, networking = parse_body(body)
    chosen = ids.check_name(name) if name else ids.random_name(services.names)
    image = await _image(services, config.image, platform)
    if image is not None:
        config = merge_image(config, decode(ContainerConfig, image.config.run))
    config, host, warnings = _complete(services, config, host)
    container_id = ids.new_id()
    hostname = config.hostname
    if not hostname and not namespaces.joined_reference(host.network_mode):
        hostname = os.uname().nodename if host.network_mode == "host" else container_id[:12]
    record = Record(
        id=container_id,
        name=chosen,
        created=time.time_ns(),
        image=image.id if image else "",
        platform="linux",
        layers=image.layers if image else (),
        driver=services.layers.driver.name,
        config=replace(config, hostname=hostname),
        host=host,
        args=tuple(command_line(config)),
        mounts=tuple(_mount_points(services, config, host)),
        first_id=_first_id(services, host),
    )
    _reserve(services, chosen)
    try:
        container = await _make(services, record, networking)
    finally:
        services.reserved.discard(chosen)
    services.publish(container, "create")
    return {"Id": container_id, "Warnings": warnings}


async def reconfigure(services: Services, container: Container, body: Mapping[str, Any]) -> None:
    """Give a container another host configuration, which clients before API 1.24 sent at its start.

    Volumes that it has already stay. Raises what `create` raises, Conflict while it runs.
    """
    async with container.lock:
        start.check_startable(container)
        before = container.record
        if any(point.type == "image" for point in before.mounts):
            raise InvalidParameter("a container with image mounts keeps its host configuration")
        config, host, _ = _complete(services, before.config, decode(HostConfig, body))
        present = {point.destination: point for point in before.mounts}
        asked = _mount_points(services, config, host)
        new = [point for point in asked if not (point.anonymous and point.destination in present)]
        replaced = {point.destination for point in new}
        kept = [point for point in before.mounts if point.destination not in replaced]
        added = await volumes.acquire(services, replace(before, mounts=tuple(new)))
        record = replace(
            before, host=host, mounts=(*kept, *added.mounts), first_id=_first_id(services, host)
        )
        wishes = requests.sandbox_config(record.id, record.name, encode(config), encode(host), {})
        with services.store.transaction():
            services.networks.configure(wishes)
            services.set_record(container, record)


def parse_body(
    body: Mapping[str, Any],
) -> tuple[ContainerConfig, HostConfig, dict[str, Any]]:
    """The three parts of the request; raises InvalidParameter."""
    if not body:
        raise InvalidParameter("config cannot be empty in order to create a container")
    given = {key.lower(): value for key, value in body.items()}
    networking, host = given.get("networkingconfig"), given.get("hostconfig")
    return (
        decode(ContainerConfig, body),
        decode(HostConfig, {} if host is None else host),
        canonical(NetworkingConfig, {} if networking is None else networking),
    )


async def _image(services: Services, reference: str, platform: str | None) -> Image | None:
    if not reference:
        raise InvalidParameter("no image was given: Image is empty")
    TEXT.read(reference, "CreateRequest.Image")
    wanted = parse_platform(platform) if platform else None
    return await asyncio.to_thread(services.images.resolve, reference, wanted)


def _complete(
    services: Services, config: ContainerConfig, host: HostConfig
) -> tuple[ContainerConfig, HostConfig, list[str]]:
    """Check everything that can be checked without doing anything."""
    rules.check_container(config)
    rules.check_host(config, host)
    if not command_line(config):
        raise InvalidParameter("no command specified")
    parse_security_options(host.security_opt)
    runtimes.program(host.runtime or "", services.config.runtimes)
    limits = services.facts.limits
    host = complete_host(host, services.config, limits.cgroup_version)
    host, warnings = check_resources(host, limits)
    if host.network_mode == "host" and host.port_bindings:
        warnings.append("Published ports are discarded when using host network mode")
    log_options.validate(host.log_config.type, host.log_config.config or {})
    storage_size(host)
    for link in host.links or ():
        _linked(services, parse_link(link)[0])
    for mode in (host.pid_mode, host.ipc_mode):
        if reference := namespaces.joined_reference(mode):
            _other(services, reference)
    if reference := namespaces.joined_reference(host.network_mode):
        # One that is not there is told at the start: now it would read as a missing image.
        with suppress(NotFound):
            host = replace(host, network_mode=f"container:{services.find(reference).id}")
    return config, host, warnings


def storage_size(host: HostConfig) -> int | None:
    """Bytes of ``--storage-opt size=``, None without; raises InvalidParameter."""
    for name in host.storage_opt or {}:
        if name != "size":
            raise InvalidParameter(f"Unknown option: {name}")
    text = (host.storage_opt or {}).get("size")
    return None if text is None else parse_size(text)


def _first_id(services: Services, host: HostConfig) -> int | None:
    own = namespaces.own_user_namespace(
        host,
        available=services.facts.user_namespaces,
        host_only=services.config.userns_host
        or bool(runtimes.program(host.runtime, services.config.runtimes)),
    )
    return services.free_first_id() if own else None


def _mount_points(
    services: Services, config: ContainerConfig, host: HostConfig
) -> list[MountPoint]:
    """What was asked for, what comes from other containers, and the image's volumes."""
    asked = [
        volumes.with_propagation(services, point)
        for point in requested(host.binds, host.mounts, host.tmpfs, host.volume_driver)
    ]
    for point in asked:
        volumes.check_source(services, point)
    taken = {point.destination for point in asked}
    points = list(asked)
    for text in host.volumes_from or ():
        for point in _borrowed(services, text):
            if point.destination not in taken:
                taken.add(point.destination)
                points.append(point)
    for path in config.volumes or ():
        target = clean(path)
        if not path.startswith("/"):
            raise InvalidParameter(f"invalid mount path: '{path}' mount path must be absolute")
        if target == "/":
            raise InvalidParameter("invalid specification: destination can't be '/'")
        if target not in taken:
            taken.add(target)
            points.append(
                MountPoint(
                    "volume", target, driver=host.volume_driver, copy_up=True, anonymous=True
                )
            )
    check_duplicates(points)
    return points


def _other(services: Services, reference: str) -> Container:
    """A container that a request names; clients would take NotFound for a missing image."""
    try:
        return services.find(reference)
    except NotFound as error:
        raise InvalidParameter(str(error)) from None


def _linked(services: Services, reference: str) -> None:
    """Refuse a link to a container that is not there."""
    try:
        services.find(reference)
    except NotFound as error:
        raise InvalidParameter(f"could not get container for {reference}: {error}") from None


def _borrowed(services: Services, text: str) -> Sequence[MountPoint]:
    if not text:
        raise InvalidParameter("volumes-from specification cannot be an empty string")
    reference, _, mode = text.partition(":")
    if mode and mode not in ("rw", "ro", "z", "Z", "ro,z", "ro,Z", "rw,z", "rw,Z"):
        raise InvalidParameter(f"invalid mode: {mode}")
    donor = _other(services, reference)
    read_only = "ro" in mode.split(",")
    return [
        replace(
            point,
            read_write=point.read_write and not read_only,
            copy_up=False,
            mode=mode or point.mode,
            anonymous=False,
        )
        for point in donor.record.mounts
        if point.type in ("bind", "volume")
    ]


def _reserve(services: Services, name: str) -> None:
    """Keep a name while its container is being made; raises Conflict."""
    holder = services.names.get(name)
    if holder is None and name not in services.reserved:
        services.reserved.add(name)
        return
    owner = f'"{holder}"' if holder else "another request"
    raise Conflict(
        f'Conflict. The container name "/{name}" is already in use by container {owner}.'
        " You have to remove (or rename) that container to be able to reuse that name."
    )


async def _make(services: Services, record: Record, networking: Mapping[str, Any]) -> Container:
    """The effects, each with its undo: network wishes, root, volumes, folder, record."""
    async with AsyncExitStack() as undo:
        faults.point("create.reserved")
        wishes = requests.sandbox_config(
            record.id, record.name, encode(record.config), encode(record.host), networking
        )
        directory = services.directory(record.id)
        undo.callback(remove_path, directory)
        undo.callback(services.layers.remove_root, record.id)
        await asyncio.to_thread(_make_root, services, record, directory)
        faults.point("create.rootfs")
        undo.callback(volumes.release, services, record, remove_anonymous=True)
        record = await volumes.acquire(services, record)
        container = Container(record, State())
        with services.store.transaction():
            services.networks.configure(wishes)
            services.store.insert(record, container.state)
        undo.callback(services.networks.forget, record.id)
        undo.callback(services.store.delete, record.id)
        faults.point("create.recorded")
        undo.pop_all()
    services.add(container)
    return container


def _make_root(services: Services, record: Record, directory: str) -> None:
    os.mkdir(directory, 0o710)
    # Programs look for /.dockerenv to know where they are.
    mark = os.open(f"{directory}/dockerenv", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o755)
    os.close(mark)
    layers, driver = services.layers, services.layers.driver
    layers.create_root(record.id, record.layers, storage_size(record.host))
    upper = driver.take_upper(record.id)
    if upper is not None:
        furnish(upper, [layers.path(layer) for layer in reversed(record.layers)])
        return
    with driver.mounted(record.id, record.layers) as root:
        furnish(root, ())
