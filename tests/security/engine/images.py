"""Images that mean harm: busybox with a config of one's own, or a layer of one's own."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any

from tests.images import busybox_archive


def _parts() -> tuple[bytes, dict[str, Any]]:
    """Layer and config of busybox."""
    with tarfile.open(busybox_archive()) as archive:

        def read(name: str) -> bytes:
            file = archive.extractfile(name)
            assert file is not None
            return file.read()

        described = json.loads(read("manifest.json"))[0]
        return read(described["Layers"][0]), json.loads(read(described["Config"]))


def layer(entries: Mapping[str, tarfile.TarInfo | bytes]) -> bytes:
    """A layer: regular files by their content, or whatever the entry says."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, entry in entries.items():
            member = entry if isinstance(entry, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.name = name
            content = entry if isinstance(entry, bytes) else b""
            if isinstance(entry, bytes):
                member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


def special(kind: bytes, target: str = "", device: tuple[int, int] = (0, 0)) -> tarfile.TarInfo:
    """An entry that is no regular file."""
    member = tarfile.TarInfo()
    member.type, member.linkname, member.mode = kind, target, 0o777
    member.devmajor, member.devminor = device
    return member


def image(name: str, config: Mapping[str, Any] | None = None, extra: bytes = b"") -> bytes:
    """An archive for ``POST /images/load``: busybox, ``config`` over its own, ``extra`` a layer."""
    base, document = _parts()
    document["config"] = {**document.get("config", {}), **(config or {})}
    layers = [base, extra] if extra else [base]
    document["rootfs"]["diff_ids"] = [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in layers]
    document.pop("history", None)
    manifest = [
        {
            "Config": "config.json",
            "RepoTags": [f"{name}:latest"],
            "Layers": [f"{number}.tar" for number in range(len(layers))],
        }
    ]
    files = {f"{number}.tar": one for number, one in enumerate(layers)}
    files["config.json"] = json.dumps(document).encode()
    files["manifest.json"] = json.dumps(manifest).encode()
    return layer(files)
