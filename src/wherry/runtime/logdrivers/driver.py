"""The interface of log drivers, and opening the one that a container asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from wherry.errors import InvalidParameter
from wherry.runtime.bundle import LogConfig
from wherry.runtime.logdrivers.jsonfile import JsonFile
from wherry.runtime.logdrivers.record import LogRecord
from wherry.runtime.loop import Loop

_REMOTE = ("syslog", "journald", "gelf", "fluentd")


class LogDriver(Protocol):
    """Takes records in order; must not raise, and must not block for long."""

    @property
    def full(self) -> bool:
        """Whether no more output should be read for now."""

    def bind(self, loop: Loop, on_room: Callable[[], None]) -> None:
        """Learn the shim's loop; ``on_room`` is to be called when `full` has ended."""

    def write(self, records: Iterable[LogRecord]) -> None:
        """Keep the records."""

    def close(self) -> None:
        """Let go of everything."""


class NoLog:
    """The driver "none"."""

    full = False

    def bind(self, loop: Loop, on_room: Callable[[], None]) -> None:
        """It never has to wait."""

    def write(self, records: Iterable[LogRecord]) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Nothing to let go of."""


def open_driver(config: LogConfig) -> LogDriver:
    """The log driver that ``config`` asks for."""
    if config.driver in ("json-file", "local"):
        return JsonFile(config)
    if config.driver == "none":
        return NoLog()
    if config.driver in _REMOTE:
        # A megabyte (threads, dates, addresses) for the few containers with such a driver.
        from wherry.runtime.logdrivers.remote import Remote

        return Remote(config)
    return _installed(config)


def _installed(config: LogConfig) -> LogDriver:
    """A driver of another package: an entry point in the group ``wherry.log_drivers``."""
    # Two megabytes that every shim would carry for the few containers with such a driver.
    from importlib.metadata import entry_points

    for entry in entry_points(group="wherry.log_drivers", name=config.driver):
        driver: LogDriver = entry.load()(config)
        return driver
    raise InvalidParameter(f"unknown log driver: {config.driver}")
