"""The image store on a real disk: load, save, tag, remove, prune, check, and crashes between."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from tests.waiting import until

from wherry.errors import Conflict, InvalidParameter, KernelError, NotFound
from wherry.images import hello, views
from wherry.images.archive import ArchivedImage, archive
from wherry.images.check import check
from wherry.images.compare import diff_images, layer_files
from wherry.images.config import dump
from wherry.images.import_ import import_image
from wherry.images.listing import list_images
from wherry.images.load import load
from wherry.images.platforms import parse_platform
from wherry.images.reference import parse
from wherry.images.remove import User, prune_images, remove
from wherry.images.save import save
from wherry.images.store import Image, ImageStore
from wherry.images.tags import rollback, tag_history
from wherry.storage.archive.writer import END, tar_file
from wherry.storage.blobs import BlobStore, digest_of
from wherry.storage.layers import LayerStore, chain_id
from wherry.storage.statedb import StateDB

pytestmark = pytest.mark.root


def open_store(root: Path) -> ImageStore:
    root.mkdir(exist_ok=True)
    db = StateDB(str(root / "state.db"))
    return ImageStore(db, BlobStore(str(root)), LayerStore(db, str(root), "overlay"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    opened = open_store(tmp_path / "data")
    yield opened
    report = check(opened)
    assert report.problems == ()
    opened.db.close()


def nobody(_: str) -> list[User]:
    return []


def layer(**files: str) -> bytes:
    return b"".join(tar_file(name.encode(), text.encode()) for name, text in files.items()) + END


def config(*layers: bytes, created: str = "2026-01-02T03:04:05Z", **run: object) -> bytes:
    return dump(
        {
            "architecture": "amd64", "os": "linux", "created": created, "config": run,
            "rootfs": {"type": "layers", "diff_ids": [digest_of(data) for data in layers]},
            "history": [
                {"created": created, "created_by": f"step {n}"} for n in range(len(layers))
            ],
        }
    )  # fmt: skip


def image_archive(*layers: bytes, names: tuple[str, ...] = (), **run: object) -> bytes:
    contents = {digest_of(data): data for data in layers}
    image = ArchivedImage(
        config(*layers, **run),
        tuple((digest, len(data)) for digest, data in contents.items()),
        tuple(parse(name).tagged() for name in names),
    )
    return b"".join(archive([image], lambda digest: [contents[digest]]))


def loaded(store: ImageStore, data: bytes) -> tuple[list[Image], list[str]]:
    messages: list[dict[str, str]] = []
    images = load(store, io.BytesIO(data), messages.append)
    return images, [item["stream"] for item in messages if "stream" in item]


BASE, TOP = layer(a="1", b="2"), layer(b="two", c="3")


def test_load_prints_what_docker_prints(store: ImageStore) -> None:
    images, lines = loaded(store, image_archive(BASE, TOP, names=("app:1", "app:2")))
    assert lines == ["Loaded image: app:1\n", "Loaded image: app:2\n"]
    assert images[0].id == digest_of(config(BASE, TOP))
    assert images[0].size == len("12two3")
    _, lines = loaded(store, image_archive(TOP))
    assert lines == [f"Loaded image ID: {digest_of(config(TOP))}\n"]


def test_load_tells_when_a_name_moves(store: ImageStore) -> None:
    [old], _ = loaded(store, image_archive(BASE, names=("app",)))
    [new], lines = loaded(store, image_archive(TOP, names=("app",)))
    assert lines[0] == (
        f"The image app:latest already exists, renaming the old one with ID {old.id} to empty"
        " string\n"
    )
    assert store.resolve("app").id == new.id
    assert store.get(old.id).tags == ()


@pytest.mark.parametrize(
    "compress",
    [gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress],
    ids=["gzip", "bzip2", "xz", "zstd"],
)
def test_compressed_archives(store: ImageStore, compress) -> None:  # type: ignore[no-untyped-def]
    images, _ = loaded(store, compress(image_archive(BASE, names=("app",))))
    assert store.resolve("app").id == images[0].id


def repack(data: bytes, change) -> bytes:  # type: ignore[no-untyped-def]
    """The archive with its files passed through ``change`` (name → content or None)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            content = old.extractfile(member).read() if member.isfile() else b""  # type: ignore[union-attr]
            changed = change(member.name, content)
            if changed is not None:
                member.size = len(changed) if member.isfile() else 0
                new.addfile(member, io.BytesIO(changed))
    return out.getvalue()


