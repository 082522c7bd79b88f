"""What a build tells its watchers: a graph of vertexes with states, logs and warnings.

Whoever asks first gets all from the beginning; the build never waits for anybody.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from wherry.builder.buildkit.errors import message_of
from wherry.builder.buildkit.wire.control_pb2 import (
    StatusResponse,
    Vertex,
    VertexLog,
    VertexStatus,
    VertexWarning,
)
from wherry.builder.progress import Lane, Output, Title

_LOG_LIMIT = 2 << 20
"""Bytes of output of one step that are passed on."""
_CLIPPED = b"\n[output clipped, log limit 2MiB reached]\n"
_OUTPUT = 1


def now() -> Timestamp:
    """This moment on the wire."""
    moment = Timestamp()
    moment.FromNanoseconds(time.time_ns())
    return moment


def at(seconds: float) -> Timestamp:
    """A moment in unix seconds on the wire."""
    moment = Timestamp()
    moment.FromNanoseconds(int(seconds * 1_000_000_000))
    return moment


class Feed:
    """One build's news; everything happens on the event loop."""

    def __init__(self, ref: str) -> None:
        self.ref = ref
        self.warnings = 0
        self.vertexes: dict[str, Vertex] = {}
        self._backlog: list[StatusResponse] | None = []
        self._watchers: set[asyncio.Queue[StatusResponse | None]] = set()
        self._closed = False

    def tell(self, news: StatusResponse) -> None:
        """Pass something on to all watchers."""
        for vertex in news.vertexes:
            self.vertexes[vertex.digest] = vertex
        if self._backlog is not None:
            self._backlog.append(news)
        for watcher in self._watchers:
            watcher.put_nowait(news)

    def close(self) -> None:
        """Nothing more will come."""
        self._closed = True
        for watcher in self._watchers:
            watcher.put_nowait(None)

    async def watch(self) -> AsyncIterator[StatusResponse]:
        """All news until the end; the second and later watchers begin with the present state."""
        watcher: asyncio.Queue[StatusResponse | None] = asyncio.Queue()
        if self._backlog is not None:
            for known in self._backlog:
                watcher.put_nowait(known)
            self._backlog = None
        else:
            watcher.put_nowait(StatusResponse(vertexes=self.vertexes.values()))
        if self._closed:
            watcher.put_nowait(None)
        self._watchers.add(watcher)
        try:
            while (news := await watcher.get()) is not None:
                yield news
        finally:
            self._watchers.discard(watcher)

    def step(self, name: str, *, inputs: Iterable[str] = ()) -> VertexProgress:
        """A new vertex that has begun."""
        progress = VertexProgress(self, name, inputs=inputs)
        progress.start()
        return progress

    def warn(self, warning: VertexWarning) -> None:
        """Pass a warning on."""
        self.warnings += 1
        self.tell(StatusResponse(warnings=[warning]))


class VertexProgress:
    """One vertex; as a context it is completed at the end, with the error if there is one."""

    def __init__(self, feed: Feed, name: str, *, inputs: Iterable[str] = ()) -> None:
        self._feed = feed
        count = len(feed.vertexes)
        digest = hashlib.sha256(f"{feed.ref}\0{count}\0{name}".encode()).hexdigest()
        self._vertex = Vertex(digest=f"sha256:{digest}", name=name, inputs=inputs)
        self._logged = 0
        self._tell()

    @property
    def digest(self) -> str:
        """What others call this vertex by."""
        return self._vertex.digest

    @property
    def begun(self) -> bool:
        """Whether it was started."""
        return self._vertex.HasField("started")

    def start(self) -> None:
        """The work begins."""
        if not self.begun:
            self._vertex.started.CopyFrom(now())
            self._tell()

    def complete(self, *, cached: bool = False, error: str = "") -> None:
        """The work has ended."""
        if self._vertex.HasField("completed"):
            return
        self.start()
        self._vertex.cached = cached
        self._vertex.error = error
        self._vertex.completed.CopyFrom(now())
        self._tell()

    def status(
        self, name: str, current: int = 0, total: int = 0, *, began: float, done: bool = False
    ) -> None:
        """A part of the work by its name; ``began`` is in unix seconds."""
        status = VertexStatus(
            id=name,
            vertex=self.digest,
            current=current,
            total=total,
            timestamp=now(),
            started=at(began),
        )
        if done:
            status.completed.CopyFrom(now())
        self._feed.tell(StatusResponse(statuses=[status]))

    def part(self, name: str) -> Part:
        """A part of the work as a context."""
        return Part(self, name)

    def log(self, data: bytes) -> None:
        """Output of the work, up to a limit."""
        if self._logged > _LOG_LIMIT:
            return
        self._logged += len(data)
        if self._logged > _LOG_LIMIT:
            data = data[: _LOG_LIMIT - self._logged] + _CLIPPED
        entry = VertexLog(vertex=self.digest, stream=_OUTPUT, msg=data, timestamp=now())
        self._feed.tell(StatusResponse(logs=[entry]))

    def _tell(self) -> None:
        copy = Vertex()
        copy.CopyFrom(self._vertex)
        self._feed.tell(StatusResponse(vertexes=[copy]))

    def __enter__(self) -> VertexProgress:
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        self.complete(error=message_of(error) if error is not None else "")


