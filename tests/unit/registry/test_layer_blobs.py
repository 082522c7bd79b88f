"""What is remembered of compressed layers, in the state store."""

from __future__ import annotations

from pathlib import Path

from wherry.registry import transfer
from wherry.registry.transfer import LayerBlob, LayerBlobs
from wherry.storage.salvage import examine
from wherry.storage.statedb import StateDB

BLOB = LayerBlob("sha256:a", "sha256:b", 7, "application/gzip", "docker.io", "library/app")


def test_a_store_with_blobs_is_sound(tmp_path: Path) -> None:
    db = StateDB(str(tmp_path / "state.db"))
    known = LayerBlobs(db)
    known.note(BLOB)
    known.note(BLOB)
    assert known.of("sha256:a", "docker.io") == [BLOB]
    db.close()
    assert examine(str(tmp_path / "state.db")) == ""


def test_blobs_of_the_first_schema_are_kept(tmp_path: Path) -> None:
    db = StateDB(str(tmp_path / "state.db"))
    db.migrate("registry", transfer.MIGRATIONS[:1])
    with db.transaction() as change:
        change.execute(
            "INSERT INTO layer_blobs VALUES ('sha256:a', 'sha256:b', 7, 'application/gzip',"
            " 'docker.io', 'library/app')"
        )
    assert LayerBlobs(db).of("sha256:a", "docker.io") == [BLOB]
    db.close()
