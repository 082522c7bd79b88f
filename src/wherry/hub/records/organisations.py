"""Owners: users' own names and organisations with members and teams."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, exists, func, select, update

from wherry.errors import Conflict
from wherry.hub.access import Role
from wherry.hub.database import upsert
from wherry.hub.records import users as user_records
from wherry.hub.records.repositories import create_owner
from wherry.hub.schema import (
    members,
    owners,
    repositories,
    team_members,
    team_roles,
    teams,
    users,
)


@dataclass(frozen=True)
class Owner:
    """A user's own name or an organisation."""

    id: int
    name: str
    user_id: int | None
    display_name: str
    description: str
    website: str
    quota: int | None
    member_role: int
    reserved: bool
    created: int


@dataclass(frozen=True)
class Team:
    """A team with its members and its roles on repositories."""

    id: int
    name: str
    members: list[str] = field(default_factory=list)
    roles: list[tuple[str, Role]] = field(default_factory=list)


def find(conn: Connection, name: str) -> Owner | None:
    """The owner of that name."""
    row = conn.execute(select(owners).where(owners.c.name == name)).first()
    return Owner(**row._mapping) if row else None


def create(conn: Connection, name: str, creator: int) -> None:
    """Makes an organisation managed by ``creator``. Raises Conflict, InvalidParameter."""
    maker = user_records.by_id(conn, creator)
    user_records.check_free(conn, name, administrator=maker is not None and maker.admin)
    set_member(conn, create_owner(conn, name, None), creator, manager=True)


_has_members = exists().where(members.c.owner_id == owners.c.id)


def reserve(conn: Connection, names: Iterable[str]) -> None:
    """Makes ``names`` the hub's own where no user and no organisation with members has them."""
    wanted = list(names)
    for name in wanted:
        create_owner(conn, name, None)
    conn.execute(
        update(owners)
        .where(owners.c.name.in_(wanted), owners.c.user_id.is_(None), ~_has_members)
        .values(reserved=True)
    )


def taken(conn: Connection, names: Iterable[str]) -> list[Owner]:
    """Those of ``names`` that people had before they could be the hub's own."""
    rows = conn.execute(
        select(owners)
        .where(owners.c.name.in_(list(names)), owners.c.reserved.is_(False))
        .order_by(owners.c.name)
    )
    return [Owner(**row._mapping) for row in rows]


def take_over(conn: Connection, owner: int) -> None:
    """Makes a name the hub's own; who had it keeps the account, but not the repositories."""
    conn.execute(members.delete().where(members.c.owner_id == owner))
    conn.execute(teams.delete().where(teams.c.owner_id == owner))
    conn.execute(update(owners).where(owners.c.id == owner).values(user_id=None, reserved=True))


def change(conn: Connection, /, owner: int, **values: Any) -> None:
    """Sets columns of an owner."""
    conn.execute(update(owners).where(owners.c.id == owner).values(**values))


def members_of(conn: Connection, owner: int) -> list[tuple[str, bool]]:
    """Names of members, and whether each is a manager."""
    rows = conn.execute(
        select(users.c.name, members.c.manager)
        .join(users, users.c.id == members.c.user_id)
        .where(members.c.owner_id == owner)
        .order_by(users.c.name)
    )
    return [(row.name, row.manager) for row in rows]


def is_member(conn: Connection, owner: int, user: int) -> bool:
    """Whether the user belongs to the organisation."""
    query = select(members.c.user_id).where(members.c.owner_id == owner, members.c.user_id == user)
    return conn.execute(query).first() is not None


def is_manager(conn: Connection, owner: int, user: int) -> bool:
    """Whether the user manages the organisation."""
    query = select(members.c.manager).where(members.c.owner_id == owner, members.c.user_id == user)
    return bool(conn.execute(query).scalar())


def set_member(conn: Connection, owner: int, user: int, *, manager: bool) -> None:
    """Adds a member or changes whether they manage."""
    conn.execute(
        upsert(conn, members)
        .values(owner_id=owner, user_id=user, manager=manager)
        .on_conflict_do_update(index_elements=["owner_id", "user_id"], set_={"manager": manager})
    )


