"""Demo content: people, organisations, and repositories with tiny images made in code."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from wherry.hub.access import Role
from wherry.hub.accounts.passwords import hash_password
from wherry.hub.demo_content import COMMENTS, REPOSITORIES, DemoRepository
from wherry.hub.demo_content import PEOPLE as PEOPLE
from wherry.hub.distribution.manifest import parse, read_config
from wherry.hub.hub import Hub
from wherry.hub.pulls import add_counts
from wherry.hub.records import blobs, organisations, repositories, social, users
from wherry.hub.records.repositories import Repository
from wherry.hub.registry import manifests, uploads
from wherry.hub.schema import repositories as repository_table
from wherry.hub.schema import tags as tag_table
from wherry.mediatypes import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST

PASSWORD = "wherry-demo"
_LAYER = f"{OCI_LAYER}+gzip"
_DAY = 86_400


@dataclass(frozen=True)
class Step:
    """One line of an image's history; ``files`` makes a layer of it."""

    command: str
    files: dict[str, bytes] | None = None


@dataclass(frozen=True)
class Image:
    """Everything that a push of one image sends."""

    manifest: bytes
    blobs: dict[str, bytes]

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return digest_of(self.manifest)


def digest_of(content: bytes) -> str:
    """The sha256 digest."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def make_layer(files: dict[str, bytes]) -> tuple[bytes, str]:
    """A gzipped tar of ``files`` (path to content) and the digest of the tar (diff id)."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for path, content in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            entry.mode = 0o755 if path.startswith(("bin/", "usr/bin/")) else 0o644
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), 6, mtime=0), digest_of(raw.getvalue())


def make_image(
    steps: list[Step],
    *,
    architecture: str = "amd64",
    config: dict[str, Any] | None = None,
    created: str = "2026-01-01T00:00:00Z",
) -> Image:
    """An OCI image of ``steps``: same arguments, same digest."""
    blobs: dict[str, bytes] = {}
    layers, diff_ids, history = [], [], []
    for step in steps:
        entry: dict[str, Any] = {"created": created, "created_by": step.command}
        if step.files is None:
            entry["empty_layer"] = True
        else:
            content, diff_id = make_layer(step.files)
            blobs[digest_of(content)] = content
            layers.append(_descriptor(content, _LAYER))
            diff_ids.append(diff_id)
        history.append(entry)
    image_config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "created": created,
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": history,
        }
    ).encode()
    blobs[digest_of(image_config)] = image_config
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _descriptor(image_config, OCI_CONFIG),
            "layers": layers,
        }
    ).encode()
    return Image(manifest, blobs)