class Part:
    """A named part of a vertex's work; as a context it ends with it."""

    def __init__(self, vertex: VertexProgress, name: str) -> None:
        self._vertex = vertex
        self._name = name
        self._began = time.time()

    def __enter__(self) -> Part:
        self._vertex.status(self._name, began=self._began)
        return self

    def __exit__(self, *_: object) -> None:
        self._vertex.status(self._name, began=self._began, done=True)


class VertexOutput(Output):
    """The builder's output as vertexes; ``failed`` is the line of the first step that failed."""

    def __init__(self, feed: Feed, inputs: Iterable[str]) -> None:
        super().__init__(lambda _: None)
        self.feed = feed
        self.inputs = tuple(inputs)
        self.failed_line = 0
        self.failed_vertex = ""

    def _new_lane(self) -> Lane:
        return _VertexLane(self)


class _VertexLane(Lane):
    """The steps of one stage: each that makes a layer is a vertex on the one before."""

    def __init__(self, output: VertexOutput) -> None:
        super().__init__(output)
        self._all = output
        self._vertex: VertexProgress | None = None
        self._below = output.inputs
        self._line = 0
        self._downloads: dict[str, float] = {}

    def step(self, title: Title) -> None:
        self._complete()
        self._line = title.line
        if title.ordinal:
            place = f"{title.stage} " if title.stage else ""
            name = f"[{_stage(place)}{title.ordinal}/{title.count}] {first_line(title.text)}"
            self._vertex = VertexProgress(self._all.feed, name, inputs=self._below)
            if title.ordinal == 1:
                self._vertex.start()

    def ready(self) -> None:
        if self._vertex is not None:
            self._vertex.start()

    def cached(self) -> None:
        self._complete(cached=True)

    def running(self, container: str) -> None:
        """The container is of no interest."""

    def removed(self, container: str) -> None:
        """The container is of no interest."""

    def wrote(self, data: bytes) -> None:
        if self._vertex is not None:
            self._vertex.log(data)

    def result(self, image: str) -> None:
        self._complete()

    def failed(self, error: BaseException) -> None:
        if self._vertex is not None and not isinstance(error, asyncio.CancelledError):
            self._vertex.complete(error=message_of(error))
            self._all.failed_vertex = self._all.failed_vertex or self._vertex.digest
        if not isinstance(error, asyncio.CancelledError):
            self._all.failed_line = self._all.failed_line or self._line
        self._vertex = None

    def text(self, text: str) -> None:
        """Nothing of the classic output."""

    def emit(self, item: Mapping[str, Any]) -> None:
        """Progress of a pull, in the form of the Engine API."""
        name, state = item.get("id"), item.get("status")
        if self._vertex is None or not name or not state:
            return
        detail = item.get("progressDetail") or {}
        done = state in ("Pull complete", "Already exists", "Download complete")
        label = f"pulling {name}"
        began = self._downloads.setdefault(name, time.time())
        self._vertex.status(
            label, detail.get("current") or 0, detail.get("total") or 0, began=began, done=done
        )

    def _complete(self, *, cached: bool = False) -> None:
        if self._vertex is not None:
            self._vertex.complete(cached=cached)
            self._below = (self._vertex.digest,)
        self._vertex = None


def _stage(name: str) -> str:
    """Stages without a name are called by their number."""
    return f"stage-{name}" if name.strip().isdecimal() else name


def first_line(text: str) -> str:
    """A command as the name of a vertex: one line, white space made single."""
    lines = [" ".join(line.split()) for line in text.strip().splitlines()]
    return lines[0] if lines else ""
