from __future__ import annotations

import pytest

from wherry.hub.access import ANONYMOUS, Actor, Role, Standing, may_create, role

USER = Actor(user=1, name="ann")
READ_ONLY = Actor(user=1, name="ann", ceiling=Role.READ)
ADMIN = Actor(user=2, name="root", admin=True)


@pytest.mark.parametrize(
    ("actor", "standing", "private", "expected"),
    [
        (ANONYMOUS, Standing(), False, Role.READ),
        (ANONYMOUS, Standing(), True, Role.NONE),
        (USER, Standing(), True, Role.NONE),
        (USER, Standing(), False, Role.READ),
        (USER, Standing(granted=Role.WRITE), True, Role.WRITE),
        (USER, Standing(member_role=Role.READ, granted=Role.WRITE), True, Role.WRITE),
        (USER, Standing(owns=True), True, Role.ADMIN),
        (USER, Standing(manages=True), True, Role.ADMIN),
        (READ_ONLY, Standing(owns=True), True, Role.READ),
        (ADMIN, Standing(), True, Role.ADMIN),
    ],
)
def test_role(actor: Actor, standing: Standing, private: bool, expected: Role) -> None:
    assert role(actor, standing, private, anonymous_pull=True) == expected


def test_closed_hub_shows_public_repositories_to_users_only() -> None:
    assert role(ANONYMOUS, Standing(), False, anonymous_pull=False) == Role.NONE
    assert role(USER, Standing(), False, anonymous_pull=False) == Role.READ


def test_who_may_create() -> None:
    assert may_create(USER, Standing(owns=True))
    assert may_create(USER, Standing(member_role=Role.WRITE))
    assert not may_create(USER, Standing(member_role=Role.READ))
    assert not may_create(READ_ONLY, Standing(owns=True))
    assert not may_create(ANONYMOUS, Standing())


def test_scopes_narrow_and_never_widen() -> None:
    actor = Actor(user=1, scopes={"a/b": frozenset({"pull"})})
    assert actor.in_scope("a/b", "pull")
    assert not actor.in_scope("a/b", "push")
    assert not actor.in_scope("a/c", "pull")
    everything = Actor(user=1, ceiling=Role.READ, scopes={"a/b": frozenset("*")})
    assert everything.in_scope("a/b", "pull")
    assert not everything.in_scope("a/b", "delete")
