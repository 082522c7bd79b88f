"""A hub's database without a hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from wherry.hub.database import Database
from wherry.hub.migrations.run import migrate


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[Connection]:
    """One transaction on a database of the newest schema."""
    db = Database(f"sqlite:///{tmp_path / 'hub.db'}")
    migrate(db)
    with db.engine.connect() as connection, connection.begin():
        yield connection
    db.close()
