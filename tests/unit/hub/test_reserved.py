"""Names that belong to the hub, and names that look like them."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection

from wherry.errors import Conflict
from wherry.hub import reserved, retention
from wherry.hub.access import ANONYMOUS
from wherry.hub.app import make_app
from wherry.hub.config import HubConfig
from wherry.hub.distribution import names
from wherry.hub.hub import HUB
from wherry.hub.records import organisations, repositories, users
from wherry.hub.registry import upstream

OWNED = ("library", "mirror")


@pytest.mark.parametrize(
    "name",
    [
        "library", "1ibrary", "iibrary", "libr4ry", "li-brary", "l.i.b.r.a.r.y", "library_",
        "mirror", "m1rr0r", "rnirror", "mir-ror", "anonymous", "an0nymous", "retention", "upstream",
    ],
)  # fmt: skip
@pytest.mark.parametrize("administrator", [False, True])
def test_the_hubs_own_names_are_nobodys(name: str, administrator: bool) -> None:
    reason = reserved.refusal(name, OWNED, administrator=administrator)
    assert reason is not None
    assert "belongs to the hub" in reason


@pytest.mark.parametrize("name", ["admin", "4dmin", "root", "sign-up", "signup", "v2", "new"])
def test_names_of_the_site_are_for_administrators(name: str) -> None:
    assert reserved.refusal(name, OWNED, administrator=False) is not None
    assert reserved.refusal(name, OWNED, administrator=True) is None


@pytest.mark.parametrize(
    "name", ["ann", "brice", "acme", "librarian", "mirrors", "n.ew", "vi", "admins", "a1", "l33t"]
)
def test_other_names_are_free(name: str) -> None:
    assert reserved.refusal(name, OWNED, administrator=False) is None


def test_every_label_and_every_path_of_the_site_is_reserved(tmp_path: Path) -> None:
    """What the code uses, not what this test remembers."""
    labels = {ANONYMOUS.label, retention._ACTOR, upstream._ACTOR}
    assert labels <= reserved.LABELS
    app = make_app(HubConfig(data=tmp_path))
    words = {
        resource.canonical.split("/")[1]
        for resource in app.router.resources()
        if "{" not in resource.canonical.split("/")[1]
    }
    app[HUB].db.close()
    assert {word for word in words if len(word) > 1} <= reserved.SITE
    assert names.OFFICIAL in HubConfig().reserved_owners


def test_free_names_are_reserved_and_taken_ones_are_told(conn: Connection) -> None:
    ann = users.create(conn, "ann", "")
    users.create(conn, "mirror", "")
    organisations.create(conn, "library", ann.id)
    repositories.create(conn, "cache/app", private=False)  # an administrator's push
    wanted = ("library", "mirror", "cache", "fresh")
    for _ in range(2):
        organisations.reserve(conn, wanted)
        assert [owner.name for owner in organisations.taken(conn, wanted)] == ["library", "mirror"]
        assert sorted(repositories.reserved_owners(conn)) == ["cache", "fresh"]
    with pytest.raises(Conflict, match="belongs to the hub"):
        users.create(conn, "cache", "", admin=True)
    with pytest.raises(Conflict, match="too much like fresh"):
        organisations.create(conn, "fre5h", ann.id)
    for owner in organisations.taken(conn, wanted):
        organisations.take_over(conn, owner.id)
    assert organisations.taken(conn, wanted) == []
    assert organisations.may_create_in(conn, ann.id) == ["ann"]
