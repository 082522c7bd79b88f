"""Roles and what they allow. Pure decisions; the facts come from ``records.repositories``."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum


class Role(IntEnum):
    """What somebody may do with a repository; each role includes the ones below it."""

    NONE = 0
    READ = 1
    WRITE = 2
    ADMIN = 3


ACTION_ROLES = {"pull": Role.READ, "push": Role.WRITE, "delete": Role.ADMIN, "*": Role.ADMIN}
"""The role that each action of a token scope needs (token scope specification)."""


CATALOG = "registry:catalog"
"""The scope of tokens that may list everything that their user may see."""


@dataclass(frozen=True)
class Actor:
    """Who a request comes from, and how far its credentials reach.

    ``ceiling`` caps every role (a read-only access token has Role.READ); ``scopes`` are the
    actions by repository that a bearer token carries, or None when nothing narrows the actor.
    ``token`` is the id of the access token that the credentials come from, None for a password;
    ``expires`` is when that one ends (unix seconds). ``stamp`` is that of the password, if it
    was one: tokens made with it end when it changes.
    """

    user: int | None = None
    name: str = ""
    admin: bool = False
    ceiling: Role = Role.ADMIN
    scopes: dict[str, frozenset[str]] | None = field(default=None, hash=False)
    token: int | None = None
    expires: int | None = None
    stamp: str = ""

    def __post_init__(self) -> None:
        # Below Role.ADMIN nobody administers, however the credentials came here.
        if self.admin and self.ceiling < Role.ADMIN:
            object.__setattr__(self, "admin", False)

    @property
    def anonymous(self) -> bool:
        """Whether nobody is logged in."""
        return self.user is None

    @property
    def label(self) -> str:
        """Name for logs and the audit trail."""
        return self.name or "anonymous"

    @property
    def may_list(self) -> bool:
        """Whether listings may show private names: not to a token made for one repository."""
        return self.scopes is None or CATALOG in self.scopes

    def in_scope(self, repository: str, action: str) -> bool:
        """Whether the credentials cover ``action`` at all, whatever the role says."""
        if ACTION_ROLES[action] > self.ceiling:
            return False
        if self.scopes is None:
            return True
        actions = self.scopes.get(repository, frozenset())
        return action in actions or "*" in actions

    def reach(self, repository: str) -> Role:
        """The highest role that the credentials carry for a repository, whatever is stored."""
        if self.scopes is None:
            return self.ceiling
        actions = self.scopes.get(repository, frozenset())
        whole = {"pull": Role.READ, "push": Role.WRITE, "*": Role.ADMIN}
        carried = max((whole.get(action, Role.NONE) for action in actions), default=Role.NONE)
        return min(carried, self.ceiling)


ANONYMOUS = Actor()


@dataclass(frozen=True)
class Standing:
    """How an actor stands to one repository, as stored."""

    owns: bool = False  # the owner is the actor's own name
    manages: bool = False  # manager of the owning organisation
    member_role: Role = Role.NONE  # what membership of the organisation gives
    granted: Role = Role.NONE  # best of teams and collaborations


def role(actor: Actor, standing: Standing, private: bool, anonymous_pull: bool) -> Role:
    """The actor's role, credentials' ceiling included."""
    if actor.admin or standing.owns or standing.manages:
        stored = Role.ADMIN
    else:
        stored = max(standing.member_role, standing.granted)
        if not private and (anonymous_pull or not actor.anonymous):
            stored = max(stored, Role.READ)
    return min(stored, actor.ceiling)


def may_create(actor: Actor, standing: Standing) -> bool:
    """Whether the actor may make a new repository under an owner it stands to like this."""
    full = actor.admin or standing.owns or standing.manages
    return (full or standing.member_role >= Role.WRITE) and actor.ceiling >= Role.WRITE