def test_an_oci_layout_alone(store: ImageStore) -> None:
    data = image_archive(BASE, TOP, names=("example.org/app:1",))
    only = repack(data, lambda name, content: None if name == "manifest.json" else content)
    images, lines = loaded(store, only)
    assert lines == ["Loaded image: example.org/app:1\n"]
    assert images[0].layers == (digest_of(BASE), digest_of(TOP))


def test_the_docker_form_alone_with_compressed_layers(store: ImageStore) -> None:
    blob = config(BASE, TOP)
    listing = [
        {"Config": "c.json", "RepoTags": ["old:form"], "Layers": ["1/layer.tar", "2/layer.tar"]}
    ]
    data = (
        tar_file(b"1/layer.tar", gzip.compress(BASE)) + tar_file(b"2/layer.tar", TOP)
        + tar_file(b"c.json", blob) + tar_file(b"manifest.json", json.dumps(listing).encode()) + END
    )  # fmt: skip
    images, lines = loaded(store, data)
    assert lines == ["Loaded image: old:form\n"]
    assert images[0].id == digest_of(blob)


def _damage(part: str):  # type: ignore[no-untyped-def]
    def change(name: str, content: bytes) -> bytes:
        digest = {"layer": digest_of(BASE), "config": digest_of(config(BASE))}[part]
        if name.endswith(digest[7:]):
            return content[:600].replace(b"1", b"7").replace(b"amd64", b"arm64") + content[600:]
        return content

    return change


