"""The containers of an engine, as the API and embedding programs use them."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from wherry import faults
from wherry.engine import detach, ids, logs, stats, top
from wherry.engine.attach import AttachOptions
from wherry.engine.config.signals import parse_signal
from wherry.engine.containers import (
    create,
    files,
    freeze,
    life,
    links,
    listing,
    prune,
    rows,
    snapshot,
    update,
    views,
)
from wherry.engine.containers.container import Container
from wherry.engine.containers.liveness import needs_running
from wherry.engine.containers.services import Services
from wherry.engine.filters import Filters
from wherry.engine.logfiles import LogRecord
from wherry.errors import (
    Conflict,
    InvalidParameter,
    NotFound,
    NotImplementedHere,
    WherryError,
    prefixed,
)
from wherry.linux.cgroups import Cgroup
from wherry.runtime.client import AttachRequest

View = dict[str, Any]


class Containers:
    """All operations take an id, a unique beginning of one, or a name.

    They raise NotFound ("No such container: X") and the kinds that their docstrings tell.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    async def _find(self, reference: str) -> Container:
        return await self._services.settled(reference)

    # Life

    async def create(
        self, body: Mapping[str, Any], name: str | None = None, platform: str | None = None
    ) -> View:
        """Make a container: {"Id", "Warnings"}. Raises InvalidParameter, NotFound, Conflict."""
        return await create.create(self._services, body, name, platform)

    async def start(self, reference: str, host: Mapping[str, Any] | None = None) -> None:
        """Start; raises NotModified when it runs, InvalidParameter for a bad command.

        ``host`` is a HostConfig that replaces the one it was made with.
        """
        container = await self._find(reference)
        if host:
            await create.reconfigure(self._services, container, host)
        await life.start_container(self._services, container)

    async def stop(
        self,
        reference: str,
        timeout: int | None = None,  # noqa: ASYNC109 (the container's, not the caller's)
        signal: str | None = None,
    ) -> None:
        """Stop, with SIGKILL after ``timeout`` seconds; raises NotModified."""
        await life.stop_container(self._services, await self._find(reference), timeout, signal)

    async def restart(
        self,
        reference: str,
        timeout: int | None = None,  # noqa: ASYNC109 (the container's, not the caller's)
        signal: str | None = None,
    ) -> None:
        """Stop and start."""
        container = await self._find(reference)
        try:
            await life.restart_container(self._services, container, timeout, signal)
        except WherryError as error:
            raise prefixed(f"Cannot restart container {reference}", error) from error

    async def kill(self, reference: str, signal: str | None = None) -> None:
        """Send a signal, SIGKILL by default; raises Conflict when it does not run."""
        number = parse_signal(signal or "SIGKILL")
        await life.kill_container(self._services, await self._find(reference), number)

    async def pause(self, reference: str) -> None:
        """Freeze all its processes."""
        await freeze.pause(self._services, await self._find(reference))

    async def unpause(self, reference: str) -> None:
        """Thaw them."""
        await freeze.unpause(self._services, await self._find(reference))

    async def remove(
        self, reference: str, *, force: bool = False, volumes: bool = False, link: bool = False
    ) -> None:
        """Remove; ``force`` kills first, ``volumes`` takes anonymous volumes along.

        With ``link`` nothing but the link ``PARENT/ALIAS`` is removed.
        """
        if link:
            links.remove(self._services, reference)
            return
        container = await self._find(reference)
        await life.remove_container(self._services, container, force=force, volumes=volumes)

    async def rename(self, reference: str, name: str) -> None:
        """Give a new name; raises Conflict when it is taken."""
        if not name:
            raise InvalidParameter("Neither old nor new names may be empty")
        services, container = self._services, await self._find(reference)
        try:
            chosen = ids.check_name(name if name.startswith("/") else f"/{name}")
        except InvalidParameter as error:
            raise InvalidParameter(f"Error when allocating new name: {error}") from None
        async with container.lock:
            before = container.record.name
            if chosen == before:
                raise InvalidParameter(
                    "Renaming a container with the same name as its current name"
                )
            holder = services.names.get(chosen)
            if holder is not None or chosen in services.reserved:
                raise Conflict(
                    f'Error when allocating new name: Conflict. The container name "/{chosen}" is'
                    f' already in use by container "{holder}". You have to remove (or rename) that'
                    " container to be able to reuse that name."
                )
            services.set_record(container, replace(container.record, name=chosen))
            faults.point("rename.recorded")
            services.names.pop(before, None)
            services.names[chosen] = container.id
            services.networks.rename(container.id, chosen)
            services.publish(container, "rename", {"oldName": f"/{before}"})

    async def wait(self, reference: str, condition: str = "not-running") -> Awaitable[View]:
        """Register at once; the result resolves to {"StatusCode", "Error"?}."""
        return (await self._find(reference)).wait(condition)

    async def prune(self, filters: Filters | None = None) -> View:
        """Remove all containers that do not run."""
        services = self._services

        async def remove(container: Container) -> None:
            await life.remove_container(services, container, force=False, volumes=False)

        return await prune.prune(services, filters or Filters(), remove)

    async def update(self, reference: str, body: Mapping[str, Any]) -> View:
        """Change limits and restart policy: {"Warnings"}."""
        return await update.update(self._services, await self._find(reference), body)

    # Files

    async def changes(self, reference: str) -> builtins.list[View] | None:
        """What differs from the image."""
        return await snapshot.changes(self._services, await self._find(reference))

    @contextlib.asynccontextmanager
    async def export(self, reference: str) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """The whole root file system as an archive in pieces, to be read inside of the context."""
        async with snapshot.export(self._services, await self._find(reference)) as pieces:
            yield pieces

    async def commit(
        self,
        reference: str,
        *,
        repo: str = "",
        tag: str = "",
        comment: str = "",
        author: str = "",
        pause: bool = True,
        changes: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
    ) -> str:
        """Make an image; returns its id."""
        return await snapshot.commit(
            self._services,
            await self._find(reference),
            repo=repo,
            tag=tag,
            comment=comment,
            author=author,
            pause=pause,
            changes=changes,
            config=config or {},
        )

    async def archive_stat(self, reference: str, path: str) -> View:
        """What a path in it is; raises NotFound."""
        return await files.archive_stat(self._services, reference, path)

    def archive_get(
        self, reference: str, path: str
    ) -> AbstractAsyncContextManager[tuple[View, AsyncGenerator[bytes, None]]]:
        """What a path in it is, and the path as an archive in pieces, inside of the context."""
        return files.archive_get(self._services, reference, path)

    async def archive_put(
        self,
        reference: str,
        path: str,
        archive: AsyncIterator[bytes],
        *,
        no_overwrite_dir_non_dir: bool = False,
        copy_uid_gid: bool = False,
    ) -> None:
        """Extract an archive into a folder of it."""
        await files.archive_put(
            self._services,
            reference,
            path,
            archive,
            no_overwrite_dir_non_dir=no_overwrite_dir_non_dir,
            copy_uid_gid=copy_uid_gid,
        )

    # Views

    async def list(
        self,
        all: bool = False,
        limit: int = 0,
        size: bool = False,
        filters: Filters | None = None,
    ) -> builtins.list[View]:
        """Rows of ``docker ps``, newest first."""
        services = self._services
        chosen = await listing.select(services, filters or Filters(), all=all, limit=limit)
        return await rows.rows(services, chosen, size=size)

    async def inspect(self, reference: str, size: bool = False) -> View:
        """All there is to know."""
        container = await self._find(reference)
        view = views.inspect_view(self._services, container)
        if size:
            sizes = await asyncio.to_thread(rows.measure, self._services, [container])
            view |= sizes[container.id]
        return view

    async def top(self, reference: str, ps_args: str | None = None) -> View:
        """Its processes; raises Conflict when it does not run."""
        container = await self._running(reference)
        cgroup = Cgroup(self._services.cgroup(container.record))
        shown = await asyncio.to_thread(lambda: top.top(cgroup.pids(), ps_args))
        self._services.publish(container, "top")
        return shown

    async def _running(self, reference: str) -> Container:
        container = await self._find(reference)
        if not container.state.alive:
            if container.state.status == "restarting":
                raise Conflict(
                    f"Container {container.id} is restarting, wait until the container is running"
                )
            raise Conflict(f"container {container.id} is not running")
        return container

    async def stats(
        self, reference: str, *, stream: bool = False, one_shot: bool = False
    ) -> AsyncIterator[View]:
        """Counters: one sample, or one a second."""
        container = await self._find(reference)
        cgroup = Cgroup(self._services.cgroup(container.record))

        def read() -> stats.Sample | None:
            if container.removed:
                raise NotFound(f"No such container: {reference}")
            if not container.state.alive:
                return None
            with contextlib.suppress(OSError):
                return stats.sample(cgroup, container.state.pid)
            return None

        views_ = stats.views(
            container.id, container.record.name, read, stream=stream, one_shot=one_shot
        )
        async for view in views_:
            yield view

    async def logs(
        self, reference: str, options: logs.LogOptions
    ) -> tuple[bool, AsyncIterator[builtins.list[LogRecord]]]:
        """Whether it has a terminal, and what it wrote in batches."""
        container = await self._find(reference)
        path = self._services.log_path(container.record)
        if not path:
            raise NotImplementedHere("configured logging driver does not support reading")
        if not container.state.running:
            container.log_complete.set()
        return container.record.config.tty, logs.read(path, options, container.log_complete)

    # Streams

    async def attachable(self, reference: str, detach_keys: str | None = None) -> bool:
        """Whether it has a terminal; raises Conflict when nobody can attach now.

        Raises InvalidParameter for keys that are none, even where they are of no use.
        """
        try:
            detach.parse_keys(detach_keys)
        except InvalidParameter:
            raise InvalidParameter(f"Invalid detach keys ({detach_keys}) provided") from None
        container = await self._find(reference)
        if container.state.status == "paused":
            raise Conflict(f"container {reference} is paused, unpause the container before attach")
        if container.state.status == "restarting":
            raise Conflict(
                f"container {reference} is restarting, wait until the container is running"
            )
        return container.record.config.tty

    async def attach(
        self,
        reference: str,
        options: AttachOptions,
        sock: socket.socket,
        initial: bytes = b"",
        framed: bool = True,
    ) -> None:
        """Give a client's socket to the container; it is closed on this side.

        Before the start it is kept and handed over then.
        """
        services = self._services
        try:
            container = await self._find(reference)
            config = container.record.config
            keys = detach.parse_keys(options.detach_keys) if config.tty else b""
            services.publish(container, "attach")
            if options.logs:
                await self._replay(container, options, sock, framed)
            request = AttachRequest(
                sock,
                stdin=options.stdin and config.open_stdin,
                stdout=options.stdout,
                stderr=options.stderr,
                detach_keys=keys,
                initial=initial,
                framed=framed,
            )
        except BaseException:
            sock.close()
            raise
        if not options.stream:
            sock.close()
        elif container.shim is not None and container.state.alive:
            with needs_running(container):
                await container.shim.attach(request)
        else:
            container.pending.append(request)

    async def _replay(
        self, container: Container, options: AttachOptions, sock: socket.socket, framed: bool
    ) -> None:
        if not (options.stdout or options.stderr):
            return
        wanted = logs.LogOptions(stdout=options.stdout, stderr=options.stderr)
        path = self._services.log_path(container.record)
        loop = asyncio.get_running_loop()
        async for batch in logs.read(path, wanted, container.log_complete):
            for record in batch:
                data = logs.frame(record.stream, record.line) if framed else record.line
                await loop.sock_sendall(sock, data)

    async def resize(self, reference: str, height: int, width: int) -> None:
        """Tell its terminal its size; raises Conflict when it does not run."""
        container = await self._running(reference)
        if container.shim is not None:
            with needs_running(container):
                await container.shim.resize(height, width)
            self._services.publish(
                container, "resize", {"height": str(height), "width": str(width)}
            )

    async def close(self) -> None:
        """Let go of all containers, which run on."""
        for container in self._services:
            for task in (container.health_task, container.restarting):
                if task is not None:
                    task.cancel()
            for request in container.pending:
                request.sock.close()
            if container.shim is not None:
                container.shim.close()

    async def stop_all(self, limit: int) -> None:
        """Stop every container, so that restart policies start them again with the next engine."""
        self._services.closing = True
        services = self._services
        jobs = [life.stop_with_engine(services, container, limit) for container in services]
        await asyncio.gather(*jobs)

    async def remove_all(self) -> None:
        """Kill and remove every container, for engines that leave nothing."""
        await life.remove_all(self._services)
