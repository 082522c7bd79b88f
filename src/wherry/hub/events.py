"""What happened to a repository: the audit trail, and the webhooks that wait for it."""

from __future__ import annotations

import json
import time
from typing import Any

from sqlalchemy import Connection, select

from wherry.hub.records.repositories import Repository
from wherry.hub.schema import audit, deliveries, webhooks


def record(
    conn: Connection,
    actor: str,
    address: str,
    action: str,
    target: str,
    owner: str = "",
    detail: dict[str, Any] | None = None,
) -> None:
    """Adds a line to the audit trail."""
    conn.execute(
        audit.insert().values(
            at=int(time.time()),
            actor=actor,
            address=address,
            action=action,
            target=target,
            owner=owner,
            detail=detail,
        )
    )


def pushed(
    conn: Connection,
    repository: Repository,
    actor: str,
    address: str,
    digest: str,
    tags: list[str],
) -> None:
    """A manifest arrived."""
    detail = {"digest": digest, "tags": tags}
    record(conn, actor, address, "push", repository.name, repository.owner, detail)
    _announce(conn, repository, "push", actor, detail)


def deleted(
    conn: Connection, repository: Repository, actor: str, address: str, reference: str
) -> None:
    """A tag or manifest went."""
    detail = {"reference": reference}
    record(conn, actor, address, "delete", repository.name, repository.owner, detail)
    _announce(conn, repository, "delete", actor, detail)


def _announce(
    conn: Connection, repository: Repository, event: str, actor: str, detail: dict[str, Any]
) -> None:
    now = int(time.time())
    payload = {
        "event": event,
        "repository": repository.name,
        "actor": actor,
        "at": now,
        **detail,
    }
    hooks = conn.execute(
        select(webhooks.c.id, webhooks.c.events).where(
            webhooks.c.repository_id == repository.id, webhooks.c.active.is_(True)
        )
    ).all()
    for hook in hooks:
        if event in hook.events.split():
            conn.execute(
                deliveries.insert().values(
                    webhook_id=hook.id,
                    event=event,
                    payload=json.dumps(payload),
                    next_attempt=now,
                    created=now,
                )
            )
