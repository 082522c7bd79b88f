"""The end of a command that was executed in a container."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.client.api import ApiClient

_ATTEMPTS = 100
_PAUSE = 0.01


def exec_exit_code(api: ApiClient, identity: str) -> int:
    """The exit code of an exec whose output has ended.

    Output may end a moment before the process does (it closed its streams), so a command that
    still runs is given a second.
    """
    for _ in range(_ATTEMPTS):
        state = api.call("GET", f"/exec/{identity}/json")
        if not state.get("Running"):
            break
        time.sleep(_PAUSE)
    return int(state.get("ExitCode") or 0)
