"""Invitations to organisations: nobody becomes a member without saying yes."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, select

from wherry.errors import NotFound
from wherry.hub.database import upsert
from wherry.hub.records import organisations
from wherry.hub.schema import invitations, owners, users


@dataclass(frozen=True)
class Invitation:
    """An offer of membership that waits for an answer."""

    owner_id: int
    owner: str
    user: str
    manager: bool
    invited_by: str
    created: int


def invite(conn: Connection, owner: int, user: int, *, manager: bool, by: str) -> None:
    """Offers membership of an organisation, or changes what is offered."""
    values = {"manager": manager, "invited_by": by, "created": int(time.time())}
    conn.execute(
        upsert(conn, invitations)
        .values(owner_id=owner, user_id=user, **values)
        .on_conflict_do_update(index_elements=["owner_id", "user_id"], set_=values)
    )


def of_user(conn: Connection, user: int) -> list[Invitation]:
    """What a user is invited to."""
    return _found(conn, invitations.c.user_id == user)


def of_owner(conn: Connection, owner: int) -> list[Invitation]:
    """Whom an organisation has invited."""
    return _found(conn, invitations.c.owner_id == owner)


def _found(conn: Connection, condition: ColumnElement[bool]) -> list[Invitation]:
    rows = conn.execute(
        select(
            owners.c.id,
            owners.c.name,
            users.c.name,
            invitations.c.manager,
            invitations.c.invited_by,
            invitations.c.created,
        )
        .join(owners, owners.c.id == invitations.c.owner_id)
        .join(users, users.c.id == invitations.c.user_id)
        .where(condition)
        .order_by(owners.c.name, users.c.name)
    )
    return [Invitation(*row) for row in rows]


def withdraw(conn: Connection, owner: int, user: int) -> bool:
    """Takes an invitation back, or declines it; False when there is none."""
    gone = conn.execute(
        invitations.delete().where(invitations.c.owner_id == owner, invitations.c.user_id == user)
    )
    return gone.rowcount > 0


def accept(conn: Connection, owner: int, user: int) -> None:
    """Makes the invited user a member. Raises NotFound when the invitation is gone."""
    manager = conn.execute(
        select(invitations.c.manager).where(
            invitations.c.owner_id == owner, invitations.c.user_id == user
        )
    ).scalar()
    if manager is None or not withdraw(conn, owner, user):
        raise NotFound("no such invitation")
    organisations.set_member(conn, owner, user, manager=manager)
