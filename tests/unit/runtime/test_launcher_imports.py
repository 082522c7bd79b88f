"""What every shim carries: the launcher's modules are in the memory of each container's shim."""

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "src"
HEAVY = {
    *("asyncio", "datetime", "importlib.metadata", "ssl", "subprocess", "threading"),
    "urllib.parse",
}


def test_the_launcher_imports_nothing_that_few_containers_need() -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n"
        "from wherry.runtime import launcher\n"
        f"print(*sorted(set(sys.modules) & {HEAVY!r}))"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == []
