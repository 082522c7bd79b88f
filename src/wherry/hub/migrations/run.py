"""Brings a database to the newest schema.

Alembic keeps the version and runs the steps; the full-text index is made here, because it is
a different thing on each database and can be rebuilt from the tables at any time.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from wherry.hub.database import Database
from wherry.hub.records import search


def migrate(db: Database) -> None:
    """Runs the missing migrations; the caller holds ``db.exclusive()``."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with db.engine.connect() as plain:
        conn = plain.execution_options(immediate=True)
        config.attributes["connection"] = conn
        with conn.begin():
            command.upgrade(config, "head")
            _make_search(conn)


def _make_search(conn: Connection) -> None:
    postgresql = conn.dialect.name == "postgresql"
    for statement in search.POSTGRESQL_SCHEMA if postgresql else search.SQLITE_SCHEMA:
        conn.execute(text(statement))
