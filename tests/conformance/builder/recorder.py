"""``python -m tests.conformance.builder.recorder dockerd|wherry``: write down what an engine does.

Of Wherry's answers only those are kept that differ from dockerd's on purpose (`deliberate.py`).
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.conformance.api.daemons import Apart, Dockerd
from tests.conformance.builder.cases import CASES
from tests.conformance.builder.deliberate import DIFFERENCES
from tests.conformance.builder.observe import Case, observe, observe_client
from tests.daemon import Daemon
from tests.images import busybox_archive

RECORDS = {name: Path(__file__).parent / f"{name}.json" for name in ("dockerd", "wherry")}


def main(engine: str) -> None:
    """Run the cases on an engine of its own and write its record."""
    with {"dockerd": Dockerd, "wherry": Apart}[engine]() as daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        if engine == "dockerd":
            seen = {case.name: _seen(daemon, case) for case in CASES}
        else:
            seen = {c.name: observe(daemon, c) for c in CASES if c.name in DIFFERENCES}
    text = json.dumps(seen, indent=1, sort_keys=True, ensure_ascii=False)
    RECORDS[engine].write_text(text + "\n")


def _seen(daemon: Daemon, case: Case) -> dict[str, Any]:
    if ".dockerignore" not in case.files:
        return observe(daemon, case)
    with tempfile.TemporaryDirectory() as folder:
        return observe_client(daemon, case, Path(folder))


if __name__ == "__main__":
    main(sys.argv[1])
