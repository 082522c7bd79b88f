"""BuildKit's control service: builds, their news, workers, what is kept."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import IO, Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from wherry.builder.backend import Backend
from wherry.builder.builder import Builder, CacheRecord
from wherry.builder.buildkit.attributes import (
    FRONTENDS,
    CacheEntry,
    cache_targets,
    read_attributes,
    with_caches,
)
from wherry.builder.buildkit.errors import grpc_error
from wherry.builder.buildkit.exporters import Export, check_exports
from wherry.builder.buildkit.progress import Feed, at
from wherry.builder.buildkit.sessions import Sessions
from wherry.builder.buildkit.solves import Solve
from wherry.builder.buildkit.wire import control_pb2 as pb
from wherry.builder.buildkit.wire.control_grpc import ControlBase
from wherry.builder.buildkit.wire.ops_pb2 import Platform
from wherry.builder.buildkit.wire.worker_pb2 import BuildkitVersion, WorkerRecord
from wherry.builder.imagecache import CacheTarget
from wherry.builder.solver import Solved
from wherry.errors import InvalidParameter, NotImplementedHere, WherryError
from wherry.images.platforms import this_platform

log = logging.getLogger(__name__)

VERSION = BuildkitVersion(package="github.com/moby/buildkit", version="v0.23.2", revision="wherry")
"""The version whose API is offered; clients choose features by it."""
_HOST_GATEWAY = "org.mobyproject.buildkit.worker.moby.host-gateway-ip"
_REMEMBERED = 32
"""Builds whose news and outcome can still be asked for after their end."""
_PATIENCE = 10.0
"""Seconds that calls about a build wait for it to be asked for."""
_SECOND = 1_000_000_000


class GatewaySolve(Solve):
    """A build that the client steers through the gateway; ``returned`` is what came of it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.results: dict[str, Solved] = {}
        self.returned: asyncio.Future[Solved | None] = asyncio.get_running_loop().create_future()
        self.entitlements: frozenset[str] = frozenset()
        self.caches: tuple[CacheTarget, ...] = ()


