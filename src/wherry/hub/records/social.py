"""Stars, comments and pull counts."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, update

from wherry.hub.database import upsert
from wherry.hub.schema import comments, pulls, repositories, stars, users

_DAY = 86_400


@dataclass(frozen=True)
class Comment:
    """One comment with its author's name."""

    id: int
    user_id: int
    author: str
    body: str
    created: int
    edited: int | None
    hidden: bool


def has_star(conn: Connection, repository: int, user: int) -> bool:
    """Whether the user starred the repository."""
    query = select(stars.c.user_id).where(
        stars.c.repository_id == repository, stars.c.user_id == user
    )
    return conn.execute(query).first() is not None


def set_star(conn: Connection, repository: int, user: int, starred: bool) -> None:
    """Stars or unstars; doing it twice changes nothing."""
    if starred:
        conn.execute(
            upsert(conn, stars)
            .values(repository_id=repository, user_id=user, created=int(time.time()))
            .on_conflict_do_nothing()
        )
    else:
        conn.execute(
            stars.delete().where(stars.c.repository_id == repository, stars.c.user_id == user)
        )
    total = select(func.count()).select_from(stars).where(stars.c.repository_id == repository)
    conn.execute(
        update(repositories)
        .where(repositories.c.id == repository)
        .values(stars=total.scalar_subquery())
    )


_COMMENT = (
    comments.c.id,
    comments.c.user_id,
    users.c.name.label("author"),
    comments.c.body,
    comments.c.created,
    comments.c.edited,
    comments.c.hidden,
)


def comments_of(conn: Connection, repository: int, limit: int = 200) -> list[Comment]:
    """The last comments on a repository, oldest first, hidden ones included."""
    rows = conn.execute(
        select(*_COMMENT)
        .join(users, users.c.id == comments.c.user_id)
        .where(comments.c.repository_id == repository)
        .order_by(comments.c.id.desc())
        .limit(limit)
    ).all()
    return [Comment(*row) for row in reversed(rows)]


def comment(conn: Connection, repository: int, comment_id: int) -> Comment | None:
    """One comment, when it belongs to the repository."""
    row = conn.execute(
        select(*_COMMENT)
        .join(users, users.c.id == comments.c.user_id)
        .where(comments.c.repository_id == repository, comments.c.id == comment_id)
    ).first()
    return Comment(*row) if row else None


def add_comment(conn: Connection, repository: int, user: int, body: str) -> None:
    """Adds a comment."""
    conn.execute(
        comments.insert().values(
            repository_id=repository, user_id=user, body=body, created=int(time.time())
        )
    )


def edit_comment(conn: Connection, comment_id: int, body: str) -> None:
    """Replaces a comment's text."""
    conn.execute(
        update(comments)
        .where(comments.c.id == comment_id)
        .values(body=body, edited=int(time.time()))
    )


def hide_comment(conn: Connection, comment_id: int, hidden: bool) -> None:
    """Hides a comment from everybody but moderators, or shows it again."""
    conn.execute(update(comments).where(comments.c.id == comment_id).values(hidden=hidden))


def remove_comment(conn: Connection, comment_id: int) -> None:
    """Deletes a comment."""
    conn.execute(comments.delete().where(comments.c.id == comment_id))


def pulls_by_day(conn: Connection, repository: int, days: int) -> list[int]:
    """Pulls of each of the last ``days`` days, oldest first."""
    today = int(time.time()) // _DAY
    rows = conn.execute(
        select(pulls.c.day, pulls.c.count.label("number")).where(
            pulls.c.repository_id == repository, pulls.c.day > today - days
        )
    )
    counts = {row.day: row.number for row in rows}
    return [counts.get(day, 0) for day in range(today - days + 1, today + 1)]
