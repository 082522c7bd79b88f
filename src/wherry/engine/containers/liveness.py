"""Work on a container that may end at any moment, without the engine knowing of it yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from wherry.engine.containers.container import Container
from wherry.errors import Conflict, InvalidParameter, WherryError

_EXITING = 0x4  # PF_EXITING of <linux/sched.h>: its namespaces let nobody in any more


def has_ended(container: Container) -> bool:
    """Whether its process is gone, be it that the engine has not taken note of the end."""
    shim = container.shim
    if not container.state.alive or shim is None or shim.state == "stopped":
        return True
    try:
        with open(f"/proc/{container.state.pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    state, flags = fields[0], int(fields[6])  # proc_pid_stat(5)
    return state in ("Z", "X") or bool(flags & _EXITING)


@contextmanager
def needs_running(container: Container) -> Iterator[None]:
    """For work that needs its process: when that is what has failed it, raise Conflict.

    Namespaces, cgroup and shim of an ending container are gone one after another; what the work
    ran into first does not matter to a client.
    """
    try:
        yield
    except (Conflict, InvalidParameter):
        raise
    except (WherryError, OSError) as error:
        if not has_ended(container):
            raise
        raise Conflict(f"container {container.id} is not running") from error
