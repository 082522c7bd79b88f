"""Alembic's entry point: runs on the connection that ``run.migrate`` opened."""

from __future__ import annotations

from alembic import context

from wherry.hub.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
