"""The history of a tag: what it pointed at, since when, where that came from; and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wherry.errors import Conflict, NotFound
from wherry.images import reference as references
from wherry.images.store import Image, ImageStore
from wherry.images.views import timestamp


@dataclass(frozen=True, slots=True)
class TagEvent:
    """One change of a tag; ``image`` is "" when it was removed, ``at`` unix seconds.

    ``present`` tells whether the image is still in the store.
    """

    image: str
    at: float
    origin: str
    present: bool

    def view(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "Image": self.image,
            "At": timestamp(self.at),
            "Origin": self.origin,
            "Present": self.present,
        }


def tag_history(store: ImageStore, name: str) -> list[TagEvent]:
    """All changes of tag ``name``, the newest first. NotFound when it never existed here."""
    reference = references.parse(name).tagged()
    rows = store.db.query(
        "SELECT h.image, h.at, h.origin, i.id IS NOT NULL AS present FROM tag_history h"
        " LEFT JOIN images i ON i.id = h.image WHERE h.name = ? AND h.tag = ?"
        " ORDER BY h.number DESC",
        (reference.name, reference.tag),
    )
    if not rows:
        raise NotFound(f"No such image: {reference.familiar}")
    return [TagEvent(row["image"], row["at"], row["origin"], bool(row["present"])) for row in rows]


def rollback(store: ImageStore, name: str, to: str | None = None) -> Image:
    """Point a tag at what it pointed at before, or at image ``to`` of its history.

    Raises NotFound when there is nothing to go back to and Conflict when that image was deleted.
    """
    reference = references.parse(name).tagged()
    current = store.pointed(reference)
    events = tag_history(store, name)
    wanted = store.resolve_id(to) if to is not None else None
    for event in events:
        if not event.image or event.image == current or (wanted and event.image != wanted):
            continue
        if not event.present:
            raise Conflict(
                f"roll back {reference.familiar}: image {event.image[7:19]}, to which it pointed"
                " before, was deleted"
            )
        store.tag(event.image, reference, "rollback")
        return store.get(event.image)
    raise NotFound(f"{reference.familiar} pointed at no other image before")
