"""The registry client against Debian's docker-registry, on good and on bad lines."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.registries import breaking_proxy, docker_registry, free_port

from wherry.errors import InvalidParameter, NotFound, Unauthorized, Unavailable
from wherry.registry.credentials import ANONYMOUS, Credentials
from wherry.registry.download import Wanted, download
from wherry.registry.hosts import Endpoint, RegistryOptions
from wherry.registry.repository import Repository
from wherry.registry.session import RegistrySession, open_sessions
from wherry.registry.upload import upload

HTPASSWD = "user:$2y$04$7pgNTAL5CAtPS4lKUt.Unew/4Tw//C5MJHuZFxve62iJtwaKDtVr2\n"
"""The account ``user`` with the password ``secret``, as htpasswd -B writes it."""
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def session_to(address: str, credentials: Credentials = ANONYMOUS) -> RegistrySession:
    endpoint = Endpoint(f"http://{address}", address, verify=False)
    return RegistrySession(endpoint, credentials, RegistryOptions())


async def put(address: str, path: str, data: bytes) -> Wanted:
    async with session_to(address) as session:
        await upload(Repository(session, path, push=True), digest(data), lambda: io.BytesIO(data))
    return Wanted(digest(data), len(data))


async def fetch(address: str, path: str, wanted: Wanted, partial: Path) -> bytes:
    async with session_to(address) as session:
        pieces = download(Repository(session, path), wanted, str(partial))
        return b"".join([piece async for piece in pieces])


async def test_a_blob_goes_there_and_back(registry: str, tmp_path: Path) -> None:
    data = os.urandom(20 << 20)
    wanted = await put(registry, "round/trip", data)
    assert await fetch(registry, "round/trip", wanted, tmp_path / "part") == data
    assert (tmp_path / "part").read_bytes() == data


async def test_a_known_blob_is_not_sent_and_another_repository_s_is_mounted(registry: str) -> None:
    data = os.urandom(1 << 20)
    wanted = await put(registry, "mount/source", data)

    def never() -> io.BytesIO:
        raise AssertionError("the blob must not be read")

    async with session_to(registry) as session:
        source = Repository(session, "mount/source", push=True)
        assert await upload(source, wanted.digest, never) == "exists"
        target = Repository(session, "mount/target", push=True)
        answer = await upload(target, wanted.digest, never, sources=["mount/source"])
        assert answer == "mounted from mount/source"
        assert await target.has_blob(wanted.digest)


async def test_manifests_and_tags(registry: str) -> None:
    config = b"{}"
    wanted = await put(registry, "man/ifest", config)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": wanted.digest,
                "size": wanted.size,
            },
            "layers": [],
        }
    ).encode()
    async with session_to(registry) as session:
        repository = Repository(session, "man/ifest", push=True)
        for number in range(5):
            await repository.put_manifest(f"v{number}", OCI_MANIFEST, manifest)
        got = await repository.manifest("v3")
        assert (got.data, got.media_type, got.digest) == (manifest, OCI_MANIFEST, digest(manifest))
        assert (await repository.manifest(got.digest)).data == manifest
        assert await repository.resolve("v1") == (got.digest, OCI_MANIFEST, len(manifest))
        assert await repository.resolve("nosuch") is None
        assert sorted(await repository.tags()) == [f"v{number}" for number in range(5)]
        with pytest.raises(NotFound, match="manifest unknown"):
            await repository.manifest("nosuch")


async def test_a_line_that_breaks_costs_no_byte_twice(registry: str, tmp_path: Path) -> None:
    data = os.urandom(12 << 20)
    wanted = await put(registry, "broken/line", data)
    chance = random.Random(1)
    async with breaking_proxy(registry, lambda: chance.randrange(1 << 19, 2 << 20)) as (proxy, got):
        assert await fetch(proxy, "broken/line", wanted, tmp_path / "part") == data
    assert len(got) > 5
    # What lay in the sockets' buffers when a line was cut may come twice; whole layers never do.
    assert sum(got) < len(data) * 1.5


async def test_a_cancelled_download_goes_on_where_it_was(registry: str, tmp_path: Path) -> None:
    data = os.urandom(8 << 20)
    wanted = await put(registry, "cancelled/one", data)
    async with session_to(registry) as session:
        pieces = download(Repository(session, "cancelled/one"), wanted, str(tmp_path / "part"))
        seen = 0
        async for piece in pieces:
            seen += len(piece)
            if seen > 4 << 20:
                break
        await pieces.aclose()  # type: ignore[attr-defined]
    held = (tmp_path / "part").stat().st_size
    assert held > 3 << 20
    async with breaking_proxy(registry, lambda: None) as (proxy, got):
        assert await fetch(proxy, "cancelled/one", wanted, tmp_path / "part") == data
    assert sum(got) < len(data) - held + (1 << 20)


async def test_an_upload_over_a_breaking_line_arrives(registry: str) -> None:
    data = os.urandom(30 << 20)
    budgets = iter([None, 100, 100, 100])
    async with breaking_proxy(registry, lambda: next(budgets, None)) as (proxy, _):
        await put(proxy, "broken/upload", data)
    async with session_to(registry) as session:
        assert await Repository(session, "broken/upload").has_blob(digest(data))


@pytest.mark.parametrize("lie", ["digest", "short", "long"])
async def test_a_wrong_blob_is_refused_and_not_kept(
    registry: str, tmp_path: Path, lie: str
) -> None:
    data = os.urandom(1 << 20)
    right = await put(registry, f"lies/{lie}", data)
    wanted = {
        "digest": Wanted(right.digest, right.size),
        "short": Wanted(right.digest, right.size - 1),
        "long": Wanted(right.digest, right.size + 1),
    }[lie]
    partial = tmp_path / "part"
    if lie == "digest":
        partial.write_bytes(b"x" * 1000)
    if lie == "long":
        with pytest.raises(Unavailable, match="stopped at byte"):
            await fetch(registry, f"lies/{lie}", wanted, partial)
        return
    with pytest.raises(InvalidParameter, match="blob"):
        await fetch(registry, f"lies/{lie}", wanted, partial)
    assert not partial.exists()


async def test_a_dead_registry_is_named(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable, match=address):
        async for _ in open_sessions(address, RegistryOptions()):
            pass


async def test_basic_accounts(tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    extra = f"auth: {{htpasswd: {{realm: r, path: {tmp_path}/htpasswd}}}}"
    with docker_registry(tmp_path, extra) as address:
        async with session_to(address, Credentials("user", "secret")) as session:
            await session.ping()
            assert await Repository(session, "x/y").resolve("latest") is None
        async with session_to(address, Credentials("user", "wrong")) as session:
            with pytest.raises(Unauthorized):
                await session.ping()
        async with session_to(address) as session:
            with pytest.raises(Unauthorized, match="no basic auth credentials"):
                await session.ping()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Key and self-signed certificate of ``localhost``."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return key, certificate


async def test_a_registry_with_its_own_authority(tmp_path: Path) -> None:
    key, certificate = make_certificate(tmp_path)
    extra = f"  tls: {{certificate: {certificate}, key: {key}}}"
    with docker_registry(tmp_path, extra) as address:
        folder = tmp_path / "certs.d" / address
        endpoint = Endpoint(f"https://{address}", address)
        options = RegistryOptions(certificate_folders=(str(tmp_path / "certs.d"),))
        async with RegistrySession(endpoint, ANONYMOUS, options) as session:
            with pytest.raises(Unavailable, match="certificate"):
                await session.ping()
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes(certificate.read_bytes())
        async with RegistrySession(endpoint, ANONYMOUS, options) as session:
            await session.ping()
