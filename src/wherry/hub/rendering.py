"""HTML of READMEs and comments: made once for each text, in another process, within limits.

The HTML is kept in the database by the hash of its text, for all processes of the hub. The worker
(``web/markdown_worker.py``) is a process that the kernel ends when a text takes too much; such a
text is shown as it is. A page never waits long: what is not ready is shown as plain text this once.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import logging
import os
import signal
import sys
import time
from asyncio.subprocess import Process

from sqlalchemy import Connection, select

from wherry.hub.database import Database, upsert
from wherry.hub.schema import renderings

log = logging.getLogger("wherry.hub")

_WORKER = "wherry.hub.web.markdown_worker"
_VERSION = b"1"  # of what the worker makes of a text: another version, another key
_LENGTH_BYTES = 4
_REFUSED = 2**32 - 1
_ANSWER_SECONDS = 60.0  # beside the limit on processor time: for a machine that stands still
_PAGE_SECONDS = 5.0
_IDLE_SECONDS = 60.0
_MOST_WAITING = 250


def plain(source: str) -> str:
    """HTML that shows a text as it is."""
    return f'<pre class="plain" tabindex="0">{html.escape(source)}</pre>'


class Renderer:
    """Makes and keeps HTML. ``close`` when done."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._worker: Process | None = None
        self._turn = asyncio.Lock()
        self._making: dict[str, asyncio.Task[str]] = {}
        self._idle: asyncio.TimerHandle | None = None
        self._ending: asyncio.Future[None] | None = None
        self.made = 0

    async def html(self, source: str) -> str:
        """Safe HTML of one Markdown text, when it is made."""
        return (await self.htmls([source], None))[0]

    async def htmls(self, sources: list[str], seconds: float | None = _PAGE_SECONDS) -> list[str]:
        """Safe HTML of Markdown texts, in their order; plain after ``seconds`` of waiting."""
        keys = [_key(source) for source in sources]
        found = await self._db.read(_find, keys)
        missing = {
            key: source for key, source in zip(keys, sources, strict=True) if key not in found
        }
        tasks = {key: self._task(key, source) for key, source in missing.items()}
        waiting = [task for task in tasks.values() if task is not None]
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)
        for key, source in missing.items():
            task = tasks[key]
            ready = task is not None and task.done() and not task.cancelled()
            found[key] = task.result() if task is not None and ready else plain(source)
        return [found[key] for key in keys]

    def _task(self, key: str, source: str) -> asyncio.Task[str] | None:
        """The work on a text, which goes on when nobody waits any more; None when too many wait."""
        task = self._making.get(key)
        if task is None and len(self._making) < _MOST_WAITING:
            task = asyncio.ensure_future(self._make(key, source))
            self._making[key] = task
            task.add_done_callback(lambda _: self._making.pop(key, None))
        return task

    async def _make(self, key: str, source: str) -> str:
        async with self._turn:
            try:
                made = await self._ask(source)
            except (OSError, TimeoutError) as error:
                log.warning("cannot render a text: %s: %s", type(error).__name__, error)
                await self._end()
                return plain(source)
            self._rest()
        content = plain(source) if made is None else made
        try:
            await self._db.write(_store, key, content)
        except Exception as error:
            log.warning("cannot keep a rendered text: %s", error)
        return content

    async def _ask(self, source: str) -> str | None:
        """The worker's HTML; None when the text took too much, and the worker's life with it."""
        if self._idle is not None:
            self._idle.cancel()
        self.made += 1
        content = source.encode("utf-8", "replace")
        for _ in range(2):
            fresh = self._worker is None or self._worker.returncode is not None
            worker = await _start() if fresh or self._worker is None else self._worker
            self._worker = worker
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    return await _converse(worker, content)
            except (asyncio.IncompleteReadError, ConnectionError):
                await self._end()
            # One that was there before may have died of something else: a new one tells.
            if fresh or worker.returncode == -signal.SIGXCPU:
                break
        log.warning("a text of %d bytes took too much to render", len(content))
        return None

    def _rest(self) -> None:
        """Lets the worker go when nothing comes for a while."""
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(_IDLE_SECONDS, self._dismiss)

    def _dismiss(self) -> None:
        if not self._turn.locked():
            self._ending = asyncio.ensure_future(self._end())

    async def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        if worker.returncode is None:
            worker.kill()
        assert worker.stdin is not None and worker.stdout is not None
        worker.stdin.close()
        await worker.stdout.read()
        await worker.wait()

    async def close(self) -> None:
        """Ends the work and the worker."""
        tasks = list(self._making.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._idle is not None:
            self._idle.cancel()
        await self._end()


async def _converse(worker: Process, content: bytes) -> str | None:
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(len(content).to_bytes(_LENGTH_BYTES) + content)
    await worker.stdin.drain()
    length = int.from_bytes(await worker.stdout.readexactly(_LENGTH_BYTES))
    return None if length == _REFUSED else (await worker.stdout.readexactly(length)).decode()


async def _start() -> Process:
    environment = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", _WORKER,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env=environment, cwd="/", start_new_session=True,
    )  # fmt: skip


def _key(source: str) -> str:
    return hashlib.sha256(_VERSION + source.encode("utf-8", "replace")).hexdigest()


def _find(conn: Connection, keys: list[str]) -> dict[str, str]:
    rows = conn.execute(
        select(renderings.c.key, renderings.c.html).where(renderings.c.key.in_(set(keys)))
    )
    return {row.key: row.html for row in rows}


def _store(conn: Connection, key: str, content: str) -> None:
    conn.execute(
        upsert(conn, renderings)
        .values(
            key=key,
            html=content.replace("\0", "\N{REPLACEMENT CHARACTER}"),
            created=int(time.time()),
        )
        .on_conflict_do_nothing()
    )
