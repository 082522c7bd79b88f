"""The builder's engine: base images, layers, and RUN steps as short-lived containers."""

from __future__ import annotations

import asyncio
import glob
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Any

from wherry.builder.backend import (
    BaseImage,
    Credentials,
    Emit,
    Resources,
    RunMount,
    RunRequest,
    RunResult,
)
from wherry.builder.layertree import LayerTree
from wherry.engine import ids
from wherry.engine.buildstubs import Stubs
from wherry.engine.config.codec import decode, encode
from wherry.engine.config.container import ContainerConfig
from wherry.engine.config.host import HostConfig
from wherry.engine.config.limits import check_resources
from wherry.engine.config.merge import complete_host
from wherry.engine.config.mountpoints import MountPoint
from wherry.engine.containers import namespaces
from wherry.engine.containers.services import Services
from wherry.engine.containers.start import compiled_filter
from wherry.engine.images import Images
from wherry.engine.spec.runtimespec import SpecInput, build
from wherry.errors import InvalidParameter, KernelError, NotFound
from wherry.fs.descent import descending, walk
from wherry.fs.opening import DIRECTORY, open_path
from wherry.fs.removing import remove_path
from wherry.images import reference
from wherry.images.archive import ArchivedImage, archive
from wherry.images.platforms import Platform
from wherry.linux import mounts
from wherry.linux.probe import idmapped_mounts
from wherry.network import requests
from wherry.runtime.bundle import Bundle, LogConfig
from wherry.runtime.client import AttachRequest, Shim

_READ = 1 << 16
_MEMORY = "build-secret-"
_FILES = ("resolv.conf", "hostname", "hosts")


