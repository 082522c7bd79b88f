"""The layer store: extracted layers by diff id, who needs them, and what is garbage.

``<root>/layers/<hex>/`` has ``diff`` (the files), ``recipe`` (see `wherry.storage.recipe`) and
perhaps ``aside``. A layer is extracted into a temporary directory, made durable, renamed, and
then registered; a layer that nobody holds is removed in the opposite order. Whatever a crash
leaves is either complete or swept away by ``clean``.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from wherry.errors import Conflict, InvalidParameter, KernelError, NotFound
from wherry.fs.measuring import disk_usage_of
from wherry.fs.removing import remove_path
from wherry.linux.files import sync_directory, sync_file_system
from wherry.storage.archive.extract import Extracted, Extractor
from wherry.storage.archive.reader import DEFAULT_LIMITS, Limits, TarReader
from wherry.storage.archive.stream import ByteStream, ReadAhead, hashed
from wherry.storage.archive.writer import tar_tree
from wherry.storage.blobs import split_digest
from wherry.storage.driver import StorageDriver, choose_driver
from wherry.storage.recipe import RecipeWriter, replay
from wherry.storage.statedb import StateDB

MIGRATIONS = (
    """
    CREATE TABLE layers (
        diff_id TEXT PRIMARY KEY, size INTEGER NOT NULL, files INTEGER NOT NULL,
        created REAL NOT NULL
    );
    CREATE TABLE layer_holds (
        owner TEXT NOT NULL, diff_id TEXT NOT NULL REFERENCES layers(diff_id),
        PRIMARY KEY (owner, diff_id)
    ) WITHOUT ROWID;
    CREATE INDEX layer_holds_by_layer ON layer_holds (diff_id)
    """,
    "ALTER TABLE layers ADD COLUMN tar_size INTEGER NOT NULL DEFAULT 0",
)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: ``size`` is the sum of its files and links, ``tar_size`` of its tar, in bytes."""

    diff_id: str
    size: int
    files: int
    tar_size: int


@dataclass(frozen=True, slots=True)
class StagedLayer:
    """A layer that was extracted into ``home`` and is not registered yet."""

    home: str
    diff_id: str
    extracted: Extracted
    tar_size: int


def _replay(home: str) -> Iterator[bytes]:
    return replay(*(os.path.join(home, name) for name in ("recipe", "diff", "aside")))


def _layer(row: sqlite3.Row) -> Layer:
    return Layer(row["diff_id"], row["size"], row["files"], row["tar_size"])


def chain_id(diff_ids: Sequence[str]) -> str:
    """The digest that names a stack of layers (image-spec, config.md "Layer ChainID")."""
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = f"sha256:{hashlib.sha256(f'{chain} {diff_id}'.encode()).hexdigest()}"
    return chain


