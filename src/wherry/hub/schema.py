"""The tables of the hub, one schema for SQLite and PostgreSQL.

Times are unix seconds. Names sort by bytes on both databases, because clients page through
lists in that order. Blobs are stored once; ``repository_blobs`` says which repository may
show them, ``manifest_blobs`` which manifest needs them: garbage is what nothing refers to.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Bytewise = String().with_variant(String(collation="C"), "postgresql")
Identity = BigInteger().with_variant(Integer(), "sqlite")


def _id() -> Column[int]:
    return Column("id", Identity, primary_key=True, autoincrement=True)


def _to(table: str, name: str = "", *, primary: bool = False, null: bool = False) -> Column[int]:
    """A reference that goes when its target goes."""
    return Column(
        name or f"{table.rstrip('s') if table != 'repositories' else 'repository'}_id",
        Identity,
        ForeignKey(f"{table}.id", ondelete="CASCADE"),
        primary_key=primary,
        nullable=null,
    )


users = Table(
    "users",
    metadata,
    _id(),
    Column("name", Bytewise, nullable=False, unique=True),
    Column("email", Text, nullable=False, default=""),
    Column("display_name", Text, nullable=False, default=""),
    Column("password", Text, nullable=False, default=""),
    Column("admin", Boolean, nullable=False, default=False),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("created", BigInteger, nullable=False),
)

owners = Table(
    "owners",
    metadata,
    _id(),
    Column("name", Bytewise, nullable=False, unique=True),
    _to("users", null=True),
    Column("display_name", Text, nullable=False, default=""),
    Column("description", Text, nullable=False, default=""),
    Column("website", Text, nullable=False, default=""),
    Column("quota", BigInteger),
    Column("member_role", Integer, nullable=False, default=1),
    Column("reserved", Boolean, nullable=False, default=False, server_default=false()),
    Column("created", BigInteger, nullable=False),
)
"""Users' own names and organisations; ``reserved`` ones are the hub's and its administrators'."""

members = Table(
    "members",
    metadata,
    _to("owners", primary=True),
    _to("users", primary=True),
    Column("manager", Boolean, nullable=False, default=False),
    Index("ix_members_user_id", "user_id"),
)

invitations = Table(
    "invitations",
    metadata,
    _to("owners", primary=True),
    _to("users", primary=True),
    Column("manager", Boolean, nullable=False, default=False),
    Column("invited_by", Text, nullable=False, default=""),
    Column("created", BigInteger, nullable=False),
    Index("ix_invitations_user_id", "user_id"),
    Index("ix_invitations_created", "created"),
)
"""Memberships that wait for the consent of those who would be members."""

teams = Table(
    "teams",
    metadata,
    _id(),
    _to("owners"),
    Column("name", Bytewise, nullable=False),
    UniqueConstraint("owner_id", "name"),
)

team_members = Table(
    "team_members",
    metadata,
    _to("teams", primary=True),
    _to("users", primary=True),
    Index("ix_team_members_user_id", "user_id"),
)

repositories = Table(
    "repositories",
    metadata,
    _id(),
    _to("owners"),
    Column("name", Bytewise, nullable=False, unique=True),
    Column("description", Text, nullable=False, default=""),
    Column("readme", Text, nullable=False, default=""),
    Column("private", Boolean, nullable=False, default=False),
    Column("automated", Boolean, nullable=False, default=False),
    Column("immutable_tags", Text, nullable=False, default=""),
    Column("retention", JSON),
    Column("stars", Integer, nullable=False, default=0),
    Column("pulls", BigInteger, nullable=False, default=0),
    Column("created", BigInteger, nullable=False),
    Column("pushed", BigInteger),
    Index("ix_repositories_owner_id", "owner_id"),
    Index("ix_repositories_private_pulls", "private", "pulls"),
    Index("ix_repositories_private_pushed", "private", "pushed"),
)

team_roles = Table(
    "team_roles",
    metadata,
    _to("teams", primary=True),
    _to("repositories", primary=True),
    Column("role", Integer, nullable=False),
    Index("ix_team_roles_repository_id", "repository_id"),
)

collaborators = Table(
    "collaborators",
    metadata,
    _to("repositories", primary=True),
    _to("users", primary=True),
    Column("role", Integer, nullable=False),
    Index("ix_collaborators_user_id", "user_id"),
)

