"""Writes a root file system (a tar) as an image archive; shared by the make-*-image scripts.

Needs Python's standard library and this source tree only.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import sys
import time
from collections.abc import Iterator
from typing import Any

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "src"))

from wherry.images.archive import ArchivedImage, archive
from wherry.images.config import dump
from wherry.images.reference import parse

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that all scripts have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="archive to write")
    parser.add_argument(
        "-t", "--tag", action="append", default=[], metavar="NAME:TAG", help="name of the image"
    )
    return parser


def write_image(
    output: str, tags: list[str], root: str, config: dict[str, Any], created_by: str
) -> None:
    """Write the archive ``output`` with one layer, the tar file ``root``."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_epoch()))
    with open(root, "rb") as file:
        diff_id = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    blob = dump(
        {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": created,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": created, "created_by": created_by}],
        }
    )

    def layer(_: str) -> Iterator[bytes]:
        with open(root, "rb") as file:
            while chunk := file.read(1 << 20):
                yield chunk

    names = tuple(parse(tag).tagged() for tag in tags)
    image = ArchivedImage(blob, ((diff_id, os.path.getsize(root)),), names)
    with open(output + ".tmp", "wb") as file:
        for piece in archive([image], layer):
            file.write(piece)
    os.rename(output + ".tmp", output)
    print(f"{output}: sha256:{hashlib.sha256(blob).hexdigest()} {' '.join(tags)}")


def _epoch() -> int:
    return int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
