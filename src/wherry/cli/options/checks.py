"""Checks of single values that are kept as text; each raises ValueError in Docker's words."""

from __future__ import annotations

import os

from wherry.cli.kinds import parse_bytes
from wherry.golang import parse_int, quote

_DOMAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def environment(text: str) -> str:
    """``NAME=value``, or ``NAME`` whose value is taken from this environment if it is set."""
    name, equals, _ = text.partition("=")
    if not name:
        raise ValueError(f"invalid environment variable: {text}")
    if equals:
        return text
    value = os.environ.get(name)
    return text if value is None else f"{name}={value}"


def label(text: str) -> str:
    """``name=value`` or ``name``."""
    name = text.partition("=")[0].strip()
    if not name:
        raise ValueError(f"invalid label '{text}': empty name")
    return text


def stream(text: str) -> str:
    """A standard stream's name."""
    if text.lower() in ("stdin", "stdout", "stderr"):
        return text.lower()
    raise ValueError("valid streams are STDIN, STDOUT and STDERR")


def ip_address(text: str) -> str:
    """An IPv4 or IPv6 address."""
    import ipaddress

    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        raise ValueError(f"IP address is not correctly formatted: {text}") from None


def dns_search(text: str) -> str:
    """A search domain; a lone dot means none at all."""
    domain = text.strip(" ")
    if domain == ".":
        return domain
    if not domain or not set(domain) <= _DOMAIN or not domain.strip("."):
        raise ValueError(f"{text} is not a valid domain")
    return domain


def extra_host(text: str) -> str:
    """``host:address`` or ``host=address``, in the first form."""
    name, equals, address = text.partition("=")
    if not equals:
        name, equals, address = text.partition(":")
    if not equals or not name:
        raise ValueError(f"bad format for add-host: {quote(text)}")
    if address == "host-gateway":
        return f"{name}:{address}"
    bare = address
    if len(bare) > 2 and bare[0] == "[" and bare[-1] == "]":
        bare = bare[1:-1]
    try:
        ip_address(bare)
    except ValueError:
        raise ValueError(f"invalid IP address in add-host: {quote(address)}") from None
    return f"{name}:{bare}"


def link(text: str) -> str:
    """``container[:alias]``."""
    if not text:
        raise ValueError("empty string specified for links")
    if text.count(":") > 1:
        raise ValueError(f"bad format for links: {text}")
    return text


def sysctl(text: str) -> str:
    """A kernel parameter that has a namespace: ``kernel.…``, ``fs.mqueue.…``, ``net.…``."""
    known = frozenset(
        (
            "kernel.msgmax",
            "kernel.msgmnb",
            "kernel.msgmni",
            "kernel.sem",
            "kernel.shmall",
            "kernel.shmmax",
            "kernel.shmmni",
            "kernel.shm_rmid_forced",
        )
    )
    name, equals, _ = text.partition("=")
    if not equals:
        raise ValueError(f"sysctl '{text}' is not allowed")
    if name in known or name.startswith(("net.", "fs.mqueue.")):
        return text
    raise ValueError(f"sysctl '{text}' is not allowed")


def device_rule(text: str) -> str:
    """A cgroup device rule such as ``c 1:3 rwm``."""
    import re

    if not re.match(r"^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$", text):
        raise ValueError(f"invalid device cgroup format '{text}'")
    return text


def _device_path(text: str) -> tuple[str, str]:
    path, colon, value = text.partition(":")
    if not colon or not path:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, value


def weight_device(text: str) -> dict[str, object]:
    """``/dev/x:500``"""
    path, value = _device_path(text)
    try:
        weight = parse_int(value, 16, signed=False)
    except ValueError:
        raise ValueError(f"invalid weight for device: {text}") from None
    if weight and not 10 <= weight <= 1000:
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": weight}


def throttle_bps(text: str) -> dict[str, object]:
    """``/dev/x:1mb``"""
    path, value = _device_path(text)
    try:
        return {"Path": path, "Rate": parse_bytes(value)}
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is "
            "<device-path>:<number>[<unit>]. Number must be a positive integer. "
            "Unit is optional and can be kb, mb, or gb"
        ) from None


def throttle_iops(text: str) -> dict[str, object]:
    """``/dev/x:1000``"""
    path, value = _device_path(text)
    try:
        return {"Path": path, "Rate": parse_int(value, signed=False, base=10)}
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>. "
            "Number must be a positive integer"
        ) from None


_ULIMITS = frozenset(
    (
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    )
)


def ulimit(text: str) -> dict[str, object]:
    """``name=soft[:hard]``"""
    name, equals, limits = text.partition("=")
    if not equals or not limits:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in _ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    values = limits.split(":")
    if len(values) > 2:
        raise ValueError(
            f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
        )
    soft = parse_int(values[0], base=10)
    hard = parse_int(values[1], base=10) if len(values) == 2 else soft
    if hard >= 0 and (soft > hard or (soft == -1 and hard != -1)):
        raise ValueError(
            f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        )
    return {"Name": name, "Hard": hard, "Soft": soft}


def restart_policy(text: str) -> dict[str, object]:
    """``no``, ``always``, ``unless-stopped`` or ``on-failure[:n]``."""
    name, colon, count = text.partition(":")
    if colon and not name:
        raise ValueError("invalid restart policy format: no policy provided before colon")
    number = 0
    if colon and count:
        try:
            number = parse_int(count, base=10)
        except ValueError:
            raise ValueError(
                "invalid restart policy format: maximum retry count must be an integer"
            ) from None
    return {"Name": name, "MaximumRetryCount": number}


def mac_address(text: str) -> str:
    """A hardware address in one of the usual spellings."""
    import re

    text = text.strip()
    if not re.fullmatch(
        r"(?i)[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}|([0-9a-f]{4}\.){2}[0-9a-f]{4}", text
    ):
        raise ValueError(f"{text} is not a valid mac address")
    return text
