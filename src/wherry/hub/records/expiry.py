"""Forgets what has run out: tokens, sessions, invitations, and the audit trail's old end."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Table, and_, select, tuple_

from wherry.hub.records.users import SHOW_EXPIRED
from wherry.hub.schema import access_tokens, audit, invitations, sessions

_BATCH = 2000
_INVITATION_LIFETIME = 30 * 86_400


def forget(conn: Connection, now: int, audit_lifetime: int) -> int:
    """Removes some of what has run out and says how much; call it again until that is 0.

    Personal tokens are shown as expired for a while before they go. ``audit_lifetime`` is in
    seconds; 0 keeps the trail for ever.
    """
    shown = and_(access_tokens.c.kind == "personal", access_tokens.c.expires > now - SHOW_EXPIRED)
    gone = _remove(conn, access_tokens, and_(access_tokens.c.expires <= now, ~shown))
    gone += _remove(conn, sessions, sessions.c.expires <= now)
    gone += _remove(conn, invitations, invitations.c.created < now - _INVITATION_LIFETIME)
    if audit_lifetime:
        gone += _remove(conn, audit, audit.c.at < now - audit_lifetime)
    return gone


def _remove(conn: Connection, table: Table, condition: ColumnElement[bool]) -> int:
    """A batch: one transaction must not hold up all other writers for long."""
    keys = tuple_(*table.primary_key.columns)
    some = select(*table.primary_key.columns).where(condition).limit(_BATCH)
    return conn.execute(table.delete().where(keys.in_(some))).rowcount
