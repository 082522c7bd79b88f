"""``wherry hub`` where Wherry was installed without the extra that the hub needs."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "src"


def test_the_missing_packages_and_the_extra_are_named(tmp_path: Path) -> None:
    info = tmp_path / "wherry-0.dist-info"
    info.mkdir()
    own = metadata.distribution("wherry").read_text("METADATA")
    assert own is not None
    (info / "METADATA").write_text(own)
    ran = subprocess.run(
        [sys.executable, "-S", "-m", "wherry", "hub"],  # -S: an interpreter without any package
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{SOURCE}"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert "sqlalchemy" in ran.stderr and "argon2-cffi" in ran.stderr
    assert "aiohttp" not in ran.stderr
    assert "pip install 'wherry[hub]'" in ran.stderr
