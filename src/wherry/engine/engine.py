"""The facade: an engine over one data root, for the API and for programs that embed it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wherry.engine import dataroot
from wherry.engine.audit import Audit
from wherry.engine.builds import Builds
from wherry.engine.config.limits import HostFacts, parse_number_set
from wherry.engine.containers.adopt import adopt, recall
from wherry.engine.containers.containers import Containers
from wherry.engine.containers.services import Facts, Services, log
from wherry.engine.containers.store import ContainerStore
from wherry.engine.eventjournal import EventJournal
from wherry.engine.events import EventBus
from wherry.engine.execs import Execs
from wherry.engine.images import Images
from wherry.engine.logs import LogOptions
from wherry.engine.networks import EngineNetworks
from wherry.engine.options import DEFAULT_DATA_ROOT, EngineConfig
from wherry.engine.registries import Registries
from wherry.engine.reloading import RELOADABLE, reload_attributes
from wherry.engine.safekeeping import keep_copy, write_copy
from wherry.engine.spec.apparmor import policy
from wherry.engine.spec.runtimespec import environment
from wherry.engine.system import System
from wherry.engine.volumes import EngineVolumes
from wherry.errors import Forbidden, KernelError, WherryError
from wherry.images.store import ImageStore
from wherry.instance import Instance
from wherry.linux import apparmor, capabilities, cgroups, probe
from wherry.network.networks import Networks
from wherry.network.options import NetworkOptions
from wherry.registry.hosts import DOCKER_REGISTRY, RegistryOptions
from wherry.runtime.client import Launcher
from wherry.storage.blobs import BlobStore
from wherry.storage.layers import LayerStore
from wherry.storage.statedb import StateDB
from wherry.volumes.volumes import Volumes


@dataclass(frozen=True, slots=True)
class Result:
    """How a container that was run to its end ended, and what it wrote."""

    code: int
    stdout: bytes
    stderr: bytes


class Engine:
    """Open one with `Engine.open` or `Engine.embedded`; all methods belong to its event loop."""

    adopting: asyncio.Task[None]
    """Takes over the containers of an earlier engine."""

    def __init__(self, services: Services, db: StateDB, lock: int) -> None:
        self._services = services
        self._db = db
        self._lock = lock
        self.config = services.config
        self.events = services.events
        self.containers = Containers(services)
        self.execs = Execs(services)
        config = services.config
        self._registries = registries = Registries(
            db,
            services.images,
            os.path.join(config.data_root, "downloads"),
            _registry_options(config),
            downloads=config.max_concurrent_downloads,
            uploads=config.max_concurrent_uploads,
        )
        self.images = Images(services, registries)
        self.audit = Audit(services)
        self.networks = EngineNetworks(services)
        self.volumes = EngineVolumes(services)
        self.builds = Builds(services, self.images, db)
        self.system = System(services, self.builds, registries)

    @classmethod
    async def open(cls, config: EngineConfig | None = None) -> Engine:
        """Own a data root. Containers that run are taken over, and what a crash left is cleaned up,
        behind: who asks for a container waits for that one, and `adopting` is done after the last.

        Raises Forbidden without root, Conflict when another engine owns the data root or its state
        store is lost, KernelError for what the host refuses.
        """
        config = config or EngineConfig()
        if os.geteuid() != 0:
            raise Forbidden("an engine needs root to make containers: run it as root")
        dataroot.make_directories(config)
        lock = dataroot.own(config.data_root)
        async with contextlib.AsyncExitStack() as undo:
            undo.callback(os.close, lock)
            await asyncio.to_thread(dataroot.check_memory, config.data_root, reset=config.reset)
            db = await asyncio.to_thread(StateDB, os.path.join(config.data_root, dataroot.STORE))
            undo.callback(db.close)
            services = await _services(config, db, undo)
            recalled = await recall(services)
            engine = cls(services, db, lock)
            undo.pop_all()
        engine.adopting = services.spawn(
            adopt(services, recalled, engine.execs.adopt), "taking containers over"
        )
        services.spawn(keep_copy(db), "copying the state store")
        return engine

    @classmethod
    @contextlib.asynccontextmanager
    async def embedded(cls, config: EngineConfig | None = None) -> AsyncIterator[Engine]:
        """An engine on a throw-away data root; everything is gone at the end.

        ``config`` may set all but the places.
        """
        folder = tempfile.mkdtemp(prefix="wherry-")
        chosen = replace(
            config or EngineConfig(),
            data_root=os.path.join(folder, "data"),
            exec_root=os.path.join(folder, "exec"),
            stop_containers_on_close=True,
        )
        try:
            engine = await cls.open(chosen)
            try:
                yield engine
            finally:
                await engine.close()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def run(self, image: str, command: Sequence[str], **settings: Any) -> Result:
        """Run a container to its end and remove it; ``settings`` go into the create request."""
        body = {"Image": image, "Cmd": list(command), **settings}
        created = await self.containers.create(body)
        container = created["Id"]
        try:
            ended = await self.containers.wait(container, "next-exit")
            await self.containers.start(container)
            code = (await ended)["StatusCode"]
            _, batches = await self.containers.logs(container, LogOptions())
            records = [record async for batch in batches for record in batch]
        finally:
            await self.containers.remove(container, force=True, volumes=True)
        return Result(
            code,
            b"".join(record.line for record in records if record.stream == "stdout"),
            b"".join(record.line for record in records if record.stream == "stderr"),
        )

    async def close(self) -> None:
        """Let go of everything; containers run on unless the configuration says otherwise."""
        services = self._services
        destroy = services.config.stop_containers_on_close
        await self._end_adoption(finish=destroy or not services.config.live_restore)
        if destroy:
            await self.containers.remove_all()
        elif not services.config.live_restore:
            await self.containers.stop_all(services.config.shutdown_timeout)
        services.closing = True
        await self.builds.close()
        await self.containers.close()
        for task in list(services.tasks):
            task.cancel()
        await asyncio.gather(*services.tasks, return_exceptions=True)
        await services.launcher.close()
        if not any(container.state.running for container in services):
            await asyncio.to_thread(_remove_cgroups, services.instance)
        if all(container.record.first_id is None for container in services):
            services.id_ranges.give_up()
        await services.networks.close()
        if not any(container.state.alive for container in services):
            await asyncio.to_thread(_remove_cgroups, services.instance)
        await services.events.settle()
        services.events.close()
        with contextlib.suppress(KernelError):  # what the disk refuses even now is lost
            services.save_noted()
        await asyncio.to_thread(write_copy, self._db)
        self._db.close()
        os.close(self._lock)

    async def _end_adoption(self, *, finish: bool) -> None:
        """Containers that are to end have to be taken over first; others can wait."""
        if not finish:
            self._services.closing = True
            self.adopting.cancel()
        await asyncio.gather(self.adopting, return_exceptions=True)
        self._services.adoption.end()

    def reload(self, config: EngineConfig) -> None:
        """Take over the settings that dockerd takes over while it runs, and tell of it."""
        changed = {name: getattr(config, name) for name in RELOADABLE}
        self._services.config = self.config = new = replace(self._services.config, **changed)
        self._registries.reload(
            _registry_options(new),
            downloads=new.max_concurrent_downloads,
            uploads=new.max_concurrent_uploads,
        )
        self.events.publish("daemon", "reload", "", reload_attributes(new))


def _registry_options(config: EngineConfig) -> RegistryOptions:
    return RegistryOptions(
        mirrors=tuple(config.registry_mirrors),
        insecure=tuple(config.insecure_registries),
        default_registry=config.default_registry or DOCKER_REGISTRY,
    )


async def _services(config: EngineConfig, db: StateDB, undo: contextlib.AsyncExitStack) -> Services:
    instance = Instance.of_data_root(config.data_root, DEFAULT_DATA_ROOT)
    events = EventBus(db, EventJournal(os.path.join(config.data_root, "events.journal")))
    undo.callback(events.close)
    options = dict(entry.partition("=")[::2] for entry in config.storage_options)
    layers = LayerStore(db, config.data_root, config.storage_driver or None, options)
    images = ImageStore(db, BlobStore(config.data_root), layers)
    if db.repair is None:
        await asyncio.to_thread(images.clean)
    facts = await asyncio.to_thread(_facts, config.data_root, instance)
    launcher = await Launcher.start(config.init_path)
    undo.push_async_callback(launcher.close)
    services: Services

    def network_event(action: str, network: str, attributes: Mapping[str, str]) -> None:
        events.publish("network", action, network, attributes)

    loop = asyncio.get_running_loop()

    def volume_event(action: str, volume: str, attributes: Mapping[str, str]) -> None:
        loop.call_soon_threadsafe(events.publish, "volume", action, volume, attributes)

    def environment_of(container: str) -> list[str]:
        return environment(services.containers[container].record.config)

    network_options: NetworkOptions = replace(
        config.network,
        containers_directory=os.path.join(config.data_root, "containers"),
        runtime_directory=config.exec_root,
        on_event=network_event,
        environment_of=environment_of,
    )
    networks = Networks(db, instance, network_options)
    await networks.start()
    undo.push_async_callback(networks.close)
    services = Services(
        config=config,
        instance=instance,
        facts=facts,
        store=ContainerStore(db),
        events=events,
        launcher=launcher,
        layers=layers,
        images=images,
        networks=networks,
        volumes=Volumes(
            db, os.path.join(config.data_root, "volumes"), config.exec_root, volume_event
        ),
        repaired=str(db.repair or ""),
    )
    return services


def _facts(data_root: str, instance: Instance) -> Facts:
    if cgroups.make_room(f"{instance.name}-host"):
        log.info("moved the processes of the root cgroup into /%s-host", instance.name)
    layout = cgroups.discover()
    names = {name for name, _ in layout.v1} | set(layout.controllers)
    return Facts(
        user_namespaces=probe.user_namespaces() and probe.idmapped_mounts(data_root),
        limits=HostFacts(
            cpus=frozenset(os.sched_getaffinity(0)),
            memory_nodes=_memory_nodes(),
            cgroup_version=layout.version,
            controllers=frozenset(names),
            swap_limit=probe.swap_limit(),
        ),
        last_capability=capabilities.last_capability(),
        apparmor=_confined_by_apparmor(),
    )


def _confined_by_apparmor() -> bool:
    """Load the containers' profile; False where that cannot be."""
    if not apparmor.enabled() or not apparmor.parser():
        return False
    try:
        apparmor.load(policy())
    except WherryError as error:
        log.warning("containers are not confined by AppArmor: %s", error)
        return False
    return True


def _memory_nodes() -> frozenset[int]:
    try:
        with open("/sys/devices/system/node/online", encoding="ascii") as file:
            return frozenset(parse_number_set(file.read().strip()) or {0})
    except OSError:
        return frozenset({0})


def _remove_cgroups(instance: Instance) -> None:
    cgroup = cgroups.Cgroup(instance.cgroup_parent)
    with contextlib.suppress(KernelError):
        if cgroup.exists():
            cgroup.kill()
            cgroup.remove()
