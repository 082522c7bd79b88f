"""What each instruction changes in an image's configuration, and how the history tells it.

Pure: a configuration is a dict in the shape of the image specification's ``config`` object
(https://github.com/opencontainers/image-spec/blob/main/config.md); changes make new ones.
"""

from __future__ import annotations

import json
import posixpath
import re
import signal
from collections.abc import Iterable, Mapping
from typing import Any

from wherry import filepath
from wherry.builder.errors import SyntaxProblem
from wherry.builder.instructions import Healthcheck
from wherry.golang import quote
from wherry.numbers import whole_number

DEFAULT_SHELL = ("/bin/sh", "-c")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/([A-Za-z]+))?", re.ASCII)
_HEADED_PORT = re.compile(r"(?:[^/]*:)?([^:/]+(?:/[A-Za-z]+)?)")
Config = Mapping[str, Any]


def shell_of(config: Config) -> tuple[str, ...]:
    """The shell of instructions in shell form."""
    return tuple(config.get("Shell") or DEFAULT_SHELL)


def environment_of(config: Config) -> dict[str, str]:
    """The ``Env`` list as a dict."""
    pairs = (entry.partition("=") for entry in config.get("Env") or ())
    return {name: value for name, _, value in pairs}


def with_environment(config: Config, values: Mapping[str, str]) -> dict[str, Any]:
    """``config`` with variables set; those that exist keep their place."""
    merged = {**environment_of(config), **values}
    return {**config, "Env": [f"{name}={value}" for name, value in merged.items()]}


def with_default_path(config: Config) -> dict[str, Any]:
    """``config`` with a PATH, which an image without one gets."""
    if "PATH" in environment_of(config):
        return dict(config)
    return {**config, "Env": [f"PATH={DEFAULT_PATH}", *(config.get("Env") or ())]}


def with_labels(config: Config, labels: Mapping[str, str]) -> dict[str, Any]:
    """``config`` with labels set."""
    return {**config, "Labels": {**(config.get("Labels") or {}), **labels}}


def working_directory(current: str, path: str) -> str:
    """The directory after ``WORKDIR path``."""
    return filepath.clean(posixpath.join("/", current or "/", path))


def exposed_ports(words: Iterable[str]) -> dict[str, dict[str, Any]]:
    """``ExposedPorts`` for the words of EXPOSE. Raises SyntaxProblem."""
    ports: dict[str, dict[str, Any]] = {}
    for word in words:
        container_part = _HEADED_PORT.fullmatch(word)
        found = _PORT.fullmatch(container_part[1]) if container_part else None
        if not found:
            raise SyntaxProblem(f"invalid containerPort: {word}")
        first, last = int(found[1]), int(found[2] or found[1])
        protocol = (found[3] or "tcp").lower()
        if protocol not in ("tcp", "udp", "sctp"):
            raise SyntaxProblem(f"invalid proto: {found[3]}")
        if last < first or last > 65535:
            raise SyntaxProblem(f"invalid containerPort: {word}")
        for port in range(first, last + 1):
            ports[f"{port}/{protocol}"] = {}
    return ports


def check_signal(value: str) -> str:
    """A signal's name or number, as given. Raises SyntaxProblem."""
    name = value.upper().removeprefix("SIG")
    if 0 < (whole_number(value) or 0) < 65:
        return value
    real_time = re.fullmatch(r"RTM(IN\+|AX-)\d{1,2}", name)
    if f"SIG{name}" in signal.Signals.__members__ or real_time:
        return value
    raise SyntaxProblem(f"invalid signal: {value}")


def healthcheck_config(check: Healthcheck) -> dict[str, Any]:
    """The ``Healthcheck`` object; values at their default are left out."""
    values = {
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
        "Retries": check.retries,
    }
    return {"Test": list(check.test), **{name: value for name, value in values.items() if value}}


def go_strings(values: Iterable[str]) -> str:
    """A list of strings as Go's ``%q`` writes it: ``["a" "b"]``."""
    return "[" + " ".join(map(quote, values)) + "]"


def go_duration(nanoseconds: int) -> str:
    """A time as Go writes it: ``1m30s``, ``0s``, ``10ms``."""
    if nanoseconds % 1_000_000_000:
        return (
            f"{nanoseconds / 1_000_000:g}ms" if nanoseconds < 10**9 else f"{nanoseconds / 10**9:g}s"
        )
    minutes, seconds = divmod(nanoseconds // 1_000_000_000, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def describe_healthcheck(check: Healthcheck) -> str:
    """The HEALTHCHECK of a history entry."""
    times = (check.interval, check.timeout, check.start_period, check.start_interval)
    shown = " ".join(quote(go_duration(value)) for value in times)
    retries = f"'\\x{check.retries:02x}'" if check.retries < 32 else repr(chr(check.retries))
    return f"HEALTHCHECK &{{{go_strings(check.test)} {shown} {retries}}}"


def history_command(shell: Iterable[str], text: str, *, files: bool = False) -> str:
    """``created_by`` for a step without a command: a comment in the place of one."""
    return " ".join((*shell, f"#(nop) {text}" if files else f"#(nop)  {text}"))


def canonical(value: object) -> str:
    """A stable JSON form, for keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