def remove_member(conn: Connection, owner: int, user: int) -> None:
    """Removes a member from the organisation and its teams. Raises Conflict for the last.

    Names of the hub need no manager: its administrators manage them.
    """
    others = conn.execute(
        select(func.count())
        .select_from(members)
        .where(members.c.owner_id == owner, members.c.user_id != user, members.c.manager.is_(True))
    ).scalar_one()
    mine_alone = select(owners.c.id).where(owners.c.id == owner, owners.c.reserved.is_(False))
    if others == 0 and conn.execute(mine_alone).first() is not None:
        raise Conflict("an organisation needs at least one manager")
    mine = select(teams.c.id).where(teams.c.owner_id == owner)
    conn.execute(
        team_members.delete().where(
            team_members.c.user_id == user, team_members.c.team_id.in_(mine)
        )
    )
    conn.execute(members.delete().where(members.c.owner_id == owner, members.c.user_id == user))


def of_user(conn: Connection, user: int) -> list[Owner]:
    """The organisations that the user belongs to."""
    rows = conn.execute(
        select(owners)
        .join(members, members.c.owner_id == owners.c.id)
        .where(members.c.user_id == user)
        .order_by(owners.c.name)
    )
    return [Owner(**row._mapping) for row in rows]


def may_create_in(conn: Connection, user: int) -> list[str]:
    """Names under which the user may make repositories."""
    rows = conn.execute(
        select(owners.c.name)
        .outerjoin(members, (members.c.owner_id == owners.c.id) & (members.c.user_id == user))
        .where(
            (owners.c.user_id == user)
            | (members.c.manager.is_(True))
            | ((members.c.user_id == user) & (owners.c.member_role >= int(Role.WRITE)))
        )
        .order_by(owners.c.user_id.is_(None), owners.c.name)
    )
    return [row.name for row in rows]


def teams_of(conn: Connection, owner: int) -> list[Team]:
    """The organisation's teams with members and roles."""
    found = []
    rows = conn.execute(
        select(teams.c.id, teams.c.name).where(teams.c.owner_id == owner).order_by(teams.c.name)
    ).all()
    for row in rows:
        names = conn.execute(
            select(users.c.name)
            .join(team_members, team_members.c.user_id == users.c.id)
            .where(team_members.c.team_id == row.id)
            .order_by(users.c.name)
        )
        roles = conn.execute(
            select(repositories.c.name, team_roles.c.role)
            .join(team_roles, team_roles.c.repository_id == repositories.c.id)
            .where(team_roles.c.team_id == row.id)
            .order_by(repositories.c.name)
        )
        found.append(
            Team(
                row.id,
                row.name,
                [member.name for member in names],
                [(role.name, Role(role.role)) for role in roles],
            )
        )
    return found


def team(conn: Connection, owner: int, name: str) -> int | None:
    """The id of a team of the organisation."""
    query = select(teams.c.id).where(teams.c.owner_id == owner, teams.c.name == name)
    return conn.execute(query).scalar()


def create_team(conn: Connection, owner: int, name: str) -> None:
    """Adds a team. Raises Conflict, InvalidParameter."""
    user_records.check_name(name)
    if team(conn, owner, name) is not None:
        raise Conflict(f"there is a team {name} already")
    conn.execute(teams.insert().values(owner_id=owner, name=name))


def remove_team(conn: Connection, team_id: int) -> None:
    """Deletes a team."""
    conn.execute(teams.delete().where(teams.c.id == team_id))


def set_team_member(conn: Connection, team_id: int, user: int, belongs: bool) -> None:
    """Adds a user to a team or removes them."""
    if belongs:
        conn.execute(
            upsert(conn, team_members)
            .values(team_id=team_id, user_id=user)
            .on_conflict_do_nothing()
        )
    else:
        conn.execute(
            team_members.delete().where(
                team_members.c.team_id == team_id, team_members.c.user_id == user
            )
        )


def set_team_role(conn: Connection, team_id: int, repository: int, role: Role) -> None:
    """Gives a team a role on a repository; Role.NONE takes it away."""
    conn.execute(
        team_roles.delete().where(
            team_roles.c.team_id == team_id, team_roles.c.repository_id == repository
        )
    )
    if role > Role.NONE:
        conn.execute(
            team_roles.insert().values(team_id=team_id, repository_id=repository, role=int(role))
        )
