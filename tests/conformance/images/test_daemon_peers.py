"""A running engine between other tools: buildah's images run here, skopeo copies both ways."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.daemon import Daemon
from tests.images import busybox_archive

pytestmark = pytest.mark.root


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def engine() -> Iterator[Daemon]:
    with Daemon() as daemon:
        docker(daemon, "load", "-i", str(busybox_archive()))
        yield daemon


def docker(daemon: Daemon, *arguments: str) -> str:
    return run("docker", "-H", f"unix://{daemon.socket}", *arguments)


def refused(daemon: Daemon, *arguments: str) -> str:
    done = subprocess.run(
        ["docker", "-H", f"unix://{daemon.socket}", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode
    return done.stderr


def test_skopeo_copies_from_and_to_the_engine(engine: Daemon, tmp_path: Path) -> None:
    skopeo = ["skopeo", "copy", "--quiet", "--insecure-policy"]
    host = f"unix://{engine.socket}"
    kept = f"oci:{tmp_path / 'kept'}:box"
    run(*skopeo, "--src-daemon-host", host, "docker-daemon:busybox:latest", kept)
    run(*skopeo, "--dest-daemon-host", host, kept, "docker-daemon:from/skopeo:1")
    inspect = ("image", "inspect", "-f", "{{json .RootFS.Layers}}")
    assert docker(engine, *inspect, "from/skopeo:1") == docker(engine, *inspect, "busybox")
    assert docker(engine, "run", "--rm", "--network=none", "from/skopeo:1", "echo", "hi") == "hi\n"


@pytest.fixture(scope="module")
def buildah() -> Iterator[list[str]]:
    """buildah with a storage of its own, where an image ``made`` lies."""
    folder = tempfile.mkdtemp(prefix="wherry-buildah-", dir="/var/tmp")
    command = ["buildah", "--root", f"{folder}/root", "--runroot", f"{folder}/run",
               "--storage-driver", "vfs"]  # fmt: skip
    try:
        run(*command, "pull", "-q", "--policy", "never", f"docker-archive:{busybox_archive()}")
        work = run(*command, "from", "--pull-never", "busybox").strip()
        Path(folder, "file").write_text("by buildah\n")
        run(*command, "copy", "-q", work, f"{folder}/file", "/etc/made")
        run(*command, "config", "--cmd", "cat /etc/made", "--label", "maker=buildah", work)
        run(*command, "commit", "-q", "--squash=false", work, "made")
        yield command
    finally:
        subprocess.run([*command, "rm", "-a"], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_images_of_buildah_load_and_run(
    engine: Daemon, buildah: list[str], tmp_path: Path, form: str
) -> None:
    archive = tmp_path / "made.tar"
    name = f"localhost/made:{form}"
    run(*buildah, "push", "-q", "made", f"{form}:{archive}:{name}")
    assert name in docker(engine, "load", "-i", str(archive))
    assert docker(engine, "run", "--rm", "--network=none", name) == "by buildah\n"
    assert "buildah" in docker(engine, "image", "inspect", "-f", "{{.Config.Labels}}", name)


def test_platforms_are_asked_for_as_the_client_asks(engine: Daemon, tmp_path: Path) -> None:
    """The client sends ``--platform`` as JSON; an image for another platform is not found."""
    here = "linux/" + {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    saved = str(tmp_path / "saved.tar")
    for command in (("save", "-o", saved, "busybox"), ("image", "inspect", "busybox"),
                    ("history", "busybox"), ("load", "-i", saved)):  # fmt: skip
        name, *rest = command
        words = ["image", "inspect"] if name == "image" else [name]
        rest = rest[1:] if name == "image" else rest
        docker(engine, *words, "--platform", here, *rest)
        assert "linux/s390x" in refused(engine, *words, "--platform", "linux/s390x", *rest)
    docker(engine, "tag", "busybox", "platform:1")
    assert "linux/s390x" in refused(engine, "rmi", "--platform", "linux/s390x", "platform:1")
    assert "Untagged" in docker(engine, "rmi", "--platform", here, "platform:1")
    listed = json.loads(docker(engine, "images", "--format", "json", "busybox").splitlines()[0])
    assert listed["Tag"] == "latest"
