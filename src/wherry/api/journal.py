"""The daemon's own log: one line an event on standard error, as text or as JSON."""

from __future__ import annotations

import json
import logging
import sys

from wherry.timestamps import rfc3339

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}


class Formatter(logging.Formatter):
    """One record as one line."""

    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Time, level and message; the exception where there is one."""
        fields = {
            "time": rfc3339(int(record.created * 1e9)),
            "level": record.levelname.lower(),
            "msg": record.getMessage(),
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        if self._as_json:
            return json.dumps(fields)
        return " ".join(
            f"{key}={value if key in ('time', 'level') else json.dumps(value)}"
            for key, value in fields.items()
        )


def is_level(name: str) -> bool:
    """Whether ``name`` is a log level."""
    return name in _LEVELS


def start(level: str, form: str) -> None:
    """Send the log of every room to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter(form == "json"))
    logging.basicConfig(handlers=[handler], force=True)
    set_level(level)


def set_level(level: str) -> None:
    """Show what is of ``level`` or graver; the libraries' own chatter only from warnings on."""
    logging.getLogger().setLevel(max(_LEVELS[level], logging.WARNING))
    logging.getLogger("wherry").setLevel(_LEVELS[level])
