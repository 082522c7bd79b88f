"""Archives go to docker.io, podman and skopeo and come back: the same ids, the same bytes."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.images import busybox_archive, debian_archive

from wherry.images.check import check
from wherry.images.load import load
from wherry.images.reference import parse
from wherry.images.save import save
from wherry.images.store import Image, ImageStore
from wherry.storage.blobs import BlobStore
from wherry.storage.layers import LayerStore
from wherry.storage.statedb import StateDB

pytestmark = pytest.mark.root


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return str(done.stdout)


def open_store(root: Path) -> ImageStore:
    root.mkdir()
    db = StateDB(str(root / "state.db"))
    return ImageStore(db, BlobStore(str(root)), LayerStore(db, str(root)))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageStore]:
    """A store with busybox, and ``two:layers``: busybox with a layer of awkward files."""
    opened = open_store(tmp_path_factory.mktemp("peers") / "data")
    with open(busybox_archive(), "rb") as file:
        [base] = load(opened, file, lambda _: None)
    _add_layer(opened, base)
    yield opened
    assert check(opened).problems == ()
    opened.db.close()


def _add_layer(store: ImageStore, base: Image) -> None:
    store.layers.create_root("work", base.layers)
    with store.layers.driver.mounted("work", base.layers) as root:
        os.unlink(f"{root}/bin/vi")
        shutil.rmtree(f"{root}/var")
        os.makedirs(f"{root}/var/new")
        Path(root, "etc", "ü" * 60, "l" * 120).mkdir(parents=True)
        Path(root, "etc/data").write_bytes(os.urandom(3_000_000))
        os.link(f"{root}/etc/data", f"{root}/etc/data2")
        os.setxattr(f"{root}/etc/data", "user.note", b"kept")
        os.symlink("/etc/data", f"{root}/etc/link")
        os.chown(f"{root}/etc/data", 1234, 70000)
        os.mkfifo(f"{root}/etc/pipe")
    with store.layers.lease() as protect:
        layer = store.layers.commit("work", base.layers, keep=False, protect=protect)
        config = dict(base.config.raw)
        config["rootfs"] = {"type": "layers", "diff_ids": [*base.layers, layer.diff_id]}
        config["history"] = [*config["history"], {"created_by": "by hand"}]
        image = store.create(json.dumps(config).encode(), parent=base.id, local=True)
    store.tag(image.id, parse("two:layers"))


@pytest.fixture(scope="module")
def archive(store: ImageStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "two.tar"
    with open(path, "wb") as file:
        file.writelines(save(store, ["two:layers"]))
    return path


@pytest.fixture(scope="module")
def dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A dockerd of Debian's docker.io with a data root of its own: the client's environment."""
    program = shutil.which("dockerd")
    if program is None:
        pytest.skip("docker.io is not installed")
    root = Path("/var/tmp") / f"wherry-test-dockerd-{os.getpid()}"
    socket = f"unix://{root}.sock"
    log = (tmp_path_factory.mktemp("dockerd") / "log").open("wb")
    process = subprocess.Popen(
        [program, "--data-root", root, "--exec-root", f"{root}.exec", "--pidfile", f"{root}.pid",
         "-H", socket, "--bridge", "none", "--iptables=false"],
        stdout=log, stderr=log,
    )  # fmt: skip
    environment = os.environ | {"DOCKER_HOST": socket}
    while subprocess.run(["docker", "version"], env=environment, capture_output=True).returncode:
        assert process.poll() is None, "dockerd does not start"
        time.sleep(0.2)
    yield environment
    process.terminate()
    process.wait()
    log.close()
    for path in (root, Path(f"{root}.exec")):
        shutil.rmtree(path, ignore_errors=True)
    Path(f"{root}.sock").unlink(missing_ok=True)


def load_back(tmp_path: Path, data: bytes) -> Image:
    other = open_store(tmp_path / "back")
    [image] = load(other, io.BytesIO(data), lambda _: None)
    assert check(other).problems == ()
    other.db.close()
    return image


