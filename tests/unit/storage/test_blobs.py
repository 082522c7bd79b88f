"""The blob store: what is in it has the digest that it is named after."""

from pathlib import Path

import pytest

from wherry.errors import InvalidParameter, NotFound
from wherry.storage.blobs import BlobStore, digest_of, split_digest

DATA = b"some bytes"


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(str(tmp_path))


def files(tmp_path: Path) -> list[str]:
    return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())


def test_a_blob_is_read_back(blobs: BlobStore, tmp_path: Path) -> None:
    digest = blobs.put(DATA)
    assert digest == digest_of(DATA)
    assert blobs.read(digest) == DATA
    assert (blobs.has(digest), blobs.size(digest)) == (True, len(DATA))
    assert list(blobs.walk()) == [digest]
    assert files(tmp_path) == [f"blobs/sha256/{digest[7:]}"]
    blobs.delete(digest)
    blobs.delete(digest)
    assert not blobs.has(digest)
    with pytest.raises(NotFound):
        blobs.read(digest)


@pytest.mark.parametrize(
    "expected",
    [{"expected": digest_of(b"other")}, {"size": len(DATA) + 1}],
    ids=["digest", "size"],
)
def test_wrong_content_is_not_stored(
    blobs: BlobStore, tmp_path: Path, expected: dict[str, object]
) -> None:
    with pytest.raises(InvalidParameter), blobs.ingest() as writer:
        writer.write(DATA)
        writer.commit(**expected)  # type: ignore[arg-type]
    assert files(tmp_path) == []


def test_leaving_without_commit_drops_the_bytes(blobs: BlobStore, tmp_path: Path) -> None:
    with blobs.ingest() as writer:
        writer.write(DATA)
    assert files(tmp_path) == []


def test_damage_on_disk_is_noticed(blobs: BlobStore) -> None:
    digest = blobs.put(DATA)
    Path(blobs.path(digest)).write_bytes(b"other")
    with pytest.raises(NotFound, match="damaged"):
        blobs.read(digest)


@pytest.mark.parametrize(
    "digest",
    ["sha256:../../x", "sha256:" + "a" * 63, "sha256:" + "A" * 64, "md5:" + "a" * 32, "", "x" * 64],
)
def test_digests_cannot_be_paths(blobs: BlobStore, digest: str) -> None:
    with pytest.raises(InvalidParameter):
        split_digest(digest)
    with pytest.raises(InvalidParameter):
        blobs.has(digest)
