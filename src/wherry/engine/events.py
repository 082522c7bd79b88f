"""The event bus: what happens is published once, kept for a while, and seen by every subscriber.

Publishing touches memory and a journal; the store gets events in batches a moment later, so that
an event never waits for a disk. When the daemon is killed nothing is missing; when the power
fails, at most the last ``FLUSH_DELAY`` of history.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from wherry.engine.eventjournal import EventJournal
from wherry.engine.filters import Filters
from wherry.errors import KernelError
from wherry.storage.statedb import StateDB
from wherry.timestamps import SECOND

log = logging.getLogger(__name__)

KEEP = 1024  # events of history; older ones are forgotten
FLUSH_DELAY = 0.5  # seconds until published events are in the store
BACKLOG = 16384  # events a slow subscriber may lag behind before it is dropped

MIGRATIONS = [
    """CREATE TABLE events (
        number INTEGER PRIMARY KEY, time INTEGER NOT NULL, type TEXT NOT NULL,
        action TEXT NOT NULL, actor TEXT NOT NULL, attributes TEXT NOT NULL, scope TEXT NOT NULL
    );
    CREATE INDEX events_by_time ON events (time)"""
]

# Actions such as "exec_create: sh -c true" match a filter that gives their first word only.
_FUZZY_ACTIONS = frozenset({"health_status", "exec_create", "exec_start"})

FILTERS = frozenset(
    {
        "config", "container", "daemon", "event", "image", "label", "network", "node", "plugin",
        "scope", "secret", "service", "type", "volume",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; ``time`` in nanoseconds since 1970."""

    time: int
    type: str
    action: str
    actor: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    scope: str = "local"

    def view(self) -> dict[str, Any]:
        """The shape of ``GET /events``, with status, id and from of old clients."""
        view: dict[str, Any] = {}
        if self.type in ("container", "image"):
            view["status"] = self.action
            if self.actor:
                view["id"] = self.actor
            if self.type == "container" and self.attributes.get("image"):
                view["from"] = self.attributes["image"]
        view["Type"] = self.type
        view["Action"] = self.action
        view["Actor"] = {"ID": self.actor, "Attributes": dict(self.attributes)}
        view["scope"] = self.scope
        view["time"] = self.time // SECOND
        view["timeNano"] = self.time
        return view


