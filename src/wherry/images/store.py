"""The image store: images, the names that point at them, and what is needed for them.

An image's id is the digest of its config. Configs lie in the blob store, layers in the layer
store, all else in the state store; each change here is one transaction.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from wherry.errors import InvalidParameter, NotFound
from wherry.images import config as configs
from wherry.images import reference as references
from wherry.images.config import ImageConfig
from wherry.images.platforms import Platform
from wherry.images.reference import Reference
from wherry.storage.blobs import BlobStore
from wherry.storage.layers import Layer, LayerStore
from wherry.storage.statedb import StateDB

_ID_PREFIX = re.compile("[0-9a-f]{12,64}")
MIGRATIONS = (
    """
    CREATE TABLE images (
        id TEXT PRIMARY KEY, parent TEXT NOT NULL DEFAULT '', stored REAL NOT NULL,
        tagged REAL NOT NULL DEFAULT 0, local INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX images_by_parent ON images (parent);
    CREATE TABLE image_names (
        name TEXT NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('tag', 'digest')),
        value TEXT NOT NULL, image TEXT NOT NULL REFERENCES images(id),
        PRIMARY KEY (name, kind, value)
    ) WITHOUT ROWID;
    CREATE INDEX image_names_by_image ON image_names (image);
    CREATE TABLE tag_history (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL, tag TEXT NOT NULL,
        image TEXT NOT NULL, at REAL NOT NULL, origin TEXT NOT NULL
    );
    CREATE INDEX tag_history_by_tag ON tag_history (name, tag)
    """,
)


@dataclass(frozen=True, slots=True)
class Image:
    """One image. ``layers`` are diff ids, base first; ``size`` is the sum of their files.

    ``tags`` and ``digests`` are the references that point at it; times are unix seconds.
    """

    id: str
    config: ImageConfig
    layers: tuple[str, ...]
    size: int
    tags: tuple[Reference, ...]
    digests: tuple[Reference, ...]
    parent: str
    stored: float
    tagged: float

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        return Platform(self.config.os, self.config.architecture, self.config.variant)

    @property
    def references(self) -> tuple[Reference, ...]:
        """All names."""
        return self.tags + self.digests


def is_id_prefix(image_id: str, text: str) -> bool:
    """Whether ``text`` means the image by its id and not by a name."""
    return bool(text) and (image_id.startswith(text) or image_id[7:].startswith(text))


class ImageStore:
    """All images of an engine. Synchronous; threads may share it."""

    def __init__(self, db: StateDB, blobs: BlobStore, layers: LayerStore) -> None:
        db.migrate("images", MIGRATIONS)
        self.db = db
        self.blobs = blobs
        self.layers = layers
        self._configs: dict[str, ImageConfig] = {}
        self._lock = threading.Lock()
        # Asked for an id ("sha256:" and its beginning) that is not here: makes the image, or not.
        self.restore: Callable[[str], bool] = lambda _: False

    # Finding -----------------------------------------------------------------------------

    def get(self, image_id: str) -> Image:
        """The image with exactly this id. Raises NotFound."""
        row = self.db.one("SELECT * FROM images WHERE id = ?", (image_id,))
        if row is None:
            raise NotFound(f"No such image: {image_id}")
        names = self.db.query(
            "SELECT name, kind, value FROM image_names WHERE image = ? ORDER BY name, value",
            (image_id,),
        )
        size = sum(self.layers.get(layer).size for layer in self._config(image_id).diff_ids)
        return self._image(row, names, size)

    def _image(self, row: sqlite3.Row, names: Iterable[sqlite3.Row], size: int) -> Image:
        config = self._config(row["id"])
        tags, digests = [], []
        for name in names:
            domain, _, path = name["name"].partition("/")
            if name["kind"] == "tag":
                tags.append(Reference(domain, path, tag=name["value"]))
            else:
                digests.append(Reference(domain, path, digest=name["value"]))
        return Image(
            id=row["id"],
            config=config,
            layers=config.diff_ids,
            size=size,
            tags=tuple(tags),
            digests=tuple(digests),
            parent=row["parent"],
            stored=row["stored"],
            tagged=row["tagged"],
        )

    def has(self, image_id: str) -> bool:
        """Whether there is an image with exactly this id."""
        return self.db.one("SELECT 1 FROM images WHERE id = ?", (image_id,)) is not None

    def config(self, image_id: str) -> ImageConfig | None:
        """The config of the image with exactly this id, or None: its names are not looked at."""
        return self._config(image_id) if self.has(image_id) else None

    def is_named(self, image_id: str, repository: str | None = None) -> bool:
        """Whether a reference points at the image, or a tag of ``repository`` (its full name)."""
        if repository is None:
            row = self.db.one("SELECT 1 FROM image_names WHERE image = ?", (image_id,))
        else:
            row = self.db.one(
                "SELECT 1 FROM image_names WHERE image = ? AND name = ? AND kind = 'tag'",
                (image_id, repository),
            )
        return row is not None

    def find(self, image_id: str) -> Image | None:
        """The image with exactly this id, or None."""
        try:
            return self.get(image_id)
        except NotFound:
            return None

    def _config(self, image_id: str) -> ImageConfig:
        config = self._configs.get(image_id)
        if config is None:
            config = self.read_config(image_id)
            self._configs[image_id] = config
        return config

    def read_config(self, image_id: str) -> ImageConfig:
        """The config as it lies on disk, verified; NotFound when it is missing or damaged."""
        return configs.parse(self.blobs.read(image_id))

    def all(self) -> list[Image]:
        """Every image, with as many statements as for one."""
        sizes = self.layers.sizes()
        names: dict[str, list[sqlite3.Row]] = {}
        for name in self.db.query("SELECT * FROM image_names ORDER BY name, value"):
            names.setdefault(name["image"], []).append(name)
        found = []
        for row in self.db.query("SELECT * FROM images"):
            with suppress(NotFound):  # removed meanwhile
                size = sum(sizes.get(layer, 0) for layer in self._config(row["id"]).diff_ids)
                found.append(self._image(row, names.get(row["id"], ()), size))
        return found

    def count(self) -> int:
        """How many images there are."""
        row = self.db.one("SELECT count(*) AS number FROM images")
        return int(row["number"]) if row else 0

    def children(self, image_id: str) -> list[str]:
        """Ids of the images that were built on this one here."""
        rows = self.db.query("SELECT id FROM images WHERE parent = ?", (image_id,))
        return [row["id"] for row in rows]

    def resolve_id(self, text: str) -> str:
        """The id for a name, a digest, an id or its unique beginning.

        Raises NotFound ("No such image: X:latest") or InvalidParameter as Docker does.
        """
        try:
            return self._resolve_id(text)
        except NotFound:
            digits = text.removeprefix("sha256:")
            if _ID_PREFIX.fullmatch(digits) and self.restore(f"sha256:{digits}"):
                return self._resolve_id(text)
            raise

    def _resolve_id(self, text: str) -> str:
        if references.is_digest(text) or len(text) == 64:
            digest = text if ":" in text else f"sha256:{text}"
            if self.has(digest):
                return digest
            if ":" in text or all(letter in "0123456789abcdef" for letter in text):
                raise NotFound(f"No such image: {digest}")
        try:
            reference = references.parse(text)
        except InvalidParameter as error:
            found = self._by_prefix(text)
            if found:
                return found
            raise InvalidParameter(str(error)) from None
        target = self.pointed(reference.tagged())
        if target is None:
            target = self._by_prefix(text)
        if target is None:
            raise NotFound(f"No such image: {reference.tagged().familiar}")
        return target

    def pointed(self, reference: Reference) -> str | None:
        """The id that a tag or digest reference points at."""
        kind = "tag" if reference.digest is None else "digest"
        value = reference.tag if reference.digest is None else reference.digest
        row = self.db.one(
            "SELECT image FROM image_names WHERE name = ? AND kind = ? AND value = ?",
            (reference.name, kind, value),
        )
        return row["image"] if row else None

    def by_id(self, text: str) -> str | None:
        """The id when ``text`` is an id or its beginning, and no name."""
        try:
            image_id = self.resolve_id(text)
        except (NotFound, InvalidParameter):
            return None
        return image_id if is_id_prefix(image_id, text) else None

    def tags_of(self, repository: Reference) -> list[Reference]:
        """All tags of a repository."""
        rows = self.db.query(
            "SELECT value FROM image_names WHERE name = ? AND kind = 'tag' ORDER BY value",
            (repository.name,),
        )
        return [Reference(repository.domain, repository.path, tag=row["value"]) for row in rows]

    def _by_prefix(self, text: str) -> str | None:
        prefix = text.removeprefix("sha256:")
        if not prefix or not all(letter in "0123456789abcdef" for letter in prefix):
            return None
        rows = self.db.query(
            "SELECT id FROM images WHERE id >= ? AND id < ? LIMIT 2",
            (f"sha256:{prefix}", f"sha256:{prefix}g"),
        )
        return rows[0]["id"] if len(rows) == 1 else None

    def resolve(self, text: str, platform: Platform | None = None) -> Image:
        """The image for a name or id.

        Raises NotFound, also when the image found is not for ``platform``.
        """
        image = self.get(self.resolve_id(text))
        if platform is not None and not platform.accepts(image.platform):
            raise NotFound(
                f"image with reference {text} was found but does not match the specified"
                f" platform: wanted {platform}, actual: {image.platform}"
            )
        return image

    # Changing ----------------------------------------------------------------------------

    def create(self, config: bytes, parent: str = "", local: bool = False) -> Image:
        """Register the image with this config; its layers must be stored. Idempotent.

        Not to be called within a transaction of the state store.

        ``parent`` is the id of the image it was built on, ``local`` whether it was made here.
        Raises NotFound when a layer is missing and InvalidParameter for a bad config.
        """
        parsed = configs.parse(config)
        # The lock keeps `forget` of the same image from taking the config away in between.
        with self._lock, self.db.transaction() as db:
            image_id = self.blobs.put(config)
            self.layers.hold(f"image:{image_id}", parsed.diff_ids)
            db.execute(
                "INSERT OR IGNORE INTO images (id, parent, stored, local) VALUES (?, ?, ?, ?)",
                (image_id, parent, time.time(), local),
            )
        return self.get(image_id)

    def tag(self, image_id: str, target: Reference, origin: str = "tag") -> str | None:
        """Point ``target`` at an image; returns the id that it pointed at before.

        ``origin`` says how it came ("tag", "load", "pull registry/…"), for the tag's history.
        """
        kind, value = ("tag", target.tag) if target.digest is None else ("digest", target.digest)
        if value is None:
            raise InvalidParameter(f"{target} has neither a tag nor a digest")
        if target.familiar_name == "sha256":
            raise InvalidParameter(
                "refusing to create an ambiguous tag using digest algorithm as name"
            )
        with self.db.transaction() as db:
            before = self.pointed(target)
            if not self.has(image_id):
                raise NotFound(f"No such image: {image_id}")
            now = time.time()
            db.execute(
                "INSERT OR REPLACE INTO image_names VALUES (?, ?, ?, ?)",
                (target.name, kind, value, image_id),
            )
            db.execute("UPDATE images SET tagged = ? WHERE id = ?", (now, image_id))
            if kind == "tag" and before != image_id:
                self._note(target, image_id, origin)
        return before

    def untag(self, target: Reference) -> bool:
        """Forget a reference; whether it was there."""
        kind, value = ("tag", target.tag) if target.digest is None else ("digest", target.digest)
        with self.db.transaction() as db:
            removed = db.execute(
                "DELETE FROM image_names WHERE name = ? AND kind = ? AND value = ?",
                (target.name, kind, value),
            ).rowcount
            if removed and kind == "tag":
                self._note(target, "", "untag")
        return bool(removed)

    def _note(self, target: Reference, image_id: str, origin: str) -> None:
        with self.db.transaction() as db:
            db.execute(
                "INSERT INTO tag_history (name, tag, image, at, origin) VALUES (?, ?, ?, ?, ?)",
                (target.name, target.tag, image_id, time.time(), origin),
            )

    def forget(self, image_id: str) -> list[Layer]:
        """Remove an image and its names; returns the layers that went with it."""
        with self.db.transaction() as db:
            db.execute("DELETE FROM image_names WHERE image = ?", (image_id,))
            db.execute("DELETE FROM images WHERE id = ?", (image_id,))
            self.layers.release(f"image:{image_id}")
        self._configs.pop(image_id, None)
        removed = self.layers.collect()
        with self._lock:
            if not self.has(image_id):
                self.blobs.delete(image_id)
        return removed

    def clean(self) -> None:
        """Sweep what a crash left: unreferenced configs, layers, half-written blobs. Start-up."""
        self.blobs.clean()
        self.layers.collect()
        self.layers.clean()
        known = {row["id"] for row in self.db.query("SELECT id FROM images")}
        for digest in list(self.blobs.walk()):
            if digest not in known:
                self.blobs.delete(digest)
