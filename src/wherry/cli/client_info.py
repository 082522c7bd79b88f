"""What the client says of itself in ``version`` and ``info``."""

from __future__ import annotations

import platform
import sys

from wherry import __version__
from wherry.client.api import NEWEST_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def client_info(context: str) -> dict[str, Any]:
    """The client's version, in the shape of ``docker version``."""
    machine = platform.machine()
    return {
        "Version": __version__,
        "ApiVersion": NEWEST_VERSION,
        "DefaultAPIVersion": NEWEST_VERSION,
        "PythonVersion": platform.python_version(),
        "Os": sys.platform,
        "Arch": _ARCHITECTURES.get(machine, machine),
        "Context": context,
    }
