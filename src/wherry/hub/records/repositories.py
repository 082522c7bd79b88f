"""Repositories and their owners."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select, union_all, update

from wherry.hub.access import Actor, Role, Standing
from wherry.hub.database import upsert
from wherry.hub.records import search
from wherry.hub.schema import (
    collaborators,
    members,
    owners,
    repositories,
    team_members,
    team_roles,
    users,
)


@dataclass(frozen=True)
class Repository:
    """One repository as stored, without its README."""

    id: int
    owner_id: int
    owner: str
    name: str
    description: str
    private: bool
    automated: bool
    immutable_tags: str
    retention: dict[str, Any] | None
    stars: int
    pulls: int
    created: int
    pushed: int | None


_COLUMNS = (
    repositories.c.id,
    repositories.c.owner_id,
    owners.c.name.label("owner"),
    repositories.c.name,
    repositories.c.description,
    repositories.c.private,
    repositories.c.automated,
    repositories.c.immutable_tags,
    repositories.c.retention,
    repositories.c.stars,
    repositories.c.pulls,
    repositories.c.created,
    repositories.c.pushed,
)


def selection() -> Any:
    """SELECT of everything that ``record`` needs; add conditions and order."""
    return select(*_COLUMNS).join(owners, owners.c.id == repositories.c.owner_id)


def record(row: Row[Any]) -> Repository:
    """A row of ``selection`` as a Repository."""
    return Repository(**row._mapping)


def find(conn: Connection, name: str) -> Repository | None:
    """The repository of that canonical name."""
    row = conn.execute(selection().where(repositories.c.name == name)).first()
    return record(row) if row else None


def owner_of(name: str) -> str:
    """The owner's part of a repository name."""
    return name.partition("/")[0]


def standing(conn: Connection, actor: Actor, name: str, repository: int | None) -> Standing:
    """How ``actor`` stands to the repository ``name`` (``repository`` is its id, if it is)."""
    if actor.user is None:
        return Standing()
    owner = conn.execute(
        select(owners.c.id, owners.c.user_id, owners.c.member_role).where(
            owners.c.name == owner_of(name)
        )
    ).first()
    if owner is None:
        return Standing()
    if owner.user_id == actor.user:
        return Standing(owns=True)
    member = conn.execute(
        select(members.c.manager).where(
            members.c.owner_id == owner.id, members.c.user_id == actor.user
        )
    ).first()
    return Standing(
        manages=bool(member and member.manager),
        member_role=Role(owner.member_role) if member else Role.NONE,
        granted=_granted(conn, actor.user, repository) if repository else Role.NONE,
    )


def _granted(conn: Connection, user: int, repository: int) -> Role:
    grants = union_all(
        select(collaborators.c.role).where(
            collaborators.c.repository_id == repository, collaborators.c.user_id == user
        ),
        select(team_roles.c.role)
        .join(team_members, team_members.c.team_id == team_roles.c.team_id)
        .where(team_roles.c.repository_id == repository, team_members.c.user_id == user),
    ).subquery()
    best = conn.execute(select(func.max(grants.c.role))).scalar()
    return Role(best or 0)


def readable_ids(actor: Actor) -> Any:
    """SELECT of the ids of private repositories that ``actor`` may read, or None for all."""
    if actor.admin:
        return select(repositories.c.id)
    mine = (
        select(repositories.c.id)
        .join(owners, owners.c.id == repositories.c.owner_id)
        .where(owners.c.user_id == actor.user)
    )
    organisation = (
        select(repositories.c.id)
        .join(owners, owners.c.id == repositories.c.owner_id)
        .join(members, members.c.owner_id == owners.c.id)
        .where(members.c.user_id == actor.user, (members.c.manager) | (owners.c.member_role > 0))
    )
    direct = select(collaborators.c.repository_id).where(collaborators.c.user_id == actor.user)
    teams = (
        select(team_roles.c.repository_id)
        .join(team_members, team_members.c.team_id == team_roles.c.team_id)
        .where(team_members.c.user_id == actor.user)
    )
    return union_all(mine, organisation, direct, teams)


def visible(actor: Actor, anonymous_pull: bool = True) -> Any:
    """The condition that keeps only what ``actor`` may see in listings."""
    public = repositories.c.private.is_(False)
    if not actor.may_list:
        return public
    if actor.admin:
        return repositories.c.id.is_not(None)
    if actor.anonymous:
        return public if anonymous_pull else repositories.c.id.is_(None)
    return public | repositories.c.id.in_(readable_ids(actor))


def owner_id(conn: Connection, name: str) -> int | None:
    """The id of an owner (user or organisation)."""
    return conn.execute(select(owners.c.id).where(owners.c.name == name)).scalar()


def reserved_owners(conn: Connection) -> list[str]:
    """The names that belong to the hub and its administrators."""
    rows = conn.execute(select(owners.c.name).where(owners.c.reserved.is_(True)))
    return [row.name for row in rows]


def create_owner(conn: Connection, name: str, user: int | None, **values: Any) -> int:
    """Adds an owner; the id of the existing one when the name is taken already."""
    conn.execute(
        upsert(conn, owners)
        .values(name=name, user_id=user, created=int(time.time()), **values)
        .on_conflict_do_nothing()
    )
    found = owner_id(conn, name)
    assert found is not None
    return found


def create(
    conn: Connection, name: str, *, private: bool, description: str = "", automated: bool = False
) -> Repository:
    """Adds a repository (and, for open hubs and administrators, its owner), or finds it."""
    owner = create_owner(conn, owner_of(name), None)
    conn.execute(
        upsert(conn, repositories)
        .values(
            owner_id=owner,
            name=name,
            private=private,
            description=description,
            automated=automated,
            created=int(time.time()),
        )
        .on_conflict_do_nothing()
    )
    repository = find(conn, name)
    assert repository is not None
    search.index(conn, repository.id)
    return repository


def catalog(
    conn: Connection, actor: Actor, anonymous_pull: bool, after: str, limit: int
) -> list[str]:
    """Names that ``actor`` may see, in byte order, after ``after``."""
    rows = conn.execute(
        select(repositories.c.name)
        .where(visible(actor, anonymous_pull), repositories.c.name > after)
        .order_by(repositories.c.name)
        .limit(limit)
    )
    return [row.name for row in rows]


def count_public(conn: Connection, owner: str) -> int:
    """How many of the owner's repositories everybody may see."""
    query = (
        select(func.count())
        .select_from(repositories)
        .join(owners, owners.c.id == repositories.c.owner_id)
        .where(owners.c.name == owner, repositories.c.private.is_(False))
    )
    return conn.execute(query).scalar_one()


def by_owner(conn: Connection, actor: Actor, owner: str) -> list[Repository]:
    """The owner's repositories that ``actor`` may see, last pushed first."""
    rows = conn.execute(
        selection()
        .where(owners.c.name == owner, visible(actor))
        .order_by(func.coalesce(repositories.c.pushed, repositories.c.created).desc())
    )
    return [record(row) for row in rows]


def popular(conn: Connection, limit: int) -> list[Repository]:
    """Public repositories that have something in them, most pulled first."""
    rows = conn.execute(
        selection()
        .where(repositories.c.private.is_(False), repositories.c.pushed.is_not(None))
        .order_by(repositories.c.pulls.desc(), repositories.c.id)
        .limit(limit)
    )
    return [record(row) for row in rows]


def recent(conn: Connection, limit: int) -> list[Repository]:
    """Public repositories, last pushed first."""
    rows = conn.execute(
        selection()
        .where(repositories.c.private.is_(False), repositories.c.pushed.is_not(None))
        .order_by(repositories.c.pushed.desc(), repositories.c.id)
        .limit(limit)
    )
    return [record(row) for row in rows]


def by_ids(conn: Connection, ids: list[int]) -> list[Repository]:
    """Repositories in the order of ``ids``."""
    rows = conn.execute(selection().where(repositories.c.id.in_(ids)))
    found = {row.id: record(row) for row in rows}
    return [found[each] for each in ids if each in found]


def readme(conn: Connection, repository: int) -> str:
    """The README's Markdown source."""
    query = select(repositories.c.readme).where(repositories.c.id == repository)
    return conn.execute(query).scalar() or ""


def change(conn: Connection, /, repository: int, **values: Any) -> None:
    """Sets columns of a repository and brings the search index along."""
    conn.execute(update(repositories).where(repositories.c.id == repository).values(**values))
    if {"description", "readme", "name"} & values.keys():
        search.index(conn, repository)


def remove(conn: Connection, repository: int) -> None:
    """Deletes a repository with everything in it; its blobs fall to the collector."""
    search.forget(conn, repository)
    conn.execute(repositories.delete().where(repositories.c.id == repository))


def collaborators_of(conn: Connection, repository: int) -> list[tuple[str, Role]]:
    """Users with a role of their own on the repository."""
    rows = conn.execute(
        select(users.c.name, collaborators.c.role)
        .join(users, users.c.id == collaborators.c.user_id)
        .where(collaborators.c.repository_id == repository)
        .order_by(users.c.name)
    )
    return [(row.name, Role(row.role)) for row in rows]


def set_collaborator(conn: Connection, repository: int, user: int, role: Role) -> None:
    """Gives ``user`` a role on the repository; Role.NONE takes it away."""
    conn.execute(
        collaborators.delete().where(
            collaborators.c.repository_id == repository, collaborators.c.user_id == user
        )
    )
    if role > Role.NONE:
        conn.execute(
            collaborators.insert().values(repository_id=repository, user_id=user, role=int(role))
        )