def make_index(images: dict[str, Image]) -> bytes:
    """An index of images by architecture."""
    entries = [
        {
            **_descriptor(image.manifest, OCI_MANIFEST),
            "platform": {"os": "linux", "architecture": architecture},
        }
        for architecture, image in images.items()
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


def _descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


async def push_blob(hub: Hub, repository: Repository, content: bytes, actor: str) -> None:
    """Stores a blob the way a client's upload does."""

    async def chunks() -> AsyncIterator[bytes]:
        yield content

    upload = await uploads.begin(hub, repository, actor)
    await uploads.append(hub, upload, 0, chunks())
    await uploads.finish(hub, repository, upload, digest_of(content))


async def push_manifest(
    hub: Hub, repository: Repository, content: bytes, tags: tuple[str, ...], actor: str
) -> None:
    """Stores a manifest the way a client's push does."""
    parsed = parse(content, "")
    image = None
    if parsed.config is not None and parsed.kind == "image":
        found = await hub.db.read(blobs.find, repository.id, parsed.config.digest)
        assert found is not None
        chunks = hub.storage.open(found[0].location, 0, found[0].size)
        image = read_config(b"".join([chunk async for chunk in chunks]))
    push = manifests.Push(digest_of(content), content, parsed, image, tags, actor)
    await hub.db.write(manifests.store, repository, push, False)


async def push_image(
    hub: Hub, repository: Repository, image: Image, tags: tuple[str, ...], actor: str
) -> None:
    """Stores an image with everything it needs."""
    for content in image.blobs.values():
        await push_blob(hub, repository, content, actor)
    await push_manifest(hub, repository, image.manifest, tags, actor)


async def seed(hub: Hub) -> bool:
    """Fills an empty hub with the demo; False when there are accounts already."""
    if await hub.db.read(users.count):
        return False
    password = hash_password(PASSWORD)
    await hub.db.write(_people, password)
    chance = random.Random(2014)
    for demo in REPOSITORIES:
        repository = await hub.db.write(
            repositories.create, demo.name, private=demo.private, description=demo.description
        )
        await _push_versions(hub, repository, demo)
        await hub.db.write(_decorate, repository, demo, chance)
    return True


def _people(conn: Connection, password: str) -> None:
    found = {}
    for index, name in enumerate(PEOPLE):
        found[name] = users.create(conn, name, password, f"{name}@example.com", admin=index == 0)
    organisations.create(conn, "quayside", found["harbour"].id)
    owner = organisations.find(conn, "quayside")
    assert owner is not None
    organisations.change(
        conn,
        owner.id,
        display_name="Quayside Labs",
        description="Tools for people who load and unload things.",
        website="https://quayside.example.com",
        member_role=int(Role.READ),
    )
    organisations.set_member(conn, owner.id, found["brice"].id, manager=False)
    organisations.create_team(conn, owner.id, "crew")
    team = organisations.team(conn, owner.id, "crew")
    assert team is not None
    organisations.set_team_member(conn, team, found["brice"].id, True)


async def _push_versions(hub: Hub, repository: Repository, demo: DemoRepository) -> None:
    actor = "harbour" if repository.owner in ("library", "quayside") else repository.owner
    for age, version in enumerate(demo.versions):
        built = {
            architecture: make_image(
                _steps(demo, version, architecture),
                architecture=architecture,
                config=demo.config,
                created=f"2026-{max(1, 10 - len(demo.versions) + age):02d}-12T09:30:00Z",
            )
            for architecture in demo.architectures
        }
        latest = ("latest",) if version == demo.versions[-1] else ()
        if len(built) == 1:
            (image,) = built.values()
            await push_image(hub, repository, image, (version, *latest), actor)
            continue
        for image in built.values():
            await push_image(hub, repository, image, (), actor)
        await push_manifest(hub, repository, make_index(built), (version, *latest), actor)


def _steps(demo: DemoRepository, version: str, architecture: str) -> list[Step]:
    """A small base that all share, and above it what the repository adds."""
    noise = random.Random(f"{demo.base} {architecture}")
    base = Step(
        f"ADD {demo.base}-rootfs.tar /",
        {
            "etc/os-release": f'PRETTY_NAME="{demo.base} ({architecture})"\n'.encode(),
            "bin/base": noise.randbytes(demo.base_size),
        },
    )
    steps = [base]
    for command in demo.steps:
        text = command.replace("{version}", version)
        made = random.Random(f"{demo.name} {text} {architecture}")
        size = made.randrange(2_000, 90_000)
        changes = command.startswith(("RUN", "COPY", "ADD"))
        files = {f"usr/share/{made.randrange(10**6)}": made.randbytes(size)} if changes else None
        steps.append(Step(text, files))
    return steps


def _decorate(
    conn: Connection, repository: Repository, demo: DemoRepository, chance: random.Random
) -> None:
    """README, stars, comments, a month of pulls, and pushes that lie some days back."""
    repositories.change(
        conn,
        repository.id,
        readme=demo.readme,
        automated=demo.automated,
        immutable_tags=demo.immutable,
    )
    people = [user for name in PEOPLE if (user := users.by_name(conn, name)) is not None]
    for user in people[: demo.stars]:
        social.set_star(conn, repository.id, user.id, True)
    for author, body in COMMENTS.get(demo.name, ()):
        user = users.by_name(conn, author)
        assert user is not None
        social.add_comment(conn, repository.id, user.id, body)
    today = int(time.time()) // _DAY
    counts = {
        (repository.id, today - days): int(demo.pulls * (40 - days) / 40 * chance.uniform(0.4, 1.3))
        for days in range(30)
    }
    add_counts(conn, {key: count for key, count in counts.items() if count})
    names = conn.execute(select(tag_table.c.name).where(tag_table.c.repository_id == repository.id))
    now = int(time.time())
    for row in names.all():
        position = demo.versions.index(row.name) if row.name in demo.versions else -1
        weeks = 0 if position < 0 else len(demo.versions) - 1 - position
        moment = now - demo.days_ago * _DAY - weeks * 9 * _DAY - chance.randrange(40_000)
        conn.execute(
            tag_table.update()
            .where(tag_table.c.repository_id == repository.id, tag_table.c.name == row.name)
            .values(updated=moment)
        )
    conn.execute(
        repository_table.update()
        .where(repository_table.c.id == repository.id)
        .values(pushed=now - demo.days_ago * _DAY - chance.randrange(40_000))
    )