blobs = Table(
    "blobs",
    metadata,
    Column("digest", Bytewise, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("location", Text, nullable=False, unique=True),
    Column("touched", BigInteger, nullable=False),
    Index("ix_blobs_touched", "touched"),
)

repository_blobs = Table(
    "repository_blobs",
    metadata,
    _to("repositories", primary=True),
    Column("digest", Bytewise, ForeignKey("blobs.digest"), primary_key=True),
    Column("touched", BigInteger, nullable=False),
    Index("ix_repository_blobs_digest", "digest"),
    Index("ix_repository_blobs_touched", "touched"),
)

manifests = Table(
    "manifests",
    metadata,
    _id(),
    _to("repositories"),
    Column("digest", Bytewise, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Bytewise),
    Column("artifact_type", Text, nullable=False, default=""),
    Column("platform", Text, nullable=False, default=""),
    Column("total_size", BigInteger, nullable=False, default=0),
    Column("config", JSON),
    Column("created", BigInteger),
    Column("pushed", BigInteger, nullable=False),
    Column("pushed_by", Text, nullable=False, default=""),
    Column("deleted", BigInteger),
    UniqueConstraint("repository_id", "digest"),
    Index("ix_manifests_repository_id_subject", "repository_id", "subject"),
    Index("ix_manifests_deleted", "deleted"),
)

manifest_blobs = Table(
    "manifest_blobs",
    metadata,
    _to("manifests", primary=True),
    Column("digest", Bytewise, primary_key=True),
    _to("repositories"),
    Index("ix_manifest_blobs_repository_id_digest", "repository_id", "digest"),
)

manifest_children = Table(
    "manifest_children",
    metadata,
    _to("manifests", primary=True),
    Column("digest", Bytewise, primary_key=True),
    _to("repositories"),
    Index("ix_manifest_children_repository_id_digest", "repository_id", "digest"),
)

tags = Table(
    "tags",
    metadata,
    _to("repositories", primary=True),
    Column("name", Bytewise, primary_key=True),
    _to("manifests"),
    Column("updated", BigInteger, nullable=False),
    Column("updated_by", Text, nullable=False, default=""),
    Index("ix_tags_manifest_id", "manifest_id"),
)

trashed_tags = Table(
    "trashed_tags",
    metadata,
    _id(),
    _to("repositories"),
    Column("name", Bytewise, nullable=False),
    _to("manifests"),
    Column("deleted", BigInteger, nullable=False),
    Column("deleted_by", Text, nullable=False, default=""),
    Index("ix_trashed_tags_repository_id", "repository_id"),
    Index("ix_trashed_tags_manifest_id", "manifest_id"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(32), primary_key=True),
    _to("repositories"),
    Column("actor", Text, nullable=False),
    Column("state", JSON, nullable=False),
    Column("size", BigInteger, nullable=False, default=0, server_default="0"),
    Column("touched", BigInteger, nullable=False),
    Index("ix_uploads_touched", "touched"),
    Index("ix_uploads_repository_id", "repository_id"),
)
"""Blobs under way; ``size`` is what the owner's quota has granted them so far."""

sessions = Table(
    "sessions",
    metadata,
    Column("hash", String(64), primary_key=True),
    _to("users"),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("address", Text, nullable=False, default=""),
    Column("agent", Text, nullable=False, default=""),
    Index("ix_sessions_user_id", "user_id"),
    Index("ix_sessions_expires", "expires"),
)

access_tokens = Table(
    "access_tokens",
    metadata,
    _id(),
    _to("users"),
    _to("access_tokens", "parent_id", null=True),
    Column("name", Text, nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    Column("kind", Text, nullable=False, default="personal"),
    Column("role", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("used", BigInteger),
    Column("expires", BigInteger),
    Column("address", Text, nullable=False, default="", server_default=""),
    Index("ix_access_tokens_user_id", "user_id"),
    Index("ix_access_tokens_parent_id", "parent_id"),
    Index("ix_access_tokens_expires", "expires"),
)
"""Personal tokens (kind ``personal``) and what logins made of them or of a password
(``refresh``): those end with their parent, and never live longer nor reach further."""

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("private", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
)

stars = Table(
    "stars",
    metadata,
    _to("repositories", primary=True),
    _to("users", primary=True),
    Column("created", BigInteger, nullable=False),
    Index("ix_stars_user_id", "user_id"),
)

comments = Table(
    "comments",
    metadata,
    _id(),
    _to("repositories"),
    _to("users"),
    Column("body", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("edited", BigInteger),
    Column("hidden", Boolean, nullable=False, default=False),
    Index("ix_comments_repository_id", "repository_id"),
    Index("ix_comments_user_id", "user_id"),
)

pulls = Table(
    "pulls",
    metadata,
    _to("repositories", primary=True),
    Column("day", Integer, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    _id(),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("address", Text, nullable=False, default=""),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False, default=""),
    Column("owner", Text, nullable=False, default=""),
    Column("detail", JSON),
    Index("ix_audit_owner_at", "owner", "at"),
    Index("ix_audit_at", "at"),
)

webhooks = Table(
    "webhooks",
    metadata,
    _id(),
    _to("repositories"),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("events", Text, nullable=False, default="push delete"),
    Column("active", Boolean, nullable=False, default=True),
    Column("created", BigInteger, nullable=False),
    Index("ix_webhooks_repository_id", "repository_id"),
)

deliveries = Table(
    "deliveries",
    metadata,
    _id(),
    _to("webhooks"),
    Column("event", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("state", Text, nullable=False, default="waiting"),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_attempt", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False, default=""),
    Column("created", BigInteger, nullable=False),
    Index("ix_deliveries_state_next_attempt", "state", "next_attempt"),
    Index("ix_deliveries_webhook_id", "webhook_id"),
)

attempts = Table(
    "attempts",
    metadata,
    _id(),
    Column("key", Text, nullable=False),
    Column("at", BigInteger, nullable=False),  # milliseconds
    Index("ix_attempts_key_at", "key", "at"),
    Index("ix_attempts_at", "at"),
)
"""Events that rate limits count (``accounts/limits.py``)."""

jobs = Table(
    "jobs",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("next_run", BigInteger, nullable=False),
    Column("lease_end", BigInteger, nullable=False, default=0),
    Column("holder", String(64), nullable=False, default=""),
    Column("started", BigInteger),
    Column("ended", BigInteger),
    Column("failed", Boolean, nullable=False, default=False),
    Column("outcome", Text, nullable=False, default=""),
    Column("runs", BigInteger, nullable=False, default=0),
    Column("failures", BigInteger, nullable=False, default=0),
)
"""Periodic work that one of all processes does at a time (``records/jobs.py``)."""

renderings = Table(
    "renderings",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("html", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Index("ix_renderings_created", "created"),
)
"""HTML of Markdown texts by the hash of the text (``web/renderings.py``)."""
