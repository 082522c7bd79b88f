"""Names that nobody may sign up with: the hub's own, and those that would be taken for them.

Pure decisions. What belongs to the hub is stored with the owners (``records/organisations.py``):
``library``, whose images are the official ones, and the owner of each upstream.
"""

from __future__ import annotations

from collections.abc import Iterable

LABELS = frozenset({"anonymous", "retention", "upstream"})
"""What the audit trail and tags call actors that are no user (``Actor.label``)."""

SITE = frozenset(
    {
        "about", "account", "admin", "administration", "administrator", "api", "contact", "docs",
        "explore", "health", "help", "hub", "login", "logout", "metrics", "moderator", "new",
        "official", "organisations", "ready", "repositories", "root", "search", "security",
        "settings", "sign-up", "staff", "static", "support", "system", "token", "users", "v1",
        "v2", "wherry",
    }
)  # fmt: skip
"""First words of the site's paths, and names that sound like those who run it: only an
administrator may have them."""

_SAME_LOOK = str.maketrans("01i3457", "olleast", "._-")
_SHORT = 3


def looks(name: str) -> str:
    """What is left of a name when separators and characters that look alike do not count."""
    return name.translate(_SAME_LOOK).replace("rn", "m").replace("vv", "w")


def refusal(name: str, owned: Iterable[str], *, administrator: bool) -> str | None:
    """Why ``name`` cannot be a new user's or organisation's name; None when it can.

    ``owned`` are the names that belong to the hub; ``administrator`` says whether the new user,
    or who makes the organisation, administers it.
    """
    look = looks(name)
    for mine in sorted({*LABELS, *owned}):
        if name == mine:
            return f"the name {name} belongs to the hub"
        if look == looks(mine):
            return f"the name {name} is too much like {mine}, which belongs to the hub"
    if administrator:
        return None
    for word in sorted(SITE):
        if name == word or (len(word) > _SHORT and look == looks(word)):
            return f"the name {name} is kept for the administrators of the hub"
    return None
