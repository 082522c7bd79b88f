"""Full-text search over names, descriptions and READMEs.

SQLite uses an FTS5 table, PostgreSQL a tsvector column; both rank a hit in the name above one
in the description above one in the README, and popular repositories above others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Float, Integer, case, column, func, select, text

from wherry.hub.schema import repositories

_WORD = re.compile(r"[^\W_]+", re.UNICODE)
_MAX_WORDS = 8
_README_CHARACTERS = 50_000

SQLITE_SCHEMA = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS repository_text USING fts5("
    "name, description, readme, tokenize='unicode61 remove_diacritics 2', prefix='2 3')",
)
POSTGRESQL_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS repository_text (rowid BIGINT PRIMARY KEY, words tsvector)",
    "CREATE INDEX IF NOT EXISTS ix_repository_text_words ON repository_text USING gin (words)",
)


def words(query: str) -> list[str]:
    """The words of a query: letters and digits only, so no query syntax gets through."""
    return [word.lower()[:64] for word in _WORD.findall(query)][:_MAX_WORDS]


def index(conn: Connection, repository: int) -> None:
    """Writes the words of one repository anew."""
    forget(conn, repository)
    row = conn.execute(
        text("SELECT name, description, readme FROM repositories WHERE id = :id"),
        {"id": repository},
    ).one()
    values = {
        "id": repository,
        "name": " ".join(_WORD.findall(row.name)),
        "description": row.description,
        "readme": row.readme[:_README_CHARACTERS],
    }
    if conn.dialect.name == "postgresql":
        statement = (
            "INSERT INTO repository_text (rowid, words) VALUES (:id,"
            " setweight(to_tsvector('simple', :name), 'A') ||"
            " setweight(to_tsvector('simple', :description), 'B') ||"
            " setweight(to_tsvector('simple', :readme), 'D'))"
            " ON CONFLICT (rowid) DO UPDATE SET words = EXCLUDED.words"
        )
    else:
        statement = (
            "INSERT INTO repository_text (rowid, name, description, readme)"
            " VALUES (:id, :name, :description, :readme)"
        )
    conn.execute(text(statement), values)


def forget(conn: Connection, repository: int) -> None:
    """Takes a repository out of the index."""
    conn.execute(text("DELETE FROM repository_text WHERE rowid = :id"), {"id": repository})


def ranking(conn: Connection, query: str) -> tuple[str, dict[str, Any]]:
    """SQL of a table (id, rank) with the hits of ``query``, best rank highest, and parameters.

    Every word must occur, as a whole or as the beginning of a longer one. A query without
    words gives every repository the same rank.
    """
    terms = words(query)
    if not terms:
        return "SELECT id, 0.0 AS rank FROM repositories", {}
    if conn.dialect.name == "postgresql":
        return (
            "SELECT rowid AS id, ts_rank('{0.05, 0.1, 0.4, 1.0}', words, to_tsquery('simple',"
            " :match))::float AS rank FROM repository_text"
            " WHERE words @@ to_tsquery('simple', :match)",
            {"match": " & ".join(f"{term}:*" for term in terms)},
        )
    return (
        "SELECT rowid AS id, -bm25(repository_text, 10.0, 4.0, 1.0) AS rank"
        " FROM repository_text WHERE repository_text MATCH :match",
        {"match": " ".join(f'"{term}"*' for term in terms)},
    )


@dataclass(frozen=True)
class Found:
    """One page of search results."""

    total: int
    ids: list[int]


def find(
    conn: Connection,
    query: str,
    condition: Any,
    *,
    offset: int = 0,
    limit: int = 25,
    official: bool | None = None,
    min_stars: int = 0,
) -> Found:
    """Ids of the repositories that match, best first, of those ``condition`` lets through.

    An exact name comes first, then official images, then by relevance and popularity.
    """
    sql, parameters = ranking(conn, query)
    # Materialised: else SQLite runs the full-text query anew for every repository.
    hits = (
        text(sql)
        .bindparams(**parameters)
        .columns(column("id", Integer), column("rank", Float))
        .cte("hits")
        .prefix_with("MATERIALIZED")
    )
    exact = query.strip().lower()
    is_official = repositories.c.name.like("library/%")
    filters = [condition]
    if official is not None:
        filters.append(is_official if official else ~is_official)
    if min_stars > 0:
        filters.append(repositories.c.stars >= min_stars)
    base = (
        select(repositories.c.id, func.count().over().label("total"))
        .select_from(hits.join(repositories, hits.c.id == repositories.c.id))
        .where(*filters)
    )
    name_tier = case(
        (repositories.c.name.in_([exact, f"library/{exact}"]), 0),
        (repositories.c.name.like(f"%/{_escape(exact)}", escape="\\"), 1),
        else_=2,
    )
    popularity = 1.0 + repositories.c.stars * 0.02 + repositories.c.pulls * 0.0002
    capped = case((popularity > 3.0, 3.0), else_=popularity)
    ordered = base.order_by(
        name_tier,
        case((is_official, 0), else_=1),
        (hits.c.rank * capped).desc(),
        repositories.c.pulls.desc(),
        repositories.c.id,
    )
    rows = conn.execute(ordered.offset(offset).limit(limit)).all()
    if not rows and offset:
        first = conn.execute(ordered.limit(1)).first()
        return Found(first.total if first else 0, [])
    return Found(rows[0].total if rows else 0, [row.id for row in rows])


def _escape(term: str) -> str:
    return term.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
