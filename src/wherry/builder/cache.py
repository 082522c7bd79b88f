"""The build cache: which step made which layer, and the facts that its key was made of.

A key is a digest of everything that a step's result depends on. The entry also keeps these facts
in readable form, so that a later miss at the same place of a file can be explained.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wherry.storage.statedb import StateDB

MIGRATIONS = (
    """
    CREATE TABLE build_steps (
        key TEXT PRIMARY KEY, place TEXT NOT NULL, kind TEXT NOT NULL, layer TEXT NOT NULL,
        created TEXT NOT NULL, made REAL NOT NULL, used REAL NOT NULL, uses INTEGER NOT NULL,
        size INTEGER NOT NULL, seconds REAL NOT NULL, description TEXT NOT NULL,
        facts TEXT NOT NULL
    );
    CREATE INDEX build_steps_by_place ON build_steps (place, made);
    CREATE TABLE build_mounts (
        id TEXT PRIMARY KEY, directory TEXT NOT NULL, made REAL NOT NULL, used REAL NOT NULL
    )
    """,
    """
    CREATE TABLE build_states (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, config BLOB NOT NULL
    )
    """,
)
_MAX_FILES = 2000
_MAX_STATES = 2000


@dataclass(frozen=True, slots=True)
class Step:
    """A remembered step; ``layer`` is empty when it only changed the configuration."""

    key: str
    kind: str
    layer: str
    created: str
    used: float
    uses: int
    size: int
    seconds: float
    description: str
    facts: Mapping[str, Any]


def step_key(facts: Mapping[str, Any]) -> str:
    """The key of a step with these facts; how its instruction was written does not count."""
    counted = {name: value for name, value in facts.items() if name != "instruction"}
    text = json.dumps(counted, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class StepCache:
    """Steps in the state store; they survive restarts and are shared by all builds."""

    def __init__(self, db: StateDB) -> None:
        db.migrate("build", MIGRATIONS)
        self._db = db

    def find(self, key: str, usable: Callable[[str], bool]) -> Step | None:
        """The step with ``key`` if its layer is still there; ``note_uses`` follows."""
        row = self._db.one("SELECT * FROM build_steps WHERE key = ?", (key,))
        if row is None or (row["layer"] and not usable(row["layer"])):
            return None
        return _step(row)

    def note(self, used: Iterable[str], states: Mapping[str, bytes]) -> None:
        """Remember which steps a build used now, and the images after its steps by id.

        Called once for a build: every write is a sync.
        """
        now = time.time()
        with self._db.transaction() as db:
            db.executemany(
                "UPDATE build_steps SET used = ?, uses = uses + 1 WHERE key = ?",
                [(now, key) for key in used],
            )
            if self._unknown(states):
                db.executemany(
                    "INSERT OR IGNORE INTO build_states (id, config) VALUES (?, ?)", states.items()
                )
                db.execute(
                    "DELETE FROM build_states WHERE number <="
                    " (SELECT max(number) FROM build_states) - ?",
                    (_MAX_STATES,),
                )

    def _unknown(self, states: Mapping[str, bytes]) -> bool:
        return any(self.state(image) is None for image in states)

    def state(self, prefix: str) -> bytes | None:
        """The configuration of an image after some step, by its id or the id's beginning."""
        rows = self._db.query(
            "SELECT config FROM build_states WHERE id >= ? AND id < ? LIMIT 2",
            (prefix, f"{prefix}g"),
        )
        return rows[0]["config"] if len(rows) == 1 else None

    def forget_state(self, config: bytes) -> None:
        """Forget a configuration: it is an image now, whose removal is to be believed."""
        with self._db.transaction() as db:
            db.execute("DELETE FROM build_states WHERE config = ?", (config,))

    def get(self, key: str) -> Step | None:
        """The step with ``key``, whether its layer is there or not."""
        row = self._db.one("SELECT * FROM build_steps WHERE key = ?", (key,))
        return None if row is None else _step(row)

    def store(
        self,
        key: str,
        place: str,
        facts: Mapping[str, Any],
        *,
        kind: str,
        layer: str,
        created: str,
        size: int,
        seconds: float,
        description: str,
    ) -> None:
        """Remember a step; join the transaction that holds its layer."""
        now = time.time()
        with self._db.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO build_steps VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?)",
                (
                    *(key, place, kind, layer, created, now, now, size, seconds, description),
                    json.dumps(_shortened(facts)),
                ),
            )

    def all(self) -> Iterator[Step]:
        """Every remembered step, least recently used first."""
        yield from map(_step, self._db.query("SELECT * FROM build_steps ORDER BY used"))

    def remove(self, keys: Iterable[str]) -> None:
        """Forget steps; join the transaction that releases their layers."""
        with self._db.transaction() as db:
            db.executemany("DELETE FROM build_steps WHERE key = ?", [(key,) for key in keys])
            if not db.execute("SELECT 1 FROM build_steps LIMIT 1").fetchone():
                db.execute("DELETE FROM build_states")

    def explain(self, place: str, facts: Mapping[str, Any]) -> list[str]:
        """Why the step at ``place`` is not cached, compared with the last one made there."""
        row = self._db.one(
            "SELECT facts FROM build_steps WHERE place = ? ORDER BY made DESC LIMIT 1", (place,)
        )
        if row is None:
            return ["never built before"]
        return differences(json.loads(row["facts"]), json.loads(json.dumps(_shortened(facts))))


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between the facts of two steps, in words."""
    reasons: list[str] = []
    if old.get("instruction") != new.get("instruction"):
        reasons.append(f"instruction changed (was: {old.get('instruction')})")
    for section, noun in (("arguments", "argument"), ("environment", "variable")):
        reasons += _changed(old.get(section) or {}, new.get(section) or {}, noun, show=True)
    reasons += _changed(old.get("files") or {}, new.get("files") or {}, "file", show=False)
    for name in sorted(old.keys() | new.keys()):
        known = ("instruction", "arguments", "environment", "files", "content", "parent")
        if name not in known and old.get(name) != new.get(name):
            reasons.append(f"{name} changed from {old.get(name)!r} to {new.get(name)!r}")
    if old.get("content") != new.get("content") and not reasons:
        reasons.append("files changed")
    if old.get("parent") != new.get("parent"):
        reasons.append("an earlier step changed")
    return reasons or ["its layer was removed"]


def _changed(old: Mapping[str, str], new: Mapping[str, str], noun: str, *, show: bool) -> list[str]:
    reasons = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            reasons.append(f"{noun} {name} is gone")
        elif name not in old:
            reasons.append(f"{noun} {name} is new")
        elif old[name] != new[name]:
            values = f" from {old[name]!r} to {new[name]!r}" if show else ""
            reasons.append(f"{noun} {name} changed{values}")
    return reasons


def _shortened(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    files = facts.get("files") or {}
    if len(files) <= _MAX_FILES:
        return facts
    return {**facts, "files": dict(sorted(files.items())[:_MAX_FILES])}


def _step(row: Any) -> Step:
    return Step(
        row["key"],
        row["kind"],
        row["layer"],
        row["created"],
        row["used"],
        row["uses"],
        row["size"],
        row["seconds"],
        row["description"],
        json.loads(row["facts"]),
    )