BROKEN = {
    "empty": b"",
    "no tar": b"this is not an archive" * 100,
    "root file system": BASE,
    "damaged layer": repack(image_archive(BASE), _damage("layer")),
    "damaged config": repack(image_archive(BASE), _damage("config")),
    "layer missing": repack(
        image_archive(BASE), lambda name, data: None if name.endswith(digest_of(BASE)[7:]) else data
    ),
    "truncated": image_archive(BASE)[:4000],
    "truncated gzip": gzip.compress(image_archive(BASE))[:-20],
    "path out": tar_file(b"../evil", b"x") + image_archive(BASE),
    "bad manifest.json": tar_file(b"manifest.json", b"[1]") + END,
    "manifest.json is deep": tar_file(b"manifest.json", b"[" * 100_000) + END,
    "bad tag": tar_file(b"c", config(BASE)) + tar_file(b"l", BASE) + tar_file(
        b"manifest.json", b'[{"Config":"c","RepoTags":["../x"],"Layers":["l"]}]') + END,
    "config path out": tar_file(
        b"manifest.json", b'[{"Config":"../../etc/passwd","RepoTags":null,"Layers":[]}]') + END,
    "layer count": tar_file(b"c", config(BASE, TOP)) + tar_file(b"l", BASE) + tar_file(
        b"manifest.json", b'[{"Config":"c","RepoTags":null,"Layers":["l"]}]') + END,
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_archives_are_refused_and_leave_nothing(store: ImageStore, name: str) -> None:
    with pytest.raises(InvalidParameter):
        loaded(store, BROKEN[name])
    store.layers.collect()
    assert store.all() == []
    assert os.listdir(store.layers.directory) == []
    assert list(store.blobs.walk()) == []


def test_links_in_archives_are_followed_by_name_only(store: ImageStore) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in (("real/layer.tar", BASE), ("c.json", config(BASE))):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("x/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../real/layer.tar"
        tar.addfile(link)
        listing = json.dumps([{"Config": "c.json", "RepoTags": None, "Layers": ["x/layer.tar"]}])
        info = tarfile.TarInfo("manifest.json")
        info.size = len(listing)
        tar.addfile(info, io.BytesIO(listing.encode()))
    images, _ = loaded(store, out.getvalue())
    assert images[0].layers == (digest_of(BASE),)


def test_layers_are_extracted_while_the_archive_is_read(store: ImageStore) -> None:
    """The layer is complete on disk before the archive says what it is."""
    big = layer(**{f"f{n}": "x" * 300_000 for n in range(10)})
    data = image_archive(big, names=("app",))
    seen: list[str] = []

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > len(big) + 4096:
                until(lambda: "f0" in files())
                seen.extend(files())
            return super().read(min(size or -1, 4096))

    def files() -> list[str]:
        homes = Path(store.layers.directory).glob(".tmp-*/diff")
        return [name for home in homes for name in os.listdir(home)]

    load(store, Slow(data), lambda _: None)
    assert "f0" in seen
    assert store.resolve("app").layers == (digest_of(big),)


def test_what_no_image_needs_may_be_broken_and_is_dropped(store: ImageStore) -> None:
    """A stray file that looks like a layer, before and after the image's own."""
    broken = BASE[:512] + b"\xff" * 512 + BASE[1024:]
    stray = tar_file(b"stray.tar", broken) + tar_file(b"stray.gz", gzip.compress(BASE)[:-9] * 90)
    for data in (stray + image_archive(BASE), image_archive(TOP)[:-1024] + stray + END):
        loaded(store, data)
    assert len(store.all()) == 2
    assert len(os.listdir(store.layers.directory)) == 2


def test_a_layer_named_by_sha512(store: ImageStore) -> None:
    diff_id = "sha512:" + hashlib.sha512(BASE).hexdigest()
    made = json.loads(config(BASE)) | {"rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    listing = [{"Config": "c", "RepoTags": ["long:1"], "Layers": ["l"]}]
    files = {"l": gzip.compress(BASE), "c": dump(made), "manifest.json": json.dumps(listing)}
    tar = b"".join(
        tar_file(name.encode(), data if isinstance(data, bytes) else data.encode())
        for name, data in files.items()
    )
    [image], _ = loaded(store, tar + END)
    assert image.layers == (diff_id,)
    assert b"".join(store.layers.tar(diff_id)) == BASE


def test_only_the_images_of_a_platform_are_loaded(store: ImageStore) -> None:
    data = image_archive(BASE, names=("app",))
    with pytest.raises(NotFound, match="linux/arm64"):
        load(store, io.BytesIO(data), lambda _: None, platform=parse_platform("linux/arm64"))
    assert store.all() == []
    wanted = parse_platform('{"os":"linux","architecture":"amd64"}')
    assert len(load(store, io.BytesIO(data), lambda _: None, platform=wanted)) == 1


def test_a_known_layer_is_passed_over(store: ImageStore) -> None:
    loaded(store, image_archive(BASE, names=("app",)))
    again = repack(image_archive(BASE, TOP, names=("more",)), _damage("layer"))
    loaded(store, again)
    assert b"".join(store.layers.tar(digest_of(BASE))) == BASE


def test_a_round_trip_gives_the_same_bytes(store: ImageStore, tmp_path: Path) -> None:
    loaded(store, image_archive(BASE, TOP, names=("app:1", "other:2")))
    first = b"".join(save(store, ["app", "other:2"]))
    second_store = open_store(tmp_path / "second")
    loaded(second_store, first)
    assert b"".join(save(second_store, ["app", "other:2"])) == first
    assert second_store.resolve("app:1").id == second_store.resolve("other:2").id
    second_store.db.close()
    with pytest.raises(NotFound, match=r"No such image: missing:latest"):
        save(store, ["missing"])


def test_finding_by_name_digest_and_prefix(store: ImageStore) -> None:
    [image], _ = loaded(store, image_archive(BASE, names=("example.org:5000/a/b:x",)))
    digest = "sha256:" + "ab" * 32
    store.tag(image.id, parse(f"example.org:5000/a/b@{digest}"), "pull")
    for text in (image.id, image.id[7:], image.id[7:19], image.id[:20], "example.org:5000/a/b:x",
                 f"example.org:5000/a/b@{digest}", f"example.org:5000/a/b:x@{digest}"):  # fmt: skip
        assert store.resolve(text).id == image.id, text
    with pytest.raises(NotFound, match="No such image: b:latest"):
        store.resolve("b")
    with pytest.raises(InvalidParameter):
        store.resolve("UPPER")
    with pytest.raises(NotFound):
        store.resolve("sha256:" + "0" * 64)


def test_rmi_of_one_of_two_names_only_untags(store: ImageStore) -> None:
    loaded(store, image_archive(BASE, names=("app:1", "app:2")))
    assert remove(store, "app:1", nobody) == [{"Untagged": "app:1"}]
    assert store.resolve("app:2")


def test_rmi_of_the_last_name_deletes_layers_that_nobody_else_has(store: ImageStore) -> None:
    [both], _ = loaded(store, image_archive(BASE, TOP, names=("app",)))
    loaded(store, image_archive(BASE, names=("base",)))
    assert remove(store, "app", nobody) == [
        {"Untagged": "app:latest"},
        {"Deleted": both.id},
        {"Deleted": chain_id(both.layers)},
    ]
    assert not store.layers.has(digest_of(TOP))
    assert store.layers.has(digest_of(BASE))


def test_rmi_by_id_with_names_in_two_repositories_must_be_forced(store: ImageStore) -> None:
    [image], _ = loaded(store, image_archive(BASE, names=("one", "two")))
    short = image.id[7:19]
    with pytest.raises(Conflict) as caught:
        remove(store, short, nobody)
    assert str(caught.value) == (
        f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple"
        " repositories"
    )
    records = remove(store, short, nobody, force=True)
    assert {"Untagged": "one:latest"} in records
    assert {"Untagged": "two:latest"} in records
    assert {"Deleted": image.id} in records


@pytest.mark.parametrize("running", [True, False])
def test_rmi_of_an_image_in_use(store: ImageStore, running: bool) -> None:
    [image], _ = loaded(store, image_archive(BASE, names=("app",)))
    user = User("c" * 64, running)
    with pytest.raises(Conflict) as caught:
        remove(store, "app", lambda _: [user])
    assert str(caught.value) == (
        'conflict: unable to remove repository reference "app" (must force) - container'
        f" {'c' * 12} is using its referenced image {image.id[7:19]}"
    )
    kind, how = ("running", "cannot be") if running else ("stopped", "must be")
    with pytest.raises(Conflict) as caught:
        remove(store, image.id, lambda _: [user])
    assert f"({how} forced) - image is being used by {kind} container" in str(caught.value)
    if not running:
        store.layers.create_root("c", image.layers)
        remove(store, "app", lambda _: [user], force=True)
        assert store.find(image.id) is None
        assert store.layers.has(image.layers[0])  # the container still needs it
        store.layers.remove_root("c")
        store.layers.collect()
        assert not store.layers.has(image.layers[0])


def test_rmi_takes_untagged_parents_along(store: ImageStore) -> None:
    [base], _ = loaded(store, image_archive(BASE))
    loaded(store, image_archive(BASE, TOP))
    child = store.create(config(BASE, TOP, Labels={"x": "y"}), parent=base.id, local=True)
    store.tag(child.id, parse("child:1"))
    with pytest.raises(Conflict, match="image has dependent child images"):
        remove(store, base.id, nobody, force=True)
    records = remove(store, "child:1", nobody)
    assert {"Deleted": base.id} in records
    assert store.find(base.id) is None


def test_prune_dangling_and_all(store: ImageStore) -> None:
    loaded(store, image_archive(BASE, names=("app",)))
    loaded(store, image_archive(TOP, names=("app",)))
    loaded(store, image_archive(layer(z="used"), names=("used",)))
    used = store.resolve("used").id

    def users(image: str) -> list[User]:
        return [User("c", False)] if image == used else []

    report = prune_images(store, users, {})
    assert report["SpaceReclaimed"] == 2
    assert [next(iter(item)) for item in report["ImagesDeleted"]] == ["Deleted", "Deleted"]
    report = prune_images(store, users, {"dangling": ["false"]})
    assert {"Untagged": "app:latest"} in report["ImagesDeleted"]
    assert [image.id for image in store.all()] == [used]
    assert prune_images(store, users, {}) == {"ImagesDeleted": None, "SpaceReclaimed": 0}
    with pytest.raises(InvalidParameter, match="invalid filter 'color'"):
        prune_images(store, users, {"color": ["red"]})


def test_prune_takes_an_image_with_what_was_built_on_it(store: ImageStore) -> None:
    loaded(store, image_archive(BASE, TOP))
    for number in range(4):  # ids in every order
        labels = {"n": str(number)}
        names = (f"base:{number}", f"same:{number}")
        [base], _ = loaded(store, image_archive(BASE, names=names, Labels=labels))
        child = store.create(config(BASE, TOP, Labels=labels), parent=base.id, local=True)
        store.tag(child.id, parse(f"child:{number}"))
    prune_images(store, lambda _: [], {"dangling": ["false"]})
    assert list(store.all()) == []


def test_list_filters_and_shared_sizes(store: ImageStore) -> None:
    loaded(store, image_archive(BASE, names=("base:1",), created="2026-01-01T00:00:00Z"))
    loaded(store, image_archive(BASE, TOP, names=("ex.org/team/app:1",), Labels={"k": "v"}))
    loaded(store, image_archive(layer(d="x"), created="2026-02-01T00:00:00.5Z"))

    def tags(**filters: str) -> list[list[str]]:
        chosen = {key.rstrip("_"): [value] for key, value in filters.items()}
        return [entry["RepoTags"] for entry in list_images(store, filters=chosen)]

    assert tags() == [[], ["ex.org/team/app:1"], ["base:1"]]
    assert tags(dangling="true") == [[]]
    assert tags(dangling="false") == [["ex.org/team/app:1"], ["base:1"]]
    assert tags(label="k=v") == tags(label="k") == [["ex.org/team/app:1"]]
    assert tags(label="k=w") == []
    assert tags(reference="ex.org/*/app") == tags(reference="*/*/app:1") == [["ex.org/team/app:1"]]
    assert tags(reference="b*") == [["base:1"]]
    assert tags(before="ex.org/team/app:1") == [["base:1"]]
    assert tags(since="ex.org/team/app:1") == [[]]
    assert tags(until="2026-01-01T12:00:00") == [["base:1"]]
    sizes = {
        entry["RepoTags"][0]: (entry["Size"], entry["SharedSize"])
        for entry in list_images(store, filters={"dangling": ["false"]}, shared_size=True)
    }
    assert sizes == {"base:1": (2, 2), "ex.org/team/app:1": (6, 2)}


def test_inspect_and_history(store: ImageStore) -> None:
    run = {"Cmd": ["sh"], "Env": ["A=b"], "Labels": {"k": "v"}}
    [image], _ = loaded(store, image_archive(BASE, TOP, names=("app",), **run))
    view = views.inspect_view(store, image)
    always = {"Entrypoint": None, "OnBuild": None, "User": "", "Volumes": None, "WorkingDir": ""}
    assert view["Config"] == {**always, **run}
    assert view["RootFS"] == {"Type": "layers", "Layers": list(image.layers)}
    assert (view["Id"], view["RepoTags"], view["Size"]) == (image.id, ["app:latest"], 6)
    lines = views.history_view(store, image)
    assert [(line["Id"], line["CreatedBy"], line["Size"]) for line in lines] == [
        (image.id, "step 1", 4),
        ("<missing>", "step 0", 2),
    ]


def test_history_names_a_parent_at_the_step_that_made_it(store: ImageStore) -> None:
    [base], _ = loaded(store, image_archive(BASE))
    layers = (BASE, TOP, layer(c="3"))
    loaded(store, image_archive(*layers))
    image = store.create(config(*layers, created="2026-01-03T00:00:00Z"), parent=base.id)
    lines = views.history_view(store, image)
    assert [line["Id"] for line in lines] == [image.id, "<missing>", base.id]


def test_import_of_a_compressed_root(store: ImageStore) -> None:
    data = io.BytesIO(lzma.compress(BASE))
    image = import_image(store, data, run={"Cmd": ["x"]}, message="mine", target=parse("im:1"))
    assert store.resolve("im:1").layers == (digest_of(BASE),)
    assert image.config.history[0].comment == "mine"


def test_tag_history_and_rollback(store: ImageStore) -> None:
    [old], _ = loaded(store, image_archive(BASE, names=("app",)))
    [new], _ = loaded(store, image_archive(TOP, names=("app",)))
    assert [(event.image, event.origin) for event in tag_history(store, "app")] == [
        (new.id, "load"),
        (old.id, "load"),
    ]
    assert rollback(store, "app").id == old.id
    assert store.resolve("app").id == old.id
    assert tag_history(store, "app")[0].origin == "rollback"
    assert rollback(store, "app", new.id[7:19]).id == new.id
    prune_images(store, nobody, {})
    with pytest.raises(Conflict, match="was deleted"):
        rollback(store, "app")


def test_differences_between_images(store: ImageStore) -> None:
    [base], _ = loaded(store, image_archive(BASE))
    removed = layer(b="two", c="3")[: -len(END)] + tar_file(b".wh.a", b"") + END
    [both], _ = loaded(store, image_archive(BASE, removed))
    found = [
        (item.kind, item.path, item.before, item.after) for item in diff_images(store, base, both)
    ]
    assert found == [("D", "/a", 1, 0), ("C", "/b", 1, 3), ("A", "/c", 0, 1)]
    assert [item.path for item in layer_files(store, both, digest_of(BASE))] == ["/a", "/b"]
    assert list(diff_images(store, both, both)) == []


def test_check_finds_what_was_damaged_behind_our_back(tmp_path: Path) -> None:
    store = open_store(tmp_path / "data")
    [image], _ = loaded(store, image_archive(BASE, TOP, names=("app",)))
    Path(store.layers.path(image.layers[0]), "a").write_text("9")
    os.unlink(Path(store.layers.path(image.layers[1]), "c"))
    Path(store.blobs.path(image.id)).write_text("{}")
    report = check(store)
    assert sorted(problem.kind for problem in report.problems) == [
        "blob",
        "image",
        "layer",
        "layer",
    ]
    store.db.close()


def test_hello_is_the_same_image_every_time(store: ImageStore) -> None:
    assert hello.install(store).id == hello.install(store).id
    assert store.resolve("hello-world").size > 0


# Crashes ------------------------------------------------------------------------------------------

WORK = """
import sys, io
sys.path.insert(0, {here!r})
from pathlib import Path
from wherry.images.load import load
from wherry.images.remove import remove, prune_images
import test_image_store as t
store = t.open_store(Path({root!r}))
store.clean()
print("ready", flush=True)
while True:
    with open({archive!r}, "rb") as file:
        load(store, file, lambda _: None)
    store.tag(store.resolve("app").id, t.parse("second:1"))
    remove(store, "app", t.nobody)
    prune_images(store, t.nobody, {{"dangling": ["false"]}})
"""


def test_kill_at_any_moment_leaves_a_store_that_verifies(tmp_path: Path) -> None:
    pieces = [layer(**{f"f{n}-{i}": "x" * 3000 for i in range(60)}) for n in range(4)]
    (tmp_path / "image.tar").write_bytes(image_archive(*pieces, names=("app",)))
    root = tmp_path / "data"
    script = WORK.format(
        here=str(Path(__file__).parent), root=str(root), archive=str(tmp_path / "image.tar")
    )
    for turn in range(12):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.011 * turn * turn % 0.23)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        store = open_store(root)
        assert check(store).problems == ()
        store.clean()
        report = check(store)
        assert (report.problems, report.garbage) == ((), ())
        store.db.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 of 24 MB."""
    image, target = tmp_path / "disk", tmp_path / "small"
    target.mkdir()
    with open(image, "wb") as file:
        file.truncate(24 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, target], check=True)
    yield target
    subprocess.run(["umount", "--lazy", target], check=True)


def test_a_full_disk_fails_cleanly_and_can_be_repeated(small_disk: Path) -> None:
    store = open_store(small_disk / "data")
    loaded(store, image_archive(BASE, names=("small",)))
    noise = "".join(chr(33 + n % 90) for n in range(1 << 20))
    big = image_archive(layer(**{f"f{n}": noise for n in range(32)}), names=("big",))
    for _ in range(2):
        with pytest.raises(KernelError, match="no space left on device"):
            loaded(store, big)
        assert [image.tags[0].familiar for image in store.all()] == ["small:latest"]
        assert check(store).problems == ()
        assert len(os.listdir(store.layers.directory)) == 1
    loaded(store, image_archive(BASE, TOP, names=("other",)))
    assert check(store).problems == ()
    store.db.close()
