"""Owners that belong to the hub, descent of access tokens, invitations to organisations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "step_0004"
down_revision = "step_0003"


def upgrade() -> None:
    """Applies this step.

    Tokens that logins made until now do not tell what they descend from, and so could outlive a
    token that was revoked: they end here, and their holders log in once more.
    """
    op.execute("DELETE FROM access_tokens WHERE kind = 'refresh'")
    op.add_column(
        "owners", sa.Column("reserved", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    identity = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    with op.batch_alter_table("access_tokens") as table:
        table.add_column(sa.Column("address", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("parent_id", identity))
        table.create_foreign_key(
            "fk_access_tokens_parent_id", "access_tokens", ["parent_id"], ["id"], ondelete="CASCADE"
        )
    op.create_index("ix_access_tokens_parent_id", "access_tokens", ["parent_id"])
    op.create_index("ix_access_tokens_expires", "access_tokens", ["expires"])
    op.create_index("ix_sessions_expires", "sessions", ["expires"])
    op.create_table(
        "invitations",
        sa.Column("owner_id", identity, nullable=False),
        sa.Column("user_id", identity, nullable=False),
        sa.Column("manager", sa.Boolean(), nullable=False),
        sa.Column("invited_by", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["owners.id"], name=op.f("fk_invitations_owner_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_invitations_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("owner_id", "user_id", name=op.f("pk_invitations")),
    )
    op.create_index("ix_invitations_user_id", "invitations", ["user_id"])
    op.create_index("ix_invitations_created", "invitations", ["created"])
