"""Capabilities, ``--security-opt``, and the paths of /proc and /sys that a container must not see.

The default capability set and the masked and read-only paths are those of Docker 28, and what
D.2 b of Docker's advisories has added since.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from wherry.engine.config.rules import capability
from wherry.errors import InvalidParameter
from wherry.linux.capabilities import NAMES

DEFAULT_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


@dataclass(frozen=True, slots=True)
class SecurityOptions:
    """What ``--security-opt`` asks for.

    ``seccomp`` is None for the default profile, ``unconfined``, or a profile as JSON text.
    """

    seccomp: str | None = None
    apparmor: str = ""
    labels: tuple[str, ...] = ()
    no_new_privileges: bool | None = None
    writable_cgroups: bool = False

    def profile(self) -> dict[str, Any] | None:
        """The profile that was given as text."""
        if self.seccomp is None or self.seccomp == "unconfined":
            return None
        parsed: dict[str, Any] = json.loads(self.seccomp)
        return parsed


def parse_security_options(options: Sequence[str] | None) -> SecurityOptions:
    """Read ``HostConfig.SecurityOpt``; raises InvalidParameter in Docker's words."""
    seccomp: str | None = None
    apparmor, labels = "", []
    no_new_privileges: bool | None = None
    writable = False
    for option in options or ():
        if option == "no-new-privileges":
            no_new_privileges = True
            continue
        if option == "disable":
            labels.append(option)
            continue
        separator = "=" if "=" in option else ":"
        name, given, value = option.partition(separator)
        if not given:
            raise InvalidParameter(f'invalid --security-opt 1: "{option}"')
        match name:
            case "label":
                labels.append(value)
            case "apparmor":
                apparmor = value
            case "seccomp":
                seccomp = _seccomp(value)
            case "no-new-privileges":
                no_new_privileges = _flag(name, value)
            case "writable-cgroups":
                writable = _flag(name, value)
            case "systempaths" if value == "unconfined":
                continue  # clients turn this into empty lists of paths
            case _:
                raise InvalidParameter(f'invalid --security-opt 2: "{option}"')
    return SecurityOptions(seccomp, apparmor, tuple(labels), no_new_privileges, writable)


def _seccomp(value: str) -> str | None:
    if value == "unconfined":
        return value
    if value == "builtin":
        return None
    try:
        profile = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"Decoding seccomp profile failed: {error}") from None
    if not isinstance(profile, dict):
        raise InvalidParameter("Decoding seccomp profile failed: it is not a JSON object")
    return value


def _flag(name: str, value: str) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise InvalidParameter(f'invalid --security-opt 2: "{name}={value}"')


def capabilities(
    added: Iterable[str], dropped: Iterable[str], *, privileged: bool, last: int
) -> list[str]:
    """The capability set of a container; ``last`` is the kernel's highest number."""
    everything = list(NAMES[: last + 1])
    if privileged:
        return everything
    plus = {capability(name) for name in added}
    minus = {capability(name) for name in dropped}
    if "ALL" in plus:
        return [name for name in everything if name not in minus or name in plus]
    base: Collection[str] = () if "ALL" in minus else DEFAULT_CAPABILITIES
    kept = [name for name in base if name not in minus]
    return kept + [name for name in everything if name in plus and name not in kept]
