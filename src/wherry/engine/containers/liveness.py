"""Work on a container that may end at any moment, without the engine knowing of it yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from wherry.engine.containers.container import Container
from wherry.errors import Conflict, InvalidParameter, WherryError

_FLAGS = 5  # of the fields behind the state
_PF_EXITING = 0x4  # include/linux/sched.h


def has_ended(container: Container) -> bool:
    """Whether its process is gone, be it that the engine has not taken note of the end."""
    shim = container.shim
    if not container.state.alive or shim is None or shim.state == "stopped":
        return True
    try:
        with open(f"/proc/{container.state.pid}/stat", encoding="ascii", errors="replace") as file:
            state, *fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    # proc_pid_stat(5): one that exits has lost its namespaces before it becomes a zombie.
    return state in ("Z", "X") or bool(int(fields[_FLAGS]) & _PF_EXITING)


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