class Subscription:
    """Events as they come; an asynchronous iterator and a context manager."""

    def __init__(
        self,
        queue: asyncio.Queue[Event | None],
        until: int | None,
        filters: Filters,
        subscribers: set[asyncio.Queue[Event | None]],
    ) -> None:
        self._queue = queue
        self._until = until
        self._filters = filters
        self._subscribers = subscribers

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while event := await _next_before(self._queue, self._until):
            if self._until is not None and event.time > self._until:
                break
            if matches(event, self._filters):
                return event
        self.close()
        raise StopAsyncIteration

    def close(self) -> None:
        """Receive nothing more."""
        self._subscribers.discard(self._queue)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class EventBus:
    """Publish from the event loop's thread; subscribe as often as wanted."""

    def __init__(self, db: StateDB, journal: EventJournal | None = None) -> None:
        """Bring the table up to date and load the history that is kept.

        Events that the ``journal`` of a killed process still has come into the store first.
        """
        db.migrate("events", MIGRATIONS)
        self._db = db
        self._journal = journal
        self._saving: set[asyncio.Future[bool]] = set()
        left = _left_over(db, journal) if journal is not None else []
        kept = _saved(db, left)
        if journal is not None and kept:
            journal.keep(())
        rows = db.query(
            "SELECT * FROM (SELECT * FROM events ORDER BY number DESC LIMIT ?) ORDER BY number",
            (KEEP,),
        )
        self._history: deque[Event] = deque((_from_row(row) for row in rows), maxlen=KEEP)
        self._unsaved: list[Event] = [] if kept else left
        self._history.extend(self._unsaved)
        self._subscribers: set[asyncio.Queue[Event | None]] = set()
        self._flushing: asyncio.TimerHandle | None = None
        self._last = self._history[-1].time if self._history else 0

    def publish(
        self,
        type: str,
        action: str,
        actor: str,
        attributes: Mapping[str, str] | None = None,
        scope: str = "local",
    ) -> Event:
        """Tell everyone that ``action`` happened to ``actor``; times strictly ascend."""
        self._last = max(time.time_ns(), self._last + 1)
        event = Event(self._last, type, action, actor, dict(attributes or {}), scope)
        self._history.append(event)
        self._unsaved.append(event)
        if self._journal is not None:
            self._journal.append(asdict(event))
        if self._flushing is None:
            loop = asyncio.get_running_loop()
            self._flushing = loop.call_later(FLUSH_DELAY, self._flush_aside)
        for queue in list(self._subscribers):
            if queue.qsize() < BACKLOG:
                queue.put_nowait(event)
            else:
                self._subscribers.discard(queue)
                queue.put_nowait(None)
        return event

    def subscribe(
        self, since: int | None = None, until: int | None = None, filters: Filters | None = None
    ) -> Subscription:
        """Events that match, from ``since`` (now when None) up to ``until`` (for ever when None).

        Both are nanoseconds since 1970. Kept history is replayed first; no event is missed or
        doubled between replay and what happens live. Close the subscription when done.
        """
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        # Without `since`, an `until` still asks for the history up to it.
        if since is not None or until is not None:
            for event in self._history:
                if event.time >= (since or 0):
                    queue.put_nowait(event)
        self._subscribers.add(queue)
        return Subscription(queue, until, filters or Filters(), self._subscribers)

    @property
    def listeners(self) -> int:
        """How many subscriptions there are."""
        return len(self._subscribers)

    def end_subscriptions(self) -> None:
        """Let every subscriber see the end."""
        for queue in self._subscribers:
            queue.put_nowait(None)
        self._subscribers.clear()

    def flush(self) -> None:
        """Write what was published to the store and forget what is too old."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        batch, self._unsaved = self._unsaved, []
        if not _saved(self._db, batch):
            self._unsaved = batch

    async def settle(self) -> None:
        """Wait for what is being written to the store in the background."""
        await asyncio.gather(*self._saving, return_exceptions=True)

    def close(self) -> None:
        """End every subscription and write the rest; the bus is not used afterwards."""
        self.end_subscriptions()
        self.flush()
        if self._journal is not None:
            if not self._saving:
                self._journal.keep(asdict(event) for event in self._unsaved)
            self._journal.close()

    def _flush_aside(self) -> None:
        self._flushing = None
        batch, self._unsaved = self._unsaved, []
        saving = asyncio.get_running_loop().run_in_executor(None, _saved, self._db, batch)
        self._saving.add(saving)
        saving.add_done_callback(lambda done: self._flushed(done, batch))

    def _flushed(self, saving: asyncio.Future[bool], batch: list[Event]) -> None:
        """What was being saved is in the store: the journal need no longer have it."""
        self._saving.discard(saving)
        if saving.cancelled() or saving.exception() or not saving.result():
            self._unsaved = [*batch, *self._unsaved][-KEEP:]  # with the next ones, then
        elif self._journal is not None and not self._saving:
            self._journal.keep(asdict(event) for event in self._unsaved)


def _left_over(db: StateDB, journal: EventJournal) -> list[Event]:
    """The events of a journal that are not in the store."""
    row = db.one("SELECT MAX(time) AS last FROM events")
    last = (row["last"] if row is not None else None) or 0
    events = [Event(**line) for line in journal.read()]
    return [event for event in events if event.time > last]


def matches(event: Event, filters: Filters) -> bool:
    """Whether an event passes ``docker events --filter`` (moby, ``daemon/events/filter.go``)."""
    if not filters:
        return True
    fuzzy = any(name in _FUZZY_ACTIONS for name in filters.get("event"))
    attributes = event.attributes
    return (
        (filters.prefix if fuzzy else filters.exact)("event", event.action)
        and filters.exact("type", event.type)
        and filters.exact("scope", event.scope)
        and all(
            _names(filters, kind, event)
            for kind in ("daemon", "container", "plugin", "volume", "network", "node", "service",
                         "secret", "config")
            if kind in filters
        )
        and _image(filters, event)
        and filters.pairs("label", attributes)
    )  # fmt: skip


def _names(filters: Filters, kind: str, event: Event) -> bool:
    return filters.prefix(kind, event.actor) or filters.prefix(
        kind, event.attributes.get("name", "")
    )


def _image(filters: Filters, event: Event) -> bool:
    if "image" not in filters:
        return True
    name = event.attributes.get("name" if event.type == "image" else "image", "")
    candidates = {event.actor, name, _without_tag(event.actor), _without_tag(name)}
    return any(candidate and filters.exact("image", candidate) for candidate in candidates)


def _without_tag(reference: str) -> str:
    name, colon, tag = reference.rpartition(":")
    return name if colon and "/" not in tag else reference


async def _next_before(queue: asyncio.Queue[Event | None], until: int | None) -> Event | None:
    if not queue.empty():
        return queue.get_nowait()
    if until is None:
        return await queue.get()
    try:
        async with asyncio.timeout((until - time.time_ns()) / SECOND):
            return await queue.get()
    except TimeoutError:
        return None


def _saved(db: StateDB, batch: list[Event]) -> bool:
    """Put events into the store; False when the disk refuses."""
    try:
        if batch:
            _save(db, batch)
    except KernelError as error:
        log.error("keep events: %s", error)
        return False
    return True


def _save(db: StateDB, batch: list[Event]) -> None:
    with db.transaction() as connection:
        connection.executemany(
            "INSERT INTO events (time, type, action, actor, attributes, scope)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [
                (e.time, e.type, e.action, e.actor, json.dumps(dict(e.attributes)), e.scope)
                for e in batch
            ],
        )
        connection.execute(
            "DELETE FROM events WHERE number <= (SELECT MAX(number) FROM events) - ?", (KEEP,)
        )


def _from_row(row: Any) -> Event:
    return Event(
        row["time"],
        row["type"],
        row["action"],
        row["actor"],
        json.loads(row["attributes"]),
        row["scope"],
    )