class BuildEngine:
    """See `wherry.builder.backend.Backend`."""

    def __init__(self, services: Services, images: Images) -> None:
        self._services = services
        self._images = images
        self._layers = services.layers
        self._leases: list[Callable[[str], None]] = []
        self.directory = os.path.join(services.config.data_root, "builder")
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        self._memory_maps: bool | None = None
        for left in glob.glob(f"{glob.escape(services.config.exec_root)}/{_MEMORY}*"):
            _remove_memory(left)

    # Images ------------------------------------------------------------------------------

    async def base_image(
        self,
        name: str,
        platform: Platform | None,
        *,
        pull: bool,
        emit: Emit,
        credentials: Credentials,
    ) -> BaseImage:
        """The image of that name; pulled when it is not here, or always with ``pull``."""
        store = self._services.images
        if not pull:
            try:
                return _base(await asyncio.to_thread(store.resolve, name, platform))
            except NotFound:
                pass
        parsed = reference.parse(name)
        await self._images.pull(
            name,
            "",
            platform=str(platform) if platform else None,
            auth=await credentials(parsed.domain),
            emit=emit,
        )
        return _base(await asyncio.to_thread(store.resolve, name, platform))

    def local_image(self, name: str) -> BaseImage | None:
        """The image of that name, if it is here."""
        try:
            return _base(self._services.images.resolve(name))
        except NotFound:
            return None

    def create_image(self, config: bytes, parent: str) -> str:
        """Register an image; returns its id."""
        return self._services.images.create(config, parent, local=True).id

    async def tag(self, image: str, name: str) -> str:
        """Give an image a name; returns the name in full, as the user sees it."""
        target = reference.parse(name).tagged()
        await asyncio.to_thread(self._services.images.tag, image, target, "build")
        self._services.events.publish("image", "tag", image, {"name": target.familiar})
        return target.familiar

    async def push(self, name: str, emit: Emit, *, credentials: Credentials) -> None:
        """Send the image of that name to its registry."""
        target = reference.parse(name).tagged()
        auth = await credentials(target.domain)
        await self._images.push(target.name, target.tag or "", auth=auth, emit=emit)

    def archive(
        self, config: bytes, layers: Sequence[str], names: Sequence[str]
    ) -> Iterator[bytes]:
        """An image as ``docker save`` writes it; it need not be in the store."""
        sizes = tuple((layer, self._layers.get(layer).tar_size) for layer in layers)
        tags = tuple(reference.parse(name).tagged() for name in names)
        return archive([ArchivedImage(config, sizes, tags)], self._layers.tar)

    @property
    def host_gateway(self) -> str:
        """The address that ``host-gateway`` stands for, empty when there is none."""
        return next(iter(self._services.networks.host_gateways()), "")

    # Layers ------------------------------------------------------------------------------

    @contextmanager
    def lease(self) -> Iterator[Callable[[str], None]]:
        """Protects layers from removal while the context lasts; those that are made, at once."""
        with self._layers.lease() as protect:
            self._leases.append(protect)
            try:
                yield protect
            finally:
                self._leases.remove(protect)

    def _protect(self, layer: str) -> None:
        for protect in list(self._leases):
            protect(layer)

    def has_layer(self, layer: str) -> bool:
        """Whether the layer is stored."""
        return self._layers.has(layer)

    def layer_size(self, layer: str) -> int:
        """Bytes of a layer's files."""
        return self._layers.get(layer).size

    def tree(self, layers: Sequence[str]) -> LayerTree:
        """The files of a stack of layers."""
        return LayerTree([self._layers.path(layer) for layer in layers])

    def add_layer(self, chunks: Iterable[bytes]) -> str:
        """Store a layer from its tar stream; returns its diff id."""
        return self._layers.add(chunks, protect=self._protect).diff_id

    def hold_layer(self, owner: str, layer: str) -> None:
        """Keep a layer until ``release_layers`` of the same owner."""
        self._layers.hold(owner, [layer])

    def release_layers(self, owners: Iterable[str]) -> None:
        """Let layers go that were held, and remove those that nobody needs."""
        for owner in owners:
            self._layers.release(owner)
        self._layers.collect()

    @contextmanager
    def mounted(self, layers: Sequence[str]) -> Iterator[str]:
        """The files of a stack of layers as a host directory; changes to it are thrown away."""
        name = ids.new_id()
        self._layers.create_root(name, layers)
        try:
            with self._layers.driver.mounted(name, layers) as path:
                yield path
        finally:
            self._layers.remove_root(name)

    @contextmanager
    def in_memory(self) -> Iterator[str]:
        """A tmpfs of its own, which only root can enter; gone when the context ends.

        Where the kernel cannot map ids of a tmpfs (before Linux 6.3) its files would be nobody's
        in a container: there the directory is on disk.
        """
        directory = tempfile.mkdtemp(prefix=_MEMORY, dir=self._services.config.exec_root)
        try:
            flags = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
            mounts.mount("tmpfs", directory, "tmpfs", flags, "mode=0700,size=64m")
            if self._memory_maps is None:
                self._memory_maps = not self._services.facts.user_namespaces or idmapped_mounts(
                    directory
                )
            if not self._memory_maps:
                mounts.unmount(directory, mounts.MNT_DETACH)
            yield directory
        finally:
            _remove_memory(directory)

    # RUN ---------------------------------------------------------------------------------

    async def run(
        self, request: RunRequest, started: Callable[[str], None], output: Callable[[bytes], None]
    ) -> RunResult:
        """Execute a RUN in a container of its own whose changes become a layer as they are."""
        services = self._services
        container = ids.new_id()
        async with AsyncExitStack() as undo:
            config, host = self._configuration(container, request)
            services.networks.configure(
                requests.sandbox_config(container, container, encode(config), encode(host), None)
            )
            undo.callback(services.networks.forget, container)
            # After the root is gone: on a full disk only that makes room to record anything.
            undo.push_async_callback(services.networks.detach, container)
            directory = services.directory(container)
            undo.callback(remove_path, directory)
            os.mkdir(directory, 0o710)
            undo.callback(self._layers.remove_root, container)
            await asyncio.to_thread(self._layers.create_root, container, request.layers)
            points = _mount_points(request)
            stubs = Stubs.before(self.tree(request.layers), [p.destination for p in points])
            code = await self._execute(container, config, host, points, request, started, output)
            if code:
                return RunResult(code)
            layer, size = await asyncio.to_thread(self._commit, container, request, stubs)
            return RunResult(0, layer, size)

    def _configuration(
        self, container: str, request: RunRequest
    ) -> tuple[ContainerConfig, HostConfig]:
        """The container's configuration; raises InvalidParameter for impossible limits."""
        services = self._services
        config = decode(
            ContainerConfig,
            {
                "Hostname": request.hostname or container[:12],
                "User": request.user,
                "WorkingDir": request.working_directory,
                "Env": [f"{name}={value}" for name, value in request.environment.items()],
                "Cmd": list(request.arguments),
            },
        )
        host = decode(HostConfig, _host_config(request))
        limits = services.facts.limits
        host = complete_host(host, services.config, limits.cgroup_version)
        host, _ = check_resources(host, limits)
        return config, host

    async def _execute(
        self,
        container: str,
        config: ContainerConfig,
        host: HostConfig,
        points: Sequence[MountPoint],
        request: RunRequest,
        started: Callable[[str], None],
        output: Callable[[bytes], None],
    ) -> int:
        services = self._services
        async with AsyncExitStack() as undo:
            await namespaces.settled(services, host)
            joined = namespaces.resolve(services, container, host, self._first_id(host))
            donor = namespaces.joined_reference(host.network_mode)
            files = services.directory(services.find(donor).id if donor else container)
            plan = services.networks.allocate(container)
            services.networks.write_files(plan)
            spec_input = SpecInput(
                config=config,
                host=host,
                args=request.arguments,
                mounts=points,
                files={f"/etc/{name}": f"{files}/{name}" for name in _FILES},
                first_id=joined.first_id,
                joined=joined.paths,
                ulimits=services.config.ulimits,
                no_new_privileges=services.config.no_new_privileges,
                apparmor=services.facts.apparmor,
                last_capability=services.facts.last_capability,
            )
            bundle = await asyncio.to_thread(
                self._bundle, container, host, spec_input, request.layers
            )
            near, far = socket.socketpair()
            undo.callback(near.close)
            near.setblocking(False)
            started(container)
            shim = await services.launcher.create(bundle, [AttachRequest(far)])
            undo.push_async_callback(shim.delete)
            await services.networks.attach(plan, shim.pid)
            await shim.start()
            return await _finish(shim, near, output)

    def _first_id(self, host: HostConfig) -> int | None:
        services = self._services
        own = namespaces.own_user_namespace(
            host,
            available=services.facts.user_namespaces,
            host_only=services.config.userns_host,
        )
        return services.free_first_id() if own else None

    def _bundle(
        self, container: str, host: HostConfig, given: SpecInput, layers: Sequence[str]
    ) -> Bundle:
        services = self._services
        return Bundle(
            id=container,
            spec=build(given),
            root=self._layers.driver.root(container, layers),
            directory=services.directory(container),
            socket=services.socket(container),
            cgroup=services.cgroup_below(host.cgroup_parent, container),
            log=LogConfig(driver="none"),
            seccomp=compiled_filter(services, host),
        )

    def _commit(self, container: str, request: RunRequest, stubs: Stubs) -> tuple[str, int]:
        upper = self._layers.driver.take_upper(container)
        if upper is None:
            with self._layers.driver.mounted(container, request.layers) as root:
                stubs.remove(root, copy=True)
                if request.clamp is not None:
                    _clamp(root, request.clamp, self.tree(request.layers))
        else:
            stubs.remove(upper)
            if request.clamp is not None:
                _clamp(upper, request.clamp, LayerTree(()))
        layer = self._layers.commit(container, request.layers, keep=False, protect=self._protect)
        return layer.diff_id, layer.size


