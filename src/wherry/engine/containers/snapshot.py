"""A container's files as a whole: what changed, the export of all, a commit to an image."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any

from wherry import faults
from wherry.engine import changes as instructions
from wherry.engine.config.codec import decode, encode
from wherry.engine.config.container import ContainerConfig
from wherry.engine.config.merge import merge_image
from wherry.engine.containers import freeze, inside
from wherry.engine.containers.container import Container
from wherry.engine.containers.furnish import OURS
from wherry.engine.containers.services import Services
from wherry.errors import NotFound
from wherry.images import config as configs
from wherry.images import reference, views
from wherry.images.platforms import this_platform
from wherry.images.reference import Reference
from wherry.images.store import Image
from wherry.storage.archive.writer import tar_tree
from wherry.storage.driver import Change

_CHUNK = 1 << 18
_KINDS = {"C": 0, "A": 1, "D": 2}


async def changes(services: Services, container: Container) -> list[dict[str, Any]] | None:
    """``GET /containers/{id}/changes``: [{"Path", "Kind"}], null when there are none."""
    record = container.record

    def read() -> list[dict[str, Any]]:
        found = list(services.layers.driver.changes(record.id, record.layers))
        return [
            {"Path": change.path, "Kind": _KINDS[change.kind]} for change in without_ours(found)
        ]

    return await asyncio.to_thread(read) or None


def without_ours(found: Sequence[Change]) -> list[Change]:
    """``found`` without what the engine has put there, and what changed only by them."""
    paths = [change.path for change in found if change.path not in OURS]
    folders = {os.path.dirname(change.path) for change in found if change.path in OURS}
    return [
        change
        for change in found
        if change.path not in OURS
        and not (
            change.path in folders
            and change.kind == "C"
            and not any(path.startswith(f"{change.path}/") for path in paths)
        )
    ]


@contextlib.asynccontextmanager
async def export(
    services: Services, container: Container
) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    """``GET /containers/{id}/export``: the root file system without what is mounted in it.

    Mount points are there: empty, or as the image has them. The pieces can be read inside of the
    context; leaving it ends the work.
    """

    def work(held: inside.Inside, sock: socket.socket) -> None:
        inside.send_header(sock, {})
        for piece in tar_tree(held.root, whole_seconds=True):
            sock.sendall(piece)

    async with inside.helper(services, container, work, bare=True) as sock:
        await inside.receive_header(sock)
        services.publish(container, "export")
        yield inside.pieces(sock)


async def commit(
    services: Services,
    container: Container,
    *,
    repo: str,
    tag: str,
    comment: str,
    author: str,
    pause: bool,
    changes: Sequence[str],
    config: Mapping[str, Any],
) -> str:
    """``POST /commit``: an image of a container's files; returns its id."""
    target: Reference | None = None
    if repo:
        target = reference.with_tag(repo, tag) if tag else reference.parse(repo).tagged()
    wanted = container.record.config
    if config:
        wanted = merge_image(decode(ContainerConfig, config), wanted)
    wanted = instructions.apply(wanted, changes)
    async with freeze.held_still(services, container) if pause else contextlib.nullcontext():
        faults.point("commit.frozen")
        image = await asyncio.to_thread(
            _commit, services, container, wanted, comment, author, target
        )
        name = target.familiar if target else ""
        if name:
            services.publish_image("tag", image.id, name)
        attributes = {"comment": comment, "imageID": image.id, "imageRef": name}
        services.publish(container, "commit", attributes)
    return image.id


def _commit(
    services: Services,
    container: Container,
    wanted: ContainerConfig,
    comment: str,
    author: str,
    target: Reference | None,
) -> Image:
    record, store = container.record, services.images
    base = store.find(record.image) if record.image else None
    created = views.timestamp(time.time())
    history = list(base.config.raw.get("history") or ()) if base else []
    with services.layers.lease() as protect:
        layer = services.layers.commit(record.id, record.layers, protect=protect, without=OURS)
        faults.point("commit.layer")
        history.append(
            {
                "created": created,
                "author": author,
                "created_by": " ".join(record.args),
                "comment": comment,
            }
        )
        platform = base.platform if base else this_platform()
        run = {key: value for key, value in encode(wanted).items() if value}
        for name in ("Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr"):
            run.pop(name, None)
        for name in ("Tty", "OpenStdin", "StdinOnce", "Image", "MacAddress", "NetworkDisabled"):
            run.pop(name, None)
        document = {
            "architecture": platform.architecture,
            "os": platform.os,
            **({"variant": platform.variant} if platform.variant else {}),
            "author": author,
            "comment": comment,
            "created": created,
            "config": run,
            "container": record.id,
            "container_config": encode(record.config),
            "rootfs": {"type": "layers", "diff_ids": [*record.layers, layer.diff_id]},
            "history": history,
        }
        image = store.create(configs.dump(document), parent=base.id if base else "", local=True)
    if target is not None:
        store.tag(image.id, target, "commit")
    try:
        return store.get(image.id)
    except NotFound:
        return image