def test_docker_loads_and_saves(
    store: ImageStore, archive: Path, dockerd: dict[str, str], tmp_path: Path
) -> None:
    ours = store.resolve("two:layers")
    assert "Loaded image: two:layers" in run("docker", "load", "-i", archive, env=dockerd)
    inspected = json.loads(run("docker", "image", "inspect", "two:layers", env=dockerd))[0]
    assert inspected["Id"] == ours.id
    assert inspected["RootFS"]["Layers"] == list(ours.layers)
    assert inspected["Size"] == ours.size
    back = tmp_path / "docker.tar"
    run("docker", "save", "-o", back, "two:layers", env=dockerd)
    image = load_back(tmp_path, back.read_bytes())
    assert (image.id, image.layers) == (ours.id, ours.layers)
    listing = "ls -ln /etc/data /etc/data2; cat /etc/link | md5sum; ls /var /bin/vi"
    out = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", "two:layers", "sh", "-c", listing],
        env=dockerd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "1234" in out.stdout
    assert "70000" in out.stdout
    assert "/bin/vi" in out.stderr


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_skopeo_reads_both_forms_and_writes_them(
    store: ImageStore, archive: Path, tmp_path: Path, form: str
) -> None:
    ours = store.resolve("two:layers")
    source = f"{form}:{archive}"
    config = json.loads(run("skopeo", "inspect", "--config", "--raw", source))
    assert config["rootfs"]["diff_ids"] == list(ours.layers)
    back = tmp_path / "back.tar"
    run("skopeo", "copy", "--insecure-policy", source, f"docker-archive:{back}:two:layers")
    image = load_back(tmp_path, back.read_bytes())
    assert (image.id, image.layers) == (ours.id, ours.layers)
    assert [tag.familiar for tag in image.tags] == ["two:layers"]


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_an_oci_archive_of_skopeo_with_compressed_layers(
    store: ImageStore, archive: Path, tmp_path: Path
) -> None:
    back = tmp_path / "oci.tar"
    target = f"oci-archive:{back}:example.org/two:layers"
    run("skopeo", "copy", "--insecure-policy", f"docker-archive:{archive}", target)
    image = load_back(tmp_path, back.read_bytes())
    assert image.layers == store.resolve("two:layers").layers


@pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed")
def test_podman_loads_and_saves(store: ImageStore, archive: Path, tmp_path: Path) -> None:
    ours = store.resolve("two:layers")
    short = Path(tempfile.mkdtemp(prefix="wherry-podman-", dir="/var/tmp"))
    podman = ["podman", "--root", short / "root", "--runroot", short / "run",
              "--storage-driver", "vfs"]  # fmt: skip
    try:
        assert "two:layers" in run(*podman, "load", "-i", archive)
        found = json.loads(run(*podman, "image", "inspect", "two:layers"))[0]
        assert f"sha256:{found['Id']}" == ours.id
        back = tmp_path / "podman.tar"
        run(*podman, "save", "-o", back, "two:layers")
        image = load_back(tmp_path, back.read_bytes())
        assert (image.id, image.layers) == (ours.id, ours.layers)
    finally:
        subprocess.run([*podman, "system", "reset", "-f"], capture_output=True, check=False)
        shutil.rmtree(short, ignore_errors=True)


def test_a_debian_root_round_trip_with_flat_memory(tmp_path: Path) -> None:
    opened = open_store(tmp_path / "debian")
    with open(debian_archive(), "rb") as file:
        [image, *_] = load(opened, file, lambda _: None)
    before = _peak_memory()
    size = sum(len(piece) for piece in save(opened, ["debian"]))
    assert size > image.size
    assert check(opened).problems == ()
    assert _peak_memory() - before < 64 << 20
    opened.db.close()


def _peak_memory() -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        [line] = [line for line in file if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
