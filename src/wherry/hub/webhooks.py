"""Delivers webhooks: signed, retried with growing pauses, never into private networks.

The body is signed with HMAC-SHA256 under the hook's secret, in ``X-Hub-Signature-256``.
Deliveries wait in the database, so any process can make them and none is lost by a restart.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from dataclasses import dataclass

import aiohttp
from sqlalchemy import Connection, func, select, update

from wherry.errors import InvalidParameter
from wherry.hub import outbound
from wherry.hub.database import Database
from wherry.hub.schema import deliveries, repositories, webhooks

_PAUSES = (10, 60, 300, 1800, 7200)
_CALL_SECONDS = 10
_CLAIM_SECONDS = 60
_BATCH = 20
_BATCH_OF_OWNER = 4


@dataclass(frozen=True)
class Delivery:
    """One call that is due."""

    id: int
    url: str
    secret: str
    event: str
    payload: str
    attempts: int


def signature(secret: str, body: bytes) -> str:
    """The value of ``X-Hub-Signature-256``."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def claim(conn: Connection, now: int) -> list[Delivery]:
    """Takes deliveries that are due, so that no other process makes them too.

    One owner gets a few calls of a batch only: receivers that do not answer hold up nobody else.
    """
    place = func.row_number().over(
        partition_by=repositories.c.owner_id, order_by=(deliveries.c.next_attempt, deliveries.c.id)
    )
    waiting = (
        select(
            deliveries.c.id,
            webhooks.c.url,
            webhooks.c.secret,
            deliveries.c.event,
            deliveries.c.payload,
            deliveries.c.attempts,
            deliveries.c.next_attempt,
            place.label("place"),
        )
        .join(webhooks, webhooks.c.id == deliveries.c.webhook_id)
        .join(repositories, repositories.c.id == webhooks.c.repository_id)
        .where(deliveries.c.state == "waiting", deliveries.c.next_attempt <= now)
        .subquery()
    )
    rows = conn.execute(
        select(waiting)
        .where(waiting.c.place <= _BATCH_OF_OWNER)
        .order_by(waiting.c.place, waiting.c.next_attempt)
        .limit(_BATCH)
    ).all()
    claimed = []
    for row in rows:
        found = conn.execute(
            update(deliveries)
            .where(deliveries.c.id == row.id, deliveries.c.attempts == row.attempts)
            .values(attempts=row.attempts + 1, next_attempt=now + _CLAIM_SECONDS)
        )
        if found.rowcount:
            claimed.append(Delivery(*row[:6]))
    return claimed


def settle(conn: Connection, delivery: Delivery, good: bool, outcome: str, now: int) -> None:
    """Records how an attempt ended and when the next one is due."""
    values: dict[str, object] = {"outcome": outcome[:200]}
    if good:
        values["state"] = "delivered"
    elif delivery.attempts >= len(_PAUSES):
        values["state"] = "failed"
    else:
        values["next_attempt"] = now + _PAUSES[delivery.attempts]
    conn.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(**values))


async def deliver(db: Database, *, private: bool) -> int:
    """Makes a batch of the calls that are due, side by side; returns how many were tried."""
    if not await db.read(is_due, int(time.time())):
        return 0
    claimed = await db.write(claim, int(time.time()))
    async with outbound.session(private=private, total=_CALL_SECONDS) as session:

        async def attempt(delivery: Delivery) -> None:
            good, outcome = await _call(session, delivery, private)
            await db.write(settle, delivery, good, outcome, int(time.time()))

        await asyncio.gather(*(attempt(delivery) for delivery in claimed))
    return len(claimed)


def is_due(conn: Connection, now: int) -> bool:
    """Whether a call waits whose time has come."""
    query = select(deliveries.c.id).where(
        deliveries.c.state == "waiting", deliveries.c.next_attempt <= now
    )
    return conn.execute(query.limit(1)).first() is not None


async def _call(
    session: aiohttp.ClientSession, delivery: Delivery, private: bool
) -> tuple[bool, str]:
    body = delivery.payload.encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "wherry-hub",
        "X-Hub-Event": delivery.event,
        "X-Hub-Delivery": str(delivery.id),
        "X-Hub-Signature-256": signature(delivery.secret, body),
    }
    try:
        outbound.check_url(delivery.url, private=private)
        async with session.post(
            delivery.url, data=body, headers=headers, allow_redirects=False
        ) as answer:
            return 200 <= answer.status < 300, f"status {answer.status}"
    except (aiohttp.ClientError, OSError, TimeoutError, InvalidParameter) as error:
        return False, f"{type(error).__name__}: {error}"
