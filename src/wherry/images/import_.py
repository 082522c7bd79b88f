"""``docker import``: a root file system, plain or compressed, becomes an image of one layer."""

from __future__ import annotations

import time

from wherry.images import config as configs
from wherry.images import views
from wherry.images.platforms import Platform, this_platform
from wherry.images.reference import Reference
from wherry.images.store import Image, ImageStore
from wherry.storage.archive.compression import decompressed
from wherry.storage.archive.stream import Readable


def import_image(
    store: ImageStore,
    stream: Readable,
    *,
    run: dict[str, object] | None = None,
    message: str = "",
    target: Reference | None = None,
    platform: Platform | None = None,
    source: str = "-",
) -> Image:
    """Make an image of a root file system's tar.

    ``run`` is the image's ``Config`` as the changes of ``--change`` make it (the Dockerfile room
    knows the instructions). Raises InvalidParameter for a bad archive.
    """
    created = views.timestamp(time.time())
    platform = platform or this_platform()
    with store.layers.lease() as protect:
        layer = store.layers.add(decompressed(stream, "root file system"), protect=protect)
        config = {
            "architecture": platform.architecture,
            "os": platform.os,
            **({"variant": platform.variant} if platform.variant else {}),
            "created": created,
            "comment": message or f"Imported from {source}",
            "config": run or {},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
            "history": [{"created": created, "comment": message or f"Imported from {source}"}],
        }
        image = store.create(configs.dump(config), local=True)
    if target is not None:
        store.tag(image.id, target.tagged(), "import")
    return store.get(image.id)
