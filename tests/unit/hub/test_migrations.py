from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from wherry.hub.database import Database
from wherry.hub.migrations.run import migrate
from wherry.hub.schema import metadata


def test_migrations_lead_to_the_schema_and_run_twice(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'hub.db'}")
    migrate(db)
    migrate(db)
    with db.engine.connect() as conn:
        context = MigrationContext.configure(
            conn,
            opts={"include_name": lambda name, *_: not str(name).startswith("repository_text")},
        )
        assert compare_metadata(context, metadata) == []
    db.close()
