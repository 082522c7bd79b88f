"""Rate limits that all processes share; an index for the newest repositories."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "step_0002"
down_revision = "step_0001"


def upgrade() -> None:
    """Applies this step."""
    op.create_table(
        "attempts",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
    )
    op.create_index("ix_attempts_key_at", "attempts", ["key", "at"])
    op.create_index("ix_attempts_at", "attempts", ["at"])
    op.create_index("ix_repositories_private_pushed", "repositories", ["private", "pushed"])
