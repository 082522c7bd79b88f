"""Whether and when an ended container is started again; pure."""

from __future__ import annotations

from wherry.engine.config.host import RestartPolicy
from wherry.timestamps import SECOND

FIRST_DELAY = 0.1
LONGEST_DELAY = 60.0
STEADY = 10 * SECOND
"""A container that has run for so long starts again with the first delay."""


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


def next_delay(before: float, ran: int) -> float:
    """Seconds to wait; ``before`` was the last delay (0: none), ``ran`` the run in nanoseconds."""
    if before == 0 or ran >= STEADY:
        return FIRST_DELAY
    return min(before * 2, LONGEST_DELAY)
