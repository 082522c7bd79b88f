"""Work beside the requests: counts written, garbage collected, tags retired, webhooks delivered.

Pull counts live in each process, so each writes its own. Everything else is work of the whole hub:
whichever process gets the lease does it (``records/jobs.py``), and the administration page and the
metrics say when each job ran, how that ended, and when it runs again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wherry.hub import collector, housekeeping, retention, webhooks
from wherry.hub.hub import Hub
from wherry.hub.records import jobs

log = logging.getLogger("wherry.hub")
_FLUSH_SECONDS = 3.0
_LOOK_SECONDS = 1.0
_WEBHOOK_SECONDS = 2
_HOUSEKEEPING_SECONDS = 3600
_LEASE_SECONDS = 60


@dataclass(frozen=True)
class Job:
    """Work that one process of the hub does every ``seconds``; ``work`` says what it did.

    A job with a ``wanted`` is run only while that is true: looking is cheap, a lease is a write.
    """

    name: str
    seconds: int
    work: Callable[[Hub], Awaitable[str]]
    wanted: Callable[[Hub], Awaitable[bool]] | None = None


async def _collect(hub: Hub) -> str:
    return (await collector.collect(hub)).summary()


async def _retention(hub: Hub) -> str:
    return f"{await retention.apply_all(hub)} tags and manifests moved to the trash"


async def _webhooks(hub: Hub) -> str:
    count = 0
    while sent := await webhooks.deliver(hub.db, private=hub.config.webhooks_to_private_addresses):
        count += sent
    return f"{count} calls made"


async def _webhooks_wait(hub: Hub) -> bool:
    return await hub.db.read(webhooks.is_due, int(time.time()))


def all_jobs(hub: Hub) -> tuple[Job, ...]:
    """The jobs of a hub."""
    interval = hub.config.collect_interval
    return (
        Job("retention", interval, _retention),
        Job("garbage collection", interval, _collect),
        Job("webhooks", _WEBHOOK_SECONDS, _webhooks, _webhooks_wait),
        Job("housekeeping", _HOUSEKEEPING_SECONDS, housekeeping.tidy),
    )


def start(hub: Hub) -> None:
    """Starts every periodic job of a process."""
    hub.background(_flush(hub))
    hub.background(Runner(hub, all_jobs(hub)).run())


async def _flush(hub: Hub) -> None:
    """Writes the pull counts of this process now and then."""
    while True:
        await asyncio.sleep(_FLUSH_SECONDS)
        try:
            await hub.pulls.flush()
        except Exception:
            log.exception("cannot write pull counts")


class Runner:
    """Looks which jobs are due, and runs those whose lease this process gets."""

    def __init__(self, hub: Hub, known: tuple[Job, ...]) -> None:
        self._hub = hub
        self._jobs = {job.name: job for job in known}
        self._running: set[str] = set()
        self._holder = f"{socket.gethostname()[:30]} {os.getpid()} {secrets.token_hex(4)}"

    async def run(self) -> None:
        """Runs until cancelled; a failure is logged and the next turn comes."""
        enrolled = False
        while True:
            try:
                if not enrolled:
                    await self._enrol()
                    enrolled = True
                await self._look()
            except Exception:
                log.exception("cannot look for jobs that are due")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _enrol(self) -> None:
        now = int(time.time())
        for job in self._jobs.values():
            await self._hub.db.write(jobs.enrol, job.name, now + job.seconds)

    async def _look(self) -> None:
        for name in await self._hub.db.read(jobs.due, int(time.time())):
            job = self._jobs.get(name)
            if job is None or name in self._running:
                continue
            if job.wanted is None or await job.wanted(self._hub):
                self._running.add(name)
                self._hub.background(self._take(job))

    async def _take(self, job: Job) -> None:
        try:
            await self._run(job)
        except Exception:
            log.exception("cannot run or record the job %s", job.name)
        finally:
            self._running.discard(job.name)

    async def _run(self, job: Job) -> None:
        db, holder = self._hub.db, self._holder
        if not await db.write(jobs.claim, job.name, holder, int(time.time()), _LEASE_SECONDS):
            return
        keeping = asyncio.ensure_future(self._keep(job))
        failed = False
        try:
            outcome = await job.work(self._hub)
        except asyncio.CancelledError:
            await db.write(jobs.release, job.name, holder)
            raise
        except Exception as error:
            log.exception("the job %s failed", job.name)
            failed, outcome = True, f"{type(error).__name__}: {error}"
        finally:
            keeping.cancel()
        now = int(time.time())
        await db.write(
            jobs.settle, job.name, holder, now, now + job.seconds, outcome, failed=failed
        )

    async def _keep(self, job: Job) -> None:
        """Extends the lease while the work goes on."""
        while True:
            await asyncio.sleep(_LEASE_SECONDS / 3)
            end = int(time.time()) + _LEASE_SECONDS
            await self._hub.db.write(jobs.extend, job.name, self._holder, end)
