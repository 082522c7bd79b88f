"""What has run out goes, in batches; what has not stays."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, func, select

from wherry.hub import events
from wherry.hub.records import expiry, invitations, organisations, users
from wherry.hub.schema import access_tokens, audit, sessions
from wherry.hub.schema import invitations as invitation_table

DAY = 86_400
NOW = 2_000_000_000


def names(conn: Connection) -> set[str]:
    return {row.name for row in conn.execute(select(access_tokens.c.name))}


def test_expired_tokens_go_with_what_descends_from_them(conn: Connection) -> None:
    ann = users.create(conn, "ann", "").id
    for name, expires in (("ever", None), ("good", NOW + 1), ("shown", NOW - DAY)):
        users.add_token(conn, ann, name, name, 1, expires)
    users.add_token(conn, ann, "old", "old", 1, NOW - 31 * DAY)
    for name, expires in (("live login", NOW + 1), ("dead login", NOW)):
        users.add_login(conn, users.Login(ann, name, "", 1, expires, None), name)
    assert expiry.forget(conn, NOW, 0) == 2
    assert names(conn) == {"ever", "good", "shown", "live login"}
    assert expiry.forget(conn, NOW, 0) == 0


def test_sessions_invitations_and_the_trail(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "_BATCH", 2)
    ann, eve = users.create(conn, "ann", "").id, users.create(conn, "eve", "").id
    organisations.create(conn, "acme", ann)
    owner = organisations.find(conn, "acme")
    assert owner is not None
    invitations.invite(conn, owner.id, eve, manager=False, by="ann")
    conn.execute(invitation_table.update().values(created=NOW - 31 * DAY))
    for number in range(5):
        conn.execute(
            sessions.insert().values(
                hash=str(number), user_id=ann, created=0, expires=NOW - 2 + number
            )
        )
        events.record(conn, "ann", "", f"action {number}", "")
        conn.execute(
            audit.update()
            .where(audit.c.action == f"action {number}")
            .values(at=NOW - 10 * DAY + number)
        )
    runs = []
    while gone := expiry.forget(conn, NOW, 10 * DAY - 3):
        runs.append(gone)
    assert runs == [5, 2]  # two sessions, an invitation, two entries; one of each of the rest
    left = select(func.count()).select_from
    assert conn.execute(left(sessions)).scalar() == 2
    assert conn.execute(left(audit)).scalar() == 2
    assert expiry.forget(conn, NOW + 10**9, 0) == 2
    assert conn.execute(left(audit)).scalar() == 2
