"""skopeo, podman and buildah against a hub: login, push, pull, search, over HTTP and TLS."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from wherry.hub.demo import Step, digest_of, make_image

from .conftest import RunningHub, StartHub, add_users

PASSWORD = "correct horse"


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An OCI image layout with one small image."""
    image = make_image([Step("ADD x", {"etc/x": b"x" * 5000}), Step('CMD ["x"]')])
    folder = tmp_path / "layout"
    (folder / "blobs/sha256").mkdir(parents=True)
    for content in (image.manifest, *image.blobs.values()):
        (folder / "blobs/sha256" / digest_of(content)[7:]).write_bytes(content)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": image.digest,
        "size": len(image.manifest),
        "annotations": {"org.opencontainers.image.ref.name": "latest"},
    }
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return folder


def run(*command: str | Path, code: int = 0) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode == 0) == (code == 0), f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture
def hub(start_hub: StartHub, tmp_path: Path) -> RunningHub:
    (tmp_path / "hub").mkdir()
    add_users(f"sqlite:///{tmp_path}/hub/hub.db", PASSWORD, "root", "ann", "eve")
    return start_hub()


def login(hub: RunningHub, auth: Path, user: str, password: str = PASSWORD, code: int = 0) -> str:
    return run(
        "skopeo", "login", "--tls-verify=false", "--authfile", auth,
        "-u", user, "-p", password, hub.host, code=code,
    )  # fmt: skip


def test_skopeo_logs_in_pushes_and_pulls(hub: RunningHub, layout: Path, tmp_path: Path) -> None:
    auth, image = tmp_path / "auth.json", f"docker://{hub.host}/ann/app:1"
    assert "invalid username/password" in login(hub, auth, "ann", "wrong", code=1)
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}:latest", image, code=1)
    login(hub, auth, "ann")
    run(
        "skopeo",
        "copy",
        "--dest-tls-verify=false",
        "--authfile",
        auth,
        f"oci:{layout}:latest",
        image,
    )
    back = tmp_path / "back"
    run("skopeo", "copy", "--src-tls-verify=false", image, f"oci:{back}:latest")
    assert (back / "index.json").exists()
    listed = json.loads(
        run("skopeo", "list-tags", "--tls-verify=false", f"docker://{hub.host}/ann/app")
    )
    assert listed["Tags"] == ["1"]


def test_other_users_cannot_push(hub: RunningHub, layout: Path, tmp_path: Path) -> None:
    auth = tmp_path / "auth.json"
    login(hub, auth, "eve")
    output = run(
        "skopeo", "copy", "--dest-tls-verify=false", "--authfile", auth,
        f"oci:{layout}:latest", f"docker://{hub.host}/ann/app:1", code=1,
    )  # fmt: skip
    assert "denied" in output


def test_administrators_make_owners_by_pushing(
    hub: RunningHub, layout: Path, tmp_path: Path
) -> None:
    auth = tmp_path / "auth.json"
    login(hub, auth, "root")
    target = f"docker://{hub.host}/brandnew/deep/path:1"
    run(
        "skopeo",
        "copy",
        "--dest-tls-verify=false",
        "--authfile",
        auth,
        f"oci:{layout}:latest",
        target,
    )
    run("skopeo", "delete", "--tls-verify=false", "--authfile", auth, target)
    run("skopeo", "inspect", "--tls-verify=false", "--authfile", auth, target, code=1)


@pytest.mark.root
@pytest.mark.parametrize("tool", ["podman", "buildah"])
def test_podman_and_buildah(hub: RunningHub, layout: Path, tmp_path: Path, tool: str) -> None:
    storage = Path(tempfile.mkdtemp(prefix="hub-"))  # podman wants short paths
    folders = ["--root", storage / "root", "--runroot", storage / "run"]
    base = [tool, *folders, "--storage-driver", "vfs"]
    auth, name = tmp_path / "auth.json", f"{hub.host}/ann/{tool}:1"
    run(
        *base,
        "login",
        "--tls-verify=false",
        "--authfile",
        auth,
        "-u",
        "ann",
        "-p",
        PASSWORD,
        hub.host,
    )
    run(*base, "pull", "-q", f"oci:{layout}:latest")
    images = json.loads(
        run(*base, "images", "--format", "json")
        if tool == "podman"
        else run(*base, "images", "--json")
    )
    identifier = images[0].get("Id") or images[0]["id"]
    run(*base, "tag", identifier, name)
    run(*base, "push", "--tls-verify=false", "--authfile", auth, name)
    run(*base, "rmi", "-f", identifier)
    run(*base, "pull", "--tls-verify=false", name)
    if tool == "podman":
        found = run(*base, "search", "--tls-verify=false", f"{hub.host}/podman")
        assert "ann/podman" in found
    shutil.rmtree(storage)


def test_over_tls(start_hub: StartHub, layout: Path, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "ca.crt"
    run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=127.0.0.1",
        "-addext", "subjectAltName=IP:127.0.0.1",
    )  # fmt: skip
    (tmp_path / "hub").mkdir()
    add_users(f"sqlite:///{tmp_path}/hub/hub.db", PASSWORD, "root", "ann")
    hub = start_hub("--tls-cert", str(certificate), "--tls-key", str(key), scheme="https")
    target = f"docker://{hub.host}/ann/app:1"
    common = ("--dest-creds", f"ann:{PASSWORD}")
    trusted = ("--dest-cert-dir", str(tmp_path))
    run("skopeo", "copy", *common, f"oci:{layout}:latest", target, code=1)
    key.rename(tmp_path / "key")
    run("skopeo", "copy", *common, *trusted, f"oci:{layout}:latest", target)
    run("skopeo", "copy", "--src-cert-dir", tmp_path, target, f"dir:{tmp_path / 'out'}")


def test_skopeo_through_a_mirror(start_hub: StartHub, layout: Path, tmp_path: Path) -> None:
    """A mirror that the hub logs in for: its tags and images, for those who may see them."""
    for name in ("far", "near"):
        (tmp_path / name).mkdir()
        add_users(f"sqlite:///{tmp_path}/{name}/hub.db", PASSWORD, "root", "ann", "eve")
    far = start_hub(data=tmp_path / "far")
    common = ("--dest-tls-verify=false", "--dest-creds", f"ann:{PASSWORD}")
    for tag in ("1", "2"):
        target = f"docker://{far.host}/ann/app:{tag}"
        run("skopeo", "copy", *common, f"oci:{layout}:latest", target)
    config = tmp_path / "near.toml"
    config.write_text(
        f'[[upstreams]]\nowner = "mirror"\nurl = "{far.url}"\n'
        f'username = "ann"\npassword = "{PASSWORD}"\n'
    )
    near = start_hub("--config", str(config), data=tmp_path / "near")
    name = f"docker://{near.host}/mirror/ann/app"
    run("skopeo", "list-tags", "--tls-verify=false", "--creds", f"eve:{PASSWORD}", name, code=1)
    creds = ("--creds", f"root:{PASSWORD}")
    listed = run("skopeo", "list-tags", "--tls-verify=false", *creds, name)
    assert json.loads(listed)["Tags"] == ["1", "2"]
    source = ("--src-tls-verify=false", "--src-creds", f"root:{PASSWORD}")
    run("skopeo", "copy", *source, f"{name}:2", f"oci:{tmp_path / 'back'}:latest")
    run("skopeo", "inspect", "--tls-verify=false", f"{name}:2", code=1)
