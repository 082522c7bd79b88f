"""What follows the end of a container, or a start that failed: a decision without effects."""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from wherry.engine.config.host import HostConfig, RestartPolicy
from wherry.engine.containers.state import State
from wherry.timestamps import SECOND

FIRST_DELAY = 0.1
LONGEST_DELAY = 60.0
STEADY = 10 * SECOND
"""A container that has run for so long starts again with the first delay."""


@dataclass(frozen=True, slots=True)
class Next:
    """What follows: nothing, a start after ``delay`` seconds, or the removal."""

    action: Literal["rest", "restart", "remove"]
    delay: float = 0.0


REST = Next("rest")


def after_end(
    host: HostConfig,
    before: State,
    exit_code: int,
    *,
    ran: int,
    delay: float,
    claimed: bool,
    closing: bool,
) -> Next:
    """What follows the end of a container whose state was ``before``.

    It has run for ``ran`` nanoseconds, and before that waited ``delay`` seconds for its restart
    (0: it was started by hand). A container that is ``claimed`` is in the hands of somebody who
    restarts or removes it: then nothing follows by itself. An engine that is ``closing`` starts
    nothing; the next one will.
    """
    if claimed:
        return REST
    by_user, count = before.stopped_by_user, before.restart_count
    if not closing and wanted(host.restart_policy, exit_code, count, stopped_by_user=by_user):
        return Next("restart", next_delay(delay, ran))
    return Next("remove") if host.auto_remove else REST


def wanted(policy: RestartPolicy, exit_code: int, count: int, *, stopped_by_user: bool) -> bool:
    """Whether an end is followed by a start; ``count`` restarts have been made in a row."""
    if policy.name == "on-failure":
        most = policy.maximum_retry_count
        return not stopped_by_user and exit_code != 0 and (most == 0 or count < most)
    return policy.name in ("always", "unless-stopped") and not stopped_by_user


def wanted_at_opening(
    policy: RestartPolicy, exit_code: int, count: int, *, stopped_by_user: bool
) -> bool:
    """Whether a container that does not run is started when the engine opens.

    ``always`` means then even a container that somebody stopped.
    """
    if policy.name == "always":
        return True
    return wanted(policy, exit_code, count, stopped_by_user=stopped_by_user)


def in_order(needs: Mapping[str, Collection[str]]) -> list[str]:
    """The keys so that each comes after what it needs; what needs itself comes last."""
    sorter = graphlib.TopologicalSorter(needs)
    with suppress(graphlib.CycleError):
        sorter.prepare()
    found: list[str] = []
    while ready := sorter.get_ready():
        found += ready
        sorter.done(*ready)
    rest = set(needs).difference(found)
    return found + [one for one in needs if one in rest]


def next_delay(before: float, ran: int) -> float:
    """Seconds to wait; ``before`` was the last delay (0: none), ``ran`` the run in nanoseconds."""
    if before == 0 or ran >= STEADY:
        return FIRST_DELAY
    return min(before * 2, LONGEST_DELAY)
