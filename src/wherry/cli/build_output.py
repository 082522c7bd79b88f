"""What ``wherry build`` does with a built image: write it out, push it, tell programs of it."""

from __future__ import annotations

import json
import os

from wherry.cli import references
from wherry.cli.archives import extract
from wherry.cli.auth import header
from wherry.cli.errors import CliError
from wherry.cli.files import save_stream
from wherry.cli.progress import draw
from wherry.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wherry.cli.build_options import Export
    from wherry.cli.session import Session

CACHE_FILE = "cache.tar"


def export(session: Session, image: str, tags: Sequence[str], wanted: Export) -> None:
    """Carry out one ``--output``; raises CliError."""
    if wanted.kind in ("local", "tar"):
        _files(session, image, wanted)
    elif wanted.destination:
        names = [*tags, *wanted.names] or [image]
        data = session.client.request("GET", "/images/get", query={"names": names})
        save_stream(data, "" if wanted.destination == "-" else wanted.destination)
    if wanted.push:
        names = [*wanted.names, *tags]
        if not names:
            raise CliError("tag is needed when pushing to registry")
        for name in names:
            push(session, name)


def push(session: Session, name: str) -> None:
    """Send a tagged image to its registry."""
    repository, tag, _ = references.split(name)
    path = f"/images/{quote(repository, '/:')}/push"
    query = {"tag": tag or "latest"}
    draw(session.client.stream("POST", path, query=query, headers=header(session.config, name)))


def _files(session: Session, image: str, wanted: Export) -> None:
    """The image's files, by way of a container that never starts."""
    # An image without a command needs some word; nothing executes it.
    body = {"Image": image, "Cmd": ["none"], "NetworkDisabled": True}
    made = session.client.call("POST", "/containers/create", body=body)
    path = f"/containers/{made['Id']}"
    try:
        data: Iterable[bytes] = session.client.request("GET", f"{path}/export")
        if wanted.kind == "tar":
            save_stream(data, "" if wanted.destination == "-" else wanted.destination)
        else:
            os.makedirs(wanted.destination, exist_ok=True)
            extract(data, os.path.join(wanted.destination, ""), whole=False)
    finally:
        session.client.call("DELETE", path, query={"force": True})


def load_cache(session: Session, directory: str) -> str | None:
    """Bring a local cache into the engine; returns its name, None when there is none."""
    path = os.path.join(directory, CACHE_FILE)
    try:
        file = open(path, "rb")  # noqa: SIM115  closed below
    except OSError as error:
        session.warn(f"cache from {directory}: {error.strerror}")
        return None
    name = ""
    with file:
        body = iter(lambda: file.read(1 << 18), b"")
        for message in session.client.stream("POST", "/images/load", body=body):
            text = str(message.get("stream", ""))
            if text.startswith("Loaded image: "):
                name = text.removeprefix("Loaded image: ").strip()
    return name or None


def save_cache(session: Session, name: str, directory: str) -> None:
    """Write a cache image to a directory and remove it from the engine."""
    os.makedirs(directory, exist_ok=True)
    data = session.client.request("GET", "/images/get", query={"names": [name]})
    save_stream(data, os.path.join(directory, CACHE_FILE))
    drop_cache(session, name)


def drop_cache(session: Session, name: str) -> None:
    """Remove a cache image; the steps that it brought stay."""
    session.client.call("DELETE", f"/images/{quote(name, '/:')}")


def write_metadata(path: str, image: str, tags: Sequence[str]) -> None:
    """``--metadata-file``, with the keys of `docker buildx build`."""
    value = {"containerimage.config.digest": image, "containerimage.digest": image}
    if tags:
        value["image.name"] = ",".join(tags)
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=2) + "\n")