class Solves:
    """Builds by their reference: those that run, and the feeds of the last that have ended."""

    def __init__(self) -> None:
        self._running: dict[str, Solve] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._feeds: OrderedDict[str, Feed] = OrderedDict()
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def running(self, solve: Solve) -> AsyncIterator[None]:
        """The build is known while the context lasts, and closed at its end."""
        if solve.ref in self._running:
            raise GRPCError(Status.UNKNOWN, f"job ID {solve.ref} exists")
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        async with self._changed:
            self._running[solve.ref] = solve
            self._feeds[solve.ref] = solve.feed
            while len(self._feeds) > max(_REMEMBERED, len(self._running)):
                self._feeds.popitem(last=False)
            self._changed.notify_all()
        try:
            yield
        finally:
            del self._running[solve.ref]
            self._tasks.discard(task)
            await solve.close()

    async def feed(self, ref: str) -> Feed:
        """The news of a build, which may come a little later. Raises GRPCError."""
        await self._wait(lambda: ref in self._feeds, ref)
        return self._feeds[ref]

    async def find(self, ref: str) -> Solve:
        """A build that runs, or will in a moment. Raises GRPCError."""
        await self._wait(lambda: ref in self._running, ref)
        return self._running[ref]

    async def close(self) -> None:
        """Stop all builds."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait(self, known: Any, ref: str) -> None:
        try:
            async with asyncio.timeout(_PATIENCE), self._changed:
                await self._changed.wait_for(known)
        except TimeoutError:
            raise GRPCError(Status.UNKNOWN, f"no such job {ref}") from None


class Control(ControlBase):
    """See wire/control.proto."""

    def __init__(
        self, builder: Builder, backend: Backend, sessions: Sessions, solves: Solves
    ) -> None:
        self._builder = builder
        self._backend = backend
        self._sessions = sessions
        self._solves = solves

    async def Solve(self, stream: Stream[pb.SolveRequest, pb.SolveResponse]) -> None:
        """Build, and give the results away."""
        request = await stream.recv_message()
        assert request is not None
        told = await self.solve(request)
        await stream.send_message(pb.SolveResponse(exporter_response=told))

    async def solve(
        self, request: pb.SolveRequest, context: IO[bytes] | None = None
    ) -> dict[str, str]:
        """Build; returns what exporters tell. Raises GRPCError.

        ``context`` is an archive that came with the request.
        """
        arguments = (request.ref, request.session, self._builder, self._backend, self._sessions)
        solve = Solve(*arguments) if request.frontend else GatewaySolve(*arguments)
        entitlements = frozenset(request.entitlements)
        try:
            async with self._solves.running(solve):
                _refuse(request)
                exports = _exports(request)
                check_exports(exports)
                caches = cache_targets(_cache_entries(request.cache.exports))
                if isinstance(solve, GatewaySolve):
                    solve.entitlements, solve.caches = entitlements, caches
                    solved = await solve.returned
                else:
                    frontend = read_attributes(request.frontend_attrs, entitlements)
                    if frontend.subrequest:
                        raise NotImplementedHere(f"unsupported subrequest {frontend.subrequest}")
                    imports = _cache_entries(request.cache.imports)
                    frontend = with_caches(frontend, imports, caches)
                    solved = await solve.build(frontend, context)
                return await solve.export(solved, exports) if solved is not None else {}
        except WherryError as error:
            raise grpc_error(error) from error
        except (GRPCError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("build %s failed", request.ref)
            raise grpc_error(error) from error

    async def Status(self, stream: Stream[pb.StatusRequest, pb.StatusResponse]) -> None:
        """The news of a build, until it ends."""
        request = await stream.recv_message()
        assert request is not None
        feed = await self._solves.feed(request.ref)
        await stream.send_initial_metadata()
        async for news in feed.watch():
            await stream.send_message(news)

    async def Session(self, stream: Stream[pb.BytesMessage, pb.BytesMessage]) -> None:
        """Sessions are opened by ``POST /session`` here."""
        raise GRPCError(Status.UNIMPLEMENTED, "sessions are opened by POST /session")

    async def ListWorkers(
        self, stream: Stream[pb.ListWorkersRequest, pb.ListWorkersResponse]
    ) -> None:
        """The one worker: this engine."""
        await stream.recv_message()
        await stream.send_message(pb.ListWorkersResponse(record=[self.worker()]))

    def worker(self) -> WorkerRecord:
        """This engine as a worker; clients read its labels to learn what it can do."""
        host = this_platform()
        labels = {
            "org.mobyproject.buildkit.worker.executor": "wherry",
            "org.mobyproject.buildkit.worker.snapshotter": "wherry",
            **({_HOST_GATEWAY: address} if (address := self._backend.host_gateway) else {}),
        }
        platform = Platform(os=host.os, architecture=host.architecture, variant=host.variant)
        return WorkerRecord(
            id="wherry", labels=labels, platforms=[platform], buildkit_version=VERSION
        )

    async def Info(self, stream: Stream[pb.InfoRequest, pb.InfoResponse]) -> None:
        """The version of the API."""
        await stream.recv_message()
        await stream.send_message(pb.InfoResponse(buildkit_version=VERSION))

    async def DiskUsage(self, stream: Stream[pb.DiskUsageRequest, pb.DiskUsageResponse]) -> None:
        """What the builder keeps."""
        request = await stream.recv_message()
        assert request is not None
        wanted = record_filter(request.filter)
        records = await asyncio.to_thread(self._builder.usage)
        shown = [_usage(record) for record in records if wanted(record)]
        await stream.send_message(pb.DiskUsageResponse(record=shown))

    async def Prune(self, stream: Stream[pb.PruneRequest, pb.UsageRecord]) -> None:
        """Forget what the builder keeps."""
        request = await stream.recv_message()
        assert request is not None
        wanted = record_filter(request.filter)
        before = {record.id: record for record in await asyncio.to_thread(self._builder.usage)}
        until = time.time() - request.keep_duration / _SECOND if request.keep_duration else None
        deleted, _ = await asyncio.to_thread(
            lambda: self._builder.prune(
                until=until,
                keep_bytes=request.reserved_space or request.max_used_space,
                wanted=wanted,
            )
        )
        await stream.send_initial_metadata()
        for name in deleted:
            if name in before:
                await stream.send_message(_usage(before[name]))

    async def ListenBuildHistory(
        self, stream: Stream[pb.BuildHistoryRequest, pb.BuildHistoryEvent]
    ) -> None:
        """There is no history of builds: nothing is in it, and nothing will be."""
        request = await stream.recv_message()
        await stream.send_initial_metadata()
        if request is not None and not request.early_exit:
            await asyncio.Event().wait()  # until the client has enough

    async def UpdateBuildHistory(
        self, stream: Stream[pb.UpdateBuildHistoryRequest, pb.UpdateBuildHistoryResponse]
    ) -> None:
        """There is no history of builds."""
        await stream.recv_message()
        await stream.send_message(pb.UpdateBuildHistoryResponse())


def _refuse(request: pb.SolveRequest) -> None:
    """What this builder does not do. Raises NotImplementedHere or InvalidParameter."""
    if request.definition.ByteSize():
        raise NotImplementedHere("operation graphs (LLB) are not built: send a Dockerfile")
    if request.frontend and request.frontend not in FRONTENDS:
        raise InvalidParameter(f"frontend {request.frontend} not found")
    if request.HasField("source_policy") or request.source_policy_session:
        raise NotImplementedHere("source policies are not offered")
    if request.frontend_inputs:
        raise NotImplementedHere("operation graphs (LLB) as contexts are not offered")


def _cache_entries(entries: Iterable[pb.CacheOptionsEntry]) -> list[CacheEntry]:
    return [(entry.type, dict(entry.attrs)) for entry in entries]


def _exports(request: pb.SolveRequest) -> list[Export]:
    given: Sequence[tuple[str, Mapping[str, str]]] = [
        (exporter.type, exporter.attrs) for exporter in request.exporters
    ]
    if not given and request.exporter:
        given = [(request.exporter, request.exporter_attrs)]
    return [Export(index, kind, dict(attrs)) for index, (kind, attrs) in enumerate(given)]


def record_filter(filters: Sequence[str]) -> Any:
    """Filters as containerd writes them: of one all fields must fit, of many any one.

    Raises GRPCError for what cannot be read.
    """
    alternatives = [[_condition(part) for part in _parts(text)] for text in filters]

    def wanted(record: CacheRecord) -> bool:
        return not alternatives or any(
            all(condition(record) for condition in conditions) for conditions in alternatives
        )

    return wanted


_CONDITION = re.compile(r'(?P<field>[\w.]+)(?:(?P<operator>==|!=|~=)"?(?P<value>[^"]*)"?)?')


def _parts(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _condition(text: str) -> Any:
    found = _CONDITION.fullmatch(text.strip())
    if found is None:
        raise GRPCError(Status.INVALID_ARGUMENT, f"failed to parse filter {text!r}")
    field, operator, value = found["field"], found["operator"], found["value"] or ""
    try:
        pattern = re.compile(value if operator == "~=" else "")
    except re.error as error:
        raise GRPCError(
            Status.INVALID_ARGUMENT, f"failed to parse filter {text!r}: {error}"
        ) from None

    def fits(record: CacheRecord) -> bool:
        actual = _field(record, field)
        match operator:
            case "==":
                return actual == value
            case "!=":
                return actual != value
            case "~=":
                return pattern.search(actual) is not None
        return bool(actual)

    return fits


def _field(record: CacheRecord, name: str) -> str:
    """A field as text; truth is any text."""
    values = {
        "id": record.id,
        "type": record.kind,
        "description": record.description,
        "inuse": "true" if record.in_use else "",
        "shared": "true" if record.shared else "",
        "private": "" if record.shared else "true",
        "immutable": "" if record.kind == "exec.cachemount" else "true",
        "mutable": "true" if record.kind == "exec.cachemount" else "",
    }
    return values.get(name.lower(), "")


def _usage(record: CacheRecord) -> pb.UsageRecord:
    return pb.UsageRecord(
        id=record.id,
        mutable=record.kind == "exec.cachemount",
        in_use=record.in_use,
        size=record.size,
        created_at=at(record.created),
        last_used_at=at(record.used),
        usage_count=record.uses,
        description=record.description,
        record_type=record.kind,
        shared=record.shared,
    )