class LayerStore:
    """Layers below ``root``; the driver makes containers' roots of them. Threads may share it."""

    def __init__(
        self,
        db: StateDB,
        root: str,
        driver: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        """Open the store; ``driver`` is chosen by the file system when None."""
        db.migrate("layers", MIGRATIONS)
        self._db = db
        self.directory = os.path.join(root, "layers")
        roots = os.path.join(root, "roots")
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        os.makedirs(roots, mode=0o700, exist_ok=True)
        kind = choose_driver(roots, driver)
        self.driver: StorageDriver = kind(
            os.path.join(roots, kind.name), self.path, dict(options or {})
        )
        self._lock = threading.Lock()
        self._leases: Counter[str] = Counter()

    def path(self, diff_id: str) -> str:
        """The directory with the layer's files."""
        return os.path.join(self._home(diff_id), "diff")

    def _home(self, diff_id: str) -> str:
        algorithm, value = split_digest(diff_id)
        return os.path.join(self.directory, value if algorithm == "sha256" else f"512-{value}")

    # Layers ------------------------------------------------------------------------------

    def get(self, diff_id: str) -> Layer:
        """The registered layer; NotFound when there is none."""
        row = self._db.one("SELECT * FROM layers WHERE diff_id = ?", (diff_id,))
        if row is None:
            raise NotFound(f"layer {diff_id} is not stored")
        return _layer(row)

    def has(self, diff_id: str) -> bool:
        """Whether the layer is stored."""
        return self._db.one("SELECT 1 FROM layers WHERE diff_id = ?", (diff_id,)) is not None

    def all(self) -> list[Layer]:
        """Every stored layer."""
        rows = self._db.query("SELECT * FROM layers ORDER BY created, diff_id")
        return [_layer(row) for row in rows]

    def sizes(self) -> dict[str, int]:
        """Bytes of every stored layer, by diff id."""
        rows = self._db.query("SELECT diff_id, size FROM layers")
        return {row["diff_id"]: row["size"] for row in rows}

    @contextmanager
    def lease(self) -> Iterator[Callable[[str], None]]:
        """Protects layers from ``collect`` until the context ends: call the result with each id.

        For the time between adding layers and registering who holds them.
        """
        leased: list[str] = []

        def protect(diff_id: str) -> None:
            with self._lock:
                self._leases[diff_id] += 1
            leased.append(diff_id)

        try:
            yield protect
        finally:
            with self._lock:
                self._leases.subtract(leased)
                self._leases = +self._leases

    def add(
        self,
        chunks: Iterable[bytes],
        expected: str | None = None,
        limits: Limits = DEFAULT_LIMITS,
        protect: Callable[[str], None] | None = None,
    ) -> Layer:
        """Extract an uncompressed layer stream and register it under its digest.

        ``protect`` (from `lease`) is called with the digest before the layer can be seen.

        Raises InvalidParameter for a bad archive or a digest that is not ``expected``, and
        KernelError when the host fails; nothing is left then.
        """
        staged = self.stage(chunks, limits)
        return self.admit(staged, expected, protect)

    def stage(self, chunks: Iterable[bytes], limits: Limits = DEFAULT_LIMITS) -> StagedLayer:
        """Extract an uncompressed layer stream where nobody sees it, and make it durable.

        What comes out goes to `admit` or `drop`. Raises InvalidParameter for a bad archive and
        KernelError when the host fails; nothing is left then.
        """
        digest = hashlib.sha256()
        with self._prepared() as home:
            recipe = RecipeWriter(os.path.join(home, "recipe"), os.path.join(home, "aside"))
            tree = os.path.join(home, "diff")
            os.mkdir(tree, 0o755)
            root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
            try:
                with ReadAhead(hashed(chunks, digest.update)) as ahead:
                    reader = TarReader(ByteStream(ahead, "layer"), limits, recipe.meta)
                    extracted = Extractor(
                        root, whiteouts=True, record=recipe.content, aside=recipe.aside
                    ).extract(reader)
                recipe.close()
            finally:
                os.close(root)
            sync_file_system(home)
        return StagedLayer(home, f"sha256:{digest.hexdigest()}", extracted, reader.position)

    def admit(
        self,
        staged: StagedLayer,
        expected: str | None = None,
        protect: Callable[[str], None] | None = None,
    ) -> Layer:
        """Register a staged layer under its digest; ``protect`` as in `add`.

        Raises InvalidParameter when the digest is not ``expected``; nothing is left then.
        """
        with self._disposing(staged.home):
            diff_id = staged.diff_id
            algorithm = split_digest(expected)[0] if expected else "sha256"
            if algorithm != "sha256":
                digest = hashlib.new(algorithm)
                for piece in _replay(staged.home):
                    digest.update(piece)
                diff_id = f"{algorithm}:{digest.hexdigest()}"
            if expected is not None and diff_id != expected:
                raise InvalidParameter(f"layer has digest {diff_id}, expected {expected}")
            if protect is not None:
                protect(diff_id)
            return self._register(staged.home, diff_id, staged.extracted, staged.tar_size)

    def drop(self, staged: StagedLayer) -> None:
        """Forget a staged layer; nothing happens when it was admitted."""
        remove_path(staged.home)

    def commit(
        self,
        container: str,
        layers: Sequence[str],
        *,
        keep: bool = True,
        protect: Callable[[str], None] | None = None,
        without: Collection[str] = (),
    ) -> Layer:
        """Make a layer of what a container changed; ``protect`` as in `add`.

        ``without`` are absolute paths that are left out, when the container is kept.
        With ``keep=False`` the container's writable directory itself becomes the layer, without
        copying, and its root is gone.
        """
        upper = None if keep else self.driver.take_upper(container)
        if upper is None:
            layer = self.add(self.driver.diff(container, layers, without), protect=protect)
            if not keep:
                self.remove_root(container)
            return layer
        digest = hashlib.sha256()
        files = tar_size = 0
        with self._prepared() as home, self._disposing(home):
            recipe = RecipeWriter(os.path.join(home, "recipe"), os.path.join(home, "aside"))
            left = 0

            def content(path: bytes, length: int) -> None:
                nonlocal left, files
                recipe.content(path, 0, length)
                left = length
                files += 1

            for piece in tar_tree(upper, whiteouts=True, content=content):
                digest.update(piece)
                tar_size += len(piece)
                if left:
                    left -= len(piece)
                else:
                    recipe.meta(piece)
            recipe.close()
            size = disk_usage_of(upper)
            os.rename(upper, os.path.join(home, "diff"))
            sync_file_system(home)
            if protect is not None:
                protect(f"sha256:{digest.hexdigest()}")
            layer = self._register(
                home, f"sha256:{digest.hexdigest()}", Extracted(size, files), tar_size
            )
        self.remove_root(container)
        return layer

    @contextmanager
    def _prepared(self) -> Iterator[str]:
        """A temporary home for a layer; removed when the work in it fails."""
        home = ""
        try:
            home = tempfile.mkdtemp(prefix=".tmp-", dir=self.directory)
            yield home
        except BaseException as error:
            if home:
                remove_path(home)
            if isinstance(error, OSError):
                raise KernelError(
                    "store layer", home or self.directory, error.errno or 5
                ) from error
            raise

    @contextmanager
    def _disposing(self, home: str) -> Iterator[None]:
        """Removes a temporary home afterwards, unless it was renamed."""
        try:
            yield
        except OSError as error:
            raise KernelError("store layer", home, error.errno or 5) from error
        finally:
            remove_path(home)

    def _register(self, home: str, diff_id: str, extracted: Extracted, tar_size: int) -> Layer:
        """Make a durable temporary home the layer's own; it stays when the layer is there."""
        layer = Layer(diff_id, extracted.size, extracted.files, tar_size)
        with self._lock:
            if not self.has(diff_id):
                final = self._home(diff_id)
                if os.path.isdir(final):  # a crash between rename and registration, or removal
                    self._put_aside(final)
                os.rename(home, final)
                sync_directory(self.directory)
                with self._db.transaction() as db:
                    db.execute(
                        "INSERT INTO layers (diff_id, size, files, created, tar_size)"
                        " VALUES (?, ?, ?, ?, ?)",
                        (diff_id, layer.size, layer.files, time.time(), tar_size),
                    )
        return layer

    def _put_aside(self, home: str) -> str:
        """Take a layer's directory out of its place; needs no room. `clean` sweeps it, too."""
        aside = os.path.join(self.directory, f".old-{secrets.token_hex(8)}")
        os.rename(home, aside)
        return aside

    def tar(self, diff_id: str) -> Iterator[bytes]:
        """The layer's uncompressed stream, byte for byte as it came.

        Raises Conflict at the end when the files on disk no longer give the layer's digest.
        """
        home = self._home(diff_id)
        if not self.has(diff_id):
            raise NotFound(f"layer {diff_id} is not stored")
        algorithm, value = split_digest(diff_id)
        digest = hashlib.new(algorithm)
        yield from hashed(_replay(home), digest.update)
        if digest.hexdigest() != value:
            raise Conflict(f"layer {diff_id} is damaged: its files were changed on disk")

    # Who needs what -----------------------------------------------------------------------

    def hold(self, owner: str, diff_ids: Iterable[str]) -> None:
        """Register that ``owner`` ("image:…", "container:…") needs these layers.

        Join it to the transaction that makes the owner. NotFound when a layer is missing.
        """
        with self._db.transaction() as db:
            for diff_id in diff_ids:
                self.get(diff_id)
                db.execute("INSERT OR IGNORE INTO layer_holds VALUES (?, ?)", (owner, diff_id))

    def release(self, owner: str) -> None:
        """Forget what ``owner`` needed; ``collect`` then removes what nobody needs."""
        with self._db.transaction() as db:
            db.execute("DELETE FROM layer_holds WHERE owner = ?", (owner,))

    def held(self, owner: str) -> set[str]:
        """The layers that ``owner`` holds."""
        rows = self._db.query("SELECT diff_id FROM layer_holds WHERE owner = ?", (owner,))
        return {row["diff_id"] for row in rows}

    def unheld(self) -> list[str]:
        """Layers that nobody holds."""
        rows = self._db.query(
            "SELECT diff_id FROM layers WHERE diff_id NOT IN (SELECT diff_id FROM layer_holds)"
        )
        return [row["diff_id"] for row in rows]

    def collect(self) -> list[Layer]:
        """Remove the layers that nobody holds; returns them."""
        with self._lock, self._db.transaction() as db:
            rows = db.execute(
                "SELECT * FROM layers WHERE diff_id NOT IN (SELECT diff_id FROM layer_holds)"
            ).fetchall()
            garbage = [_layer(row) for row in rows if not self._leases[row["diff_id"]]]
            for layer in garbage:
                db.execute("DELETE FROM layers WHERE diff_id = ?", (layer.diff_id,))
        doomed = []
        with self._lock:
            for layer in garbage:
                if self.has(layer.diff_id):
                    continue  # added again meanwhile
                with suppress(FileNotFoundError):
                    doomed.append(self._put_aside(self._home(layer.diff_id)))
        for aside in doomed:
            remove_path(aside)
        self.driver.forget({layer.diff_id for layer in garbage})
        return garbage

    def clean(self) -> None:
        """Sweep what a crash left; call once at start-up, before anything else."""
        known = {os.path.basename(self._home(layer.diff_id)) for layer in self.all()}
        for name in os.listdir(self.directory):
            if name not in known:
                remove_path(os.path.join(self.directory, name))

    # Containers' roots ------------------------------------------------------------------------

    def create_root(self, container: str, layers: Sequence[str], size: int | None = None) -> None:
        """Hold ``layers`` for the container and make its writable part."""
        self.hold(f"container:{container}", layers)
        try:
            self.driver.create(container, layers, size)
        except BaseException:
            self.release(f"container:{container}")
            raise

    def remove_root(self, container: str) -> None:
        """Remove the writable part and the holds of a container."""
        self.driver.remove(container)
        self.release(f"container:{container}")
