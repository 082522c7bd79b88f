"""Rate limits, in the database: every process of a hub counts the same events."""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from wherry.hub.schema import attempts

_LONGEST_KEY = 200


@dataclass(frozen=True)
class Limit:
    """At most ``count`` events in any ``seconds`` for each key of this kind."""

    kind: str
    count: int
    seconds: int

    def key(self, subject: str) -> str:
        """How events of ``subject`` (a name, an address) are stored."""
        return f"{self.kind} {subject}"[:_LONGEST_KEY]


LOGINS = Limit("login", 20, 60)
"""Of one name from one address: many people may share an address (NAT, a proxy)."""
LOGINS_FROM_ADDRESS = Limit("login from", 100, 60)
LOGINS_AS_NAME = Limit("login as", 100, 60)
SIGN_UPS = Limit("sign up from", 10, 3600)
COMMENTS = Limit("comment by", 10, 600)
INVITATIONS = Limit("invitation by", 50, 3600)
STARS = Limit("star by", 60, 600)
LONGEST_SECONDS = 3600
"""After this many seconds no limit remembers an event."""


def source(address: str) -> str:
    """What of a client's address counts: of IPv6 the network, which one customer has alone."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is None:
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def logins(name: str, address: str) -> list[tuple[Limit, str]]:
    """The limits on attempts to log in with a name from an address."""
    network = source(address)
    return [
        (LOGINS, f"{network} {name}"),
        (LOGINS_FROM_ADDRESS, network),
        (LOGINS_AS_NAME, name),
    ]


def within(conn: Connection, wanted: list[tuple[Limit, str]], now: float | None = None) -> bool:
    """Whether one more event of each limit and subject would be allowed; counts nothing."""
    return all(_recent(conn, limit, subject, now) < limit.count for limit, subject in wanted)


def count(conn: Connection, wanted: list[tuple[Limit, str]], now: float | None = None) -> bool:
    """Counts an event for each limit and subject, if all allow it; says whether they do.

    Events at the same time are counted one after the other, so no burst gets through.
    """
    if conn.dialect.name == "postgresql":  # SQLite has one writer anyway
        for key in sorted(limit.key(subject) for limit, subject in wanted):
            conn.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
    if not within(conn, wanted, now):
        return False
    moment = int((time.time() if now is None else now) * 1000)
    rows = [{"key": limit.key(subject), "at": moment} for limit, subject in wanted]
    conn.execute(attempts.insert(), rows)
    return True


def uncount(conn: Connection, wanted: list[tuple[Limit, str]], now: float) -> None:
    """Takes back an event that was counted at ``now`` and turned out to be none."""
    for limit, subject in wanted:
        mine = (
            select(attempts.c.id)
            .where(attempts.c.key == limit.key(subject), attempts.c.at == int(now * 1000))
            .limit(1)
        )
        conn.execute(attempts.delete().where(attempts.c.id == mine.scalar_subquery()))


def forget(conn: Connection, now: float) -> int:
    """Removes the events that no limit looks at any more; how many there were."""
    old = attempts.c.at <= int((now - LONGEST_SECONDS) * 1000)
    return conn.execute(attempts.delete().where(old)).rowcount


def _recent(conn: Connection, limit: Limit, subject: str, now: float | None) -> int:
    moment = time.time() if now is None else now
    since = int((moment - limit.seconds) * 1000)
    query = select(func.count()).where(attempts.c.key == limit.key(subject), attempts.c.at > since)
    return int(conn.execute(query).scalar_one())
