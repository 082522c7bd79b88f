"""The hub's database: SQLite or PostgreSQL behind two calls, ``read`` and ``write``.

Queries are plain functions that take a connection; they run in threads, each call in one
transaction. SQLite has one writer: waiting writes are committed together, each behind its own
savepoint, so that fifty pushes share one fsync.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from wherry.hub import texts
from wherry.hub.space import NoSpace, Reserve, is_full

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Query = Callable[Concatenate[Connection, Parameters], Result]

_READERS = 4
_BATCH = 64
_RETRIES = 5
_FULL = "no space left on the disk of the registry's database"


def upsert(conn: Connection, table: Table) -> Any:
    """An INSERT that knows ``on_conflict_do_update``/``_do_nothing`` on this database."""
    if conn.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


class Database:
    """One database. ``close`` when done; every method may be called from any task."""

    def __init__(self, url: str, reserve: Reserve | None = None) -> None:
        """``reserve`` is given up when a writing transaction finds the disk full."""
        self.url = make_url(url)
        self._reserve = reserve
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _sqlite_engine(url) if self.sqlite else _postgresql_engine(url)
        event.listen(self.engine, "before_cursor_execute", _check_texts)
        self._readers = ThreadPoolExecutor(_READERS, "hub-read")
        self._writer = _BatchWriter(self.engine, reserve) if self.sqlite else None
        self._writers = ThreadPoolExecutor(_READERS, "hub-write")

    async def read(
        self,
        query: Query[Parameters, Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Runs ``query`` on a snapshot of the database and returns its result."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._readers, lambda: self._transaction(False, query, *args, **kwargs)
        )

    async def write(
        self,
        query: Query[Parameters, Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Runs ``query`` in a transaction; when this returns, its changes are durable.

        Raises NoSpace when the database's disk is full, even without the reserve.
        """
        if self._writer is not None:
            future = self._writer.submit(lambda conn: query(conn, *args, **kwargs))
            result: Result = await asyncio.wrap_future(future)
            return result
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writers, lambda: self.run(query, *args, **kwargs))

    def run(
        self,
        query: Query[Parameters, Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Runs ``query`` in a writing transaction, here and now (commands, threads)."""
        return self._transaction(True, query, *args, **kwargs)

    def _transaction(
        self,
        immediate: bool,
        query: Query[Parameters, Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        for attempt in range(_RETRIES):
            try:
                with self.engine.connect() as plain:
                    conn = plain.execution_options(immediate=immediate)
                    with conn.begin():
                        return query(conn, *args, **kwargs)
            except OperationalError as error:
                if is_full(error):
                    if self._reserve is not None and self._reserve.release():
                        continue
                    raise NoSpace(_FULL) from error
                # Deadlocks are PostgreSQL's way to order two writers: the loser goes again.
                deadlock = getattr(error.orig, "sqlstate", "") in ("40P01", "40001")
                if not deadlock or attempt == _RETRIES - 1:
                    raise
        raise NoSpace(_FULL)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Held by one process at a time, on one host (SQLite) or anywhere (PostgreSQL)."""
        if self.sqlite:
            path = Path(str(self.url.database)).with_suffix(".lock")
            with open(path, "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        else:
            with self.engine.connect() as conn:
                conn.execute(text("SELECT pg_advisory_lock(7738135660)"))
                try:
                    yield
                finally:
                    conn.execute(text("SELECT pg_advisory_unlock(7738135660)"))

    def close(self) -> None:
        """Waits for running queries and closes every connection."""
        if self._writer is not None:
            self._writer.close()
        self._readers.shutdown()
        self._writers.shutdown()
        self.engine.dispose()


class _BatchWriter:
    """The one thread that writes to SQLite; commits what waits in one go."""

    def __init__(self, engine: Engine, reserve: Reserve | None) -> None:
        self._engine = engine
        self._reserve = reserve
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="hub-writer", daemon=True)
        self._thread.start()

    def submit(self, query: Callable[[Connection], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._jobs.put((query, future))
        return future

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._jobs.get()) is not None:
            batch = [first]
            stop = False
            while len(batch) < _BATCH and not self._jobs.empty():
                job = self._jobs.get()
                if job is None:
                    stop = True
                    break
                batch.append(job)
            self._commit(batch)
            if stop:
                return

    def _commit(self, batch: list[_Job]) -> None:
        batch = [job for job in batch if job[1].set_running_or_notify_cancel()]
        outcomes = self._attempt(batch)
        if _found_full(outcomes) and self._reserve is not None and self._reserve.release():
            # A full disk ends the whole transaction: nothing of it is there, all goes again.
            outcomes = self._attempt(batch)
        if full := _found_full(outcomes):
            outcomes = [(future, None, _no_space(full)) for _, future in batch]
        for future, result, failure in outcomes:
            if failure is None:
                future.set_result(result)
            else:
                future.set_exception(failure)

    def _attempt(self, batch: list[_Job]) -> list[_Outcome]:
        outcomes: list[_Outcome] = []
        try:
            with self._engine.connect().execution_options(immediate=True) as conn, conn.begin():
                for query, future in batch:
                    try:
                        with conn.begin_nested():
                            outcomes.append((future, query(conn), None))
                    except Exception as error:
                        outcomes.append((future, None, error))
                        if is_full(error):
                            raise
        except BaseException as error:
            outcomes = [(future, None, error) for _, future in batch]
        return outcomes


def _found_full(outcomes: list[_Outcome]) -> BaseException | None:
    errors = (error for _, _, error in outcomes if error is not None)
    return next((error for error in errors if is_full(error)), None)


def _no_space(cause: BaseException) -> NoSpace:
    error = NoSpace(_FULL)
    error.__cause__ = cause
    return error


_Outcome = tuple[Future[Any], Any, BaseException | None]
_Job = tuple[Callable[[Connection], Any], Future[Any]]


def _check_texts(
    _conn: Connection, _cursor: Any, _statement: str, parameters: Any, *_: Any
) -> None:
    """Both databases refuse the same texts, so that a hub can move from one to the other.

    What clients send is checked where it comes in; this is for what was forgotten there.
    """
    texts.check_all(parameters)


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, pool_size=_READERS + 2, max_overflow=8)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver's own transaction handling breaks savepoints: BEGIN is sent below instead.
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "busy_timeout=30000",
            "cache_size=-8000",  # KiB for each connection; the kernel caches the file once for all
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(conn: Connection) -> None:
        immediate = conn.get_execution_options().get("immediate")
        conn.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _postgresql_engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    return create_engine(parsed, pool_size=_READERS * 2, max_overflow=8, pool_pre_ping=True)
