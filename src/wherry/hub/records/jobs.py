"""Periodic jobs: when each is due, who runs it, and how its last run ended.

A job is run by the process that gets its lease. Leases are taken and kept by single statements, so
that of several processes on one database exactly one succeeds; a holder that dies loses its lease
when the time is over, and another process takes the job. Times are unix seconds by the clocks of
the processes, which should agree to some seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from wherry.hub.database import upsert
from wherry.hub.schema import jobs

_LONGEST_OUTCOME = 500


@dataclass(frozen=True)
class JobState:
    """What is known of one job."""

    name: str
    next_run: int
    lease_end: int
    holder: str
    started: int | None
    ended: int | None
    failed: bool
    outcome: str
    runs: int
    failures: int


def enrol(conn: Connection, name: str, first_run: int) -> None:
    """Makes a job known; one that is known runs at ``first_run`` at the latest."""
    existing = conn.execute(select(jobs.c.next_run).where(jobs.c.name == name)).scalar()
    if existing is None:
        conn.execute(
            upsert(conn, jobs).values(name=name, next_run=first_run).on_conflict_do_nothing()
        )
    elif existing > first_run:
        conn.execute(
            update(jobs)
            .where(jobs.c.name == name, jobs.c.next_run > first_run)
            .values(next_run=first_run)
        )


def due(conn: Connection, now: int) -> list[str]:
    """Names of the jobs that nobody runs and whose time has come."""
    rows = conn.execute(select(jobs.c.name).where(jobs.c.next_run <= now, jobs.c.lease_end <= now))
    return [row.name for row in rows]


def claim(conn: Connection, name: str, holder: str, now: int, lease: int) -> bool:
    """Takes the lease of a job that is due, for ``lease`` seconds; False when another has it."""
    found = conn.execute(
        update(jobs)
        .where(jobs.c.name == name, jobs.c.next_run <= now, jobs.c.lease_end <= now)
        .values(holder=holder, lease_end=now + lease, started=now)
    )
    return found.rowcount > 0


def extend(conn: Connection, name: str, holder: str, lease_end: int) -> bool:
    """Keeps a lease until ``lease_end``; False when it was lost."""
    found = conn.execute(
        update(jobs).where(jobs.c.name == name, jobs.c.holder == holder).values(lease_end=lease_end)
    )
    return found.rowcount > 0


def settle(
    conn: Connection, name: str, holder: str, now: int, next_run: int, outcome: str, *, failed: bool
) -> None:
    """Records how a run ended and gives the lease back."""
    conn.execute(
        update(jobs)
        .where(jobs.c.name == name, jobs.c.holder == holder)
        .values(
            holder="",
            lease_end=0,
            ended=now,
            next_run=next_run,
            failed=failed,
            outcome=outcome[:_LONGEST_OUTCOME],
            runs=jobs.c.runs + 1,
            failures=jobs.c.failures + int(failed),
        )
    )


def release(conn: Connection, name: str, holder: str) -> None:
    """Gives a lease back without a result: the process stops, another goes on."""
    conn.execute(
        update(jobs)
        .where(jobs.c.name == name, jobs.c.holder == holder)
        .values(holder="", lease_end=0)
    )


def listing(conn: Connection) -> list[JobState]:
    """All jobs by name."""
    rows = conn.execute(select(jobs).order_by(jobs.c.name))
    return [JobState(**row._mapping) for row in rows]