def _remove_memory(directory: str) -> None:
    with suppress(KernelError):  # nothing is mounted there
        mounts.unmount(directory, mounts.MNT_DETACH)
    shutil.rmtree(directory, ignore_errors=True)


async def _finish(shim: Shim, near: socket.socket, output: Callable[[bytes], None]) -> int:
    """Pass the output on until it ends; returns the exit code."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(near, _READ):
        output(data)
    return (await shim.wait()).code


def _base(image: Any) -> BaseImage:
    return BaseImage(image.id, image.config.raw, image.layers)


def _host_config(request: RunRequest) -> dict[str, Any]:
    limits: Resources = request.resources
    values = {
        "NetworkMode": request.network,
        "Privileged": request.privileged,
        "Memory": limits.memory,
        "MemorySwap": limits.memory_swap,
        "CpuShares": limits.cpu_shares,
        "CpuPeriod": limits.cpu_period,
        "CpuQuota": limits.cpu_quota,
        "CpusetCpus": limits.cpuset_cpus,
        "CpusetMems": limits.cpuset_mems,
        "ShmSize": limits.shm_size,
        "CgroupParent": limits.cgroup_parent,
        "Ulimits": [dict(limit) for limit in limits.ulimits],
        "ExtraHosts": list(limits.extra_hosts),
        "SecurityOpt": list(limits.security_options),
    }
    return {name: value for name, value in values.items() if value}


def _mount_points(request: RunRequest) -> list[MountPoint]:
    return [_mount_point(mount, request.working_directory) for mount in request.mounts]


def _mount_point(mount: RunMount, directory: str) -> MountPoint:
    target = os.path.normpath(os.path.join("/", directory, mount.target))
    if target == "/":
        raise InvalidParameter("invalid mount target: destination can't be '/'")
    if not mount.source:
        size = (f"size={mount.size}",) if mount.size else ()
        return MountPoint("tmpfs", target, options=("exec", *size), listed=False)
    return MountPoint(
        "bind",
        target,
        source=mount.source,
        read_write=not mount.readonly,
        recursive=False,
        subpath=mount.subpath,
    )


def _clamp(directory: str, latest: int, before: LayerTree) -> None:
    """Set times after ``latest`` (nanoseconds) back to it, of the directory and all below.

    What has the same time in ``before`` keeps it: it is no part of the new layer.
    """
    top = open_path(directory, DIRECTORY)
    try:
        with descending(top) as below:
            for entries in walk(below):
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    if found.st_mtime_ns <= latest:
                        continue
                    old = before.entry(f"{below.path}/{entry.name}".lstrip("/"))
                    if old is None or old.mtime != found.st_mtime_ns:
                        times = (latest, latest)
                        at = below.directory
                        os.utime(entry.name, ns=times, dir_fd=at, follow_symlinks=False)
        if os.fstat(top).st_mtime_ns > latest:
            os.utime(top, ns=(latest, latest))
    finally:
        os.close(top)
