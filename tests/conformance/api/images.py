"""A small image to run, made from the static busybox of the host."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from functools import cache

from wherry.engine.info import architecture

_FOLDERS = ("bin", "dev", "etc", "home", "home/user", "mnt", "proc", "root", "sys", "tmp", "var")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\n"
    "user:x:1000:1000:user:/home/user:/bin/sh\n",
    "etc/group": "root:x:0:\ndaemon:x:1:\nusers:x:100:user\nuser:x:1000:\n",
    "home/user/file": "of the user\n",
}


@cache
def busybox() -> bytes:
    """A root file system as an archive, for ``docker import``."""
    applets = subprocess.run(
        ["/bin/busybox", "--list"], capture_output=True, check=True, text=True
    ).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in (
            "bin",
            "dev",
            "etc",
            "home",
            "home/user",
            "proc",
            "root",
            "sys",
            "tmp",
            "var",
        ):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            archive.addfile(entry)
        archive.add("/bin/busybox", "bin/busybox")
        for applet in applets:
            if applet != "busybox":
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
        for name, content in _FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content.encode()))
    return buffer.getvalue()


@cache
def saved(name: str = "busybox:latest") -> bytes:
    """The same root as an image, for ``docker load``."""
    layer = busybox()
    config = {
        "architecture": architecture(),
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "busybox"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in (
            ("layer.tar", layer),
            ("config.json", json.dumps(config).encode()),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
