"""What the operations on containers share: the other rooms, the store, the containers there are."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from wherry.engine.config.limits import HostFacts
from wherry.engine.containers.adoption import Adoption
from wherry.engine.containers.container import Container
from wherry.engine.containers.healthstate import Health
from wherry.engine.containers.idranges import IdRanges
from wherry.engine.containers.record import Record
from wherry.engine.containers.state import State
from wherry.engine.containers.store import ContainerStore
from wherry.engine.events import EventBus
from wherry.engine.ids import Ids
from wherry.engine.ids import find as find_id
from wherry.engine.options import EngineConfig
from wherry.errors import KernelError
from wherry.images.store import ImageStore
from wherry.instance import Instance
from wherry.linux import cgroups
from wherry.network.networks import Networks
from wherry.runtime.client import Launcher
from wherry.storage.layers import LayerStore
from wherry.volumes.volumes import Volumes

log = logging.getLogger(__name__)

_SAVING_AGAIN = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found out about the host when the engine opened.

    ``user_namespaces`` tells whether containers can have their own over the data root,
    ``apparmor`` whether the containers' profile is loaded.
    """

    user_namespaces: bool
    limits: HostFacts
    last_capability: int
    apparmor: bool


@dataclass
class Services:
    """One engine's rooms and containers; used from its event loop only."""

    config: EngineConfig
    instance: Instance
    facts: Facts
    store: ContainerStore
    events: EventBus
    launcher: Launcher
    layers: LayerStore
    images: ImageStore
    networks: Networks
    volumes: Volumes
    repaired: str = ""
    """What was damaged in the state store and has been repaired, if anything was."""
    closing: bool = False
    adoption: Adoption = field(default_factory=Adoption)
    containers: dict[str, Container] = field(default_factory=dict)
    ids: Ids = field(default_factory=Ids)
    names: dict[str, str] = field(default_factory=dict)
    reserved: set[str] = field(default_factory=set)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    unsaved: dict[str, Container] = field(default_factory=dict)
    """Containers of which the store does not know the newest state."""
    id_ranges: IdRanges = field(init=False)

    def __post_init__(self) -> None:
        self.id_ranges = IdRanges(self.config.data_root)

    # Finding

    def find(self, reference: str) -> Container:
        """The container that an id, name or prefix means; raises NotFound."""
        return self.containers[find_id(reference, self.ids, self.names)]

    async def settled(self, reference: str) -> Container:
        """The same, once it has been taken over from an earlier engine; raises NotFound."""
        container = self.find(reference)
        if not self.adoption.expects(container.id):
            return container
        await self.adoption.of(container.id)
        return self.find(reference)  # gone, if it was being removed

    def __iter__(self) -> Iterator[Container]:
        return iter(list(self.containers.values()))

    def add(self, container: Container) -> None:
        """Take a container in."""
        self.containers[container.id] = container
        self.ids.add(container.id)
        self.names[container.record.name] = container.id
        if container.record.first_id is not None:
            self.id_ranges.keep(container.record.first_id)

    def forget(self, container: Container) -> None:
        """Let a container go."""
        self.unsaved.pop(container.id, None)
        self.containers.pop(container.id, None)
        self.ids.discard(container.id)
        if self.names.get(container.record.name) == container.id:
            del self.names[container.record.name]

    # Changing

    def set_state(self, container: Container, state: State) -> None:
        """Change a container's state, durably; raises KernelError when the disk refuses."""
        self.store.save_state(container.id, state, container.health)
        container.state = state
        self.unsaved.pop(container.id, None)

    def note_state(self, container: Container, state: State) -> None:
        """Take note of what has happened to a container; when the disk refuses, durably later.

        What ends and goes away frees room on a full disk, and must not need any.
        """
        container.state = state
        self._note(container)

    def note_health(self, container: Container, health: Health) -> None:
        """Take note of what a check has found; when the disk refuses, durably later."""
        container.health = health
        self._note(container)

    def _note(self, container: Container) -> None:
        try:
            self.store.save_state(container.id, container.state, container.health)
        except KernelError as error:
            if not self.unsaved:
                log.warning("the state of containers is kept in memory for now: %s", error)
                self.spawn(self._save_later(), "saving the state of containers")
            self.unsaved[container.id] = container
        else:
            self.unsaved.pop(container.id, None)

    async def _save_later(self) -> None:
        """Try again, until all is saved."""
        while self.unsaved:
            await asyncio.sleep(_SAVING_AGAIN)
            with suppress(KernelError):
                self.save_noted()
        log.info("the state of all containers is saved")

    def save_noted(self) -> None:
        """Save what could not be saved when it happened; raises KernelError."""
        with self.store.transaction():
            for container in self.unsaved.values():
                self.store.save_state(container.id, container.state, container.health)
        self.unsaved.clear()

    def set_record(self, container: Container, record: Record) -> None:
        """Change a container's record, durably."""
        self.store.save(record)
        container.record = record

    def publish(
        self, container: Container, action: str, attributes: Mapping[str, str] | None = None
    ) -> None:
        """Tell everyone what happened to a container."""
        record = container.record
        self.events.publish(
            "container",
            action,
            record.id,
            {
                **(record.config.labels or {}),
                **(attributes or {}),
                "image": record.config.image,
                "name": record.name,
            },
        )

    def publish_image(self, action: str, image_id: str, name: str) -> None:
        """Tell everyone what happened to an image, with its labels while it is there."""
        config = self.images.config(image_id)
        labels: Mapping[str, str] = (config.run.get("Labels") or {}) if config else {}
        self.events.publish("image", action, image_id, {**labels, "name": name})

    def spawn(self, work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
        """Run ``work`` in the background; a failure is logged as that of ``what``."""
        task = asyncio.get_running_loop().create_task(_logged(work, what))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def free_first_id(self) -> int:
        """The first id of a range of host ids that no container of this machine has."""
        firsts = {container.record.first_id for container in self.containers.values()}
        return self.id_ranges.take({first for first in firsts if first is not None})

    # Places

    def directory(self, container_id: str) -> str:
        """The container's folder below the data root."""
        return os.path.join(self.config.data_root, "containers", container_id)

    def socket(self, container_id: str) -> str:
        """The control socket of the container's shim."""
        return os.path.join(self.config.exec_root, "shims", f"{container_id}.sock")

    def cgroup(self, record: Record) -> str:
        """The container's cgroup, relative to each hierarchy."""
        return self.cgroup_below(record.host.cgroup_parent, record.id)

    def cgroup_below(self, parent: str, name: str) -> str:
        """The cgroup ``name`` below the ``parent`` asked for ("": below the engine's own)."""
        chosen = parent or self.config.cgroup_parent or self.instance.cgroup_parent
        return cgroups.below(chosen, name)

    def log_path(self, record: Record) -> str:
        """The container's log file, "" for drivers that write none."""
        if record.host.log_config.type not in ("json-file", "local"):
            return ""
        return os.path.join(self.directory(record.id), f"{record.id}-json.log")


async def _logged(work: Coroutine[Any, Any, None], what: str) -> None:
    try:
        await work
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("%s failed", what)
