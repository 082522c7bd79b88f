"""The options of each log driver, checked before a container is made.

Names and rules: docs.docker.com/engine/logging/drivers (facts only).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, urlsplit

from wherry.errors import InvalidParameter
from wherry.numbers import whole_number

_FACILITY_NUMBERS = frozenset(map(str, range(24)))
_SIZE = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,19})?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_FACTOR = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_METADATA = ("labels", "labels-regex", "env", "env-regex", "tag")
_BUFFERING = ("mode", "max-buffer-size")

_NAMED_FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog"),
    *("lpr", "news", "uucp", "cron", "authpriv", "ftp"),
)
FACILITIES = {name: number for number, name in enumerate(_NAMED_FACILITIES)} | {
    f"local{n}": 16 + n for n in range(8)
}
"""Numbers of the facility names (RFC 5424, table 1)."""

DRIVER_OPTIONS: dict[str, tuple[str, ...]] = {
    "none": (),
    "json-file": ("max-size", "max-file", "compress", *_METADATA),
    "local": ("max-size", "max-file", "compress"),
    "syslog": (
        *("syslog-address", "syslog-facility", "syslog-format", "syslog-tls-ca-cert"),
        *("syslog-tls-cert", "syslog-tls-key", "syslog-tls-skip-verify", *_METADATA),
    ),
    "journald": _METADATA,
    "gelf": (
        *("gelf-address", "gelf-compression-level", "gelf-compression-type"),
        *("gelf-tcp-max-reconnect", "gelf-tcp-reconnect-delay", *_METADATA),
    ),
    "fluentd": (
        *("fluentd-address", "fluentd-async", "fluentd-async-connect", "fluentd-buffer-limit"),
        *("fluentd-max-retries", "fluentd-request-ack", "fluentd-retry-wait"),
        *("fluentd-sub-second-precision", "fluentd-async-reconnect-interval"),
        *("fluentd-write-timeout", *_METADATA),
    ),
}


def parse_size(option: str, text: str) -> int:
    """Bytes of ``10m``, ``1.5g``, ``4096``; raises InvalidParameter."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidParameter(f"invalid value for {option}: {text!r} is not a size")
    return int(float(match[1]) * _FACTOR[match[2].lower()])


def parse_bool(option: str, text: str) -> bool:
    """The spellings that Go's strconv.ParseBool takes; raises InvalidParameter."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise InvalidParameter(f"invalid value for {option}: {text!r} is not a boolean")


def parse_address(
    option: str, text: str, default_port: int, schemes: tuple[str, ...]
) -> SplitResult:
    """A transport address such as ``tcp://host:1234`` or ``unix:///path``."""
    address = urlsplit(text if "://" in text else f"tcp://{text}")
    if address.scheme not in schemes:
        raise InvalidParameter(
            f"invalid value for {option}: {text!r} must start with one of"
            f" {', '.join(scheme + '://' for scheme in schemes)}"
        )
    if address.scheme.startswith("unix"):
        if not address.path.startswith("/"):
            raise InvalidParameter(f"invalid value for {option}: {text!r} names no socket path")
        return address
    try:
        port = address.port or default_port
    except ValueError:
        raise InvalidParameter(f"invalid value for {option}: {text!r} has a bad port") from None
    return address._replace(netloc=f"{_bracketed(address.hostname or 'localhost')}:{port}")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def validate(driver: str, options: Mapping[str, str]) -> None:
    """Raise InvalidParameter when ``driver`` is unknown or does not take these options."""
    known = DRIVER_OPTIONS.get(driver)
    if known is None:
        raise InvalidParameter(
            f'error looking up logging plugin {driver}: plugin "{driver}" not found'
        )
    if driver == "none":  # takes any option: a file of several services names them once for all
        return
    for name in options:
        if name not in known and name not in _BUFFERING:
            raise InvalidParameter(f"unknown log opt '{name}' for {driver} log driver")
    if options.get("mode", "blocking") not in ("blocking", "non-blocking"):
        raise InvalidParameter(f"logger: logging mode not supported: {options['mode']}")
    if "max-buffer-size" in options:
        if options.get("mode") != "non-blocking":
            raise InvalidParameter(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
            )
        parse_size("max-buffer-size", options["max-buffer-size"])
    check = _CHECKS.get(driver)
    if check is not None:
        check(options)


def _check_files(options: Mapping[str, str]) -> None:
    files = options.get("max-file", "")
    if files and not whole_number(files):
        raise InvalidParameter("max-file cannot be less than 1")
    if "max-size" in options:
        if options["max-size"] != "-1":
            parse_size("max-size", options["max-size"])
    elif files and int(files) > 1 and "max-size" not in options:
        raise InvalidParameter("max-file specified without max-size")
    if "compress" in options:
        parse_bool("compress", options["compress"])


def _check_local(options: Mapping[str, str]) -> None:
    _check_files({"max-size": "20m"} | dict(options))


def _check_syslog(options: Mapping[str, str]) -> None:
    if options.get("syslog-address"):
        schemes = ("udp", "tcp", "tcp+tls", "unix", "unixgram")
        parse_address("syslog-address", options["syslog-address"], 514, schemes)
    facility = options.get("syslog-facility", "daemon")
    if facility not in FACILITIES and facility not in _FACILITY_NUMBERS:
        raise InvalidParameter(f"invalid syslog facility: {facility}")
    style = options.get("syslog-format", "")
    if style not in ("", "rfc3164", "rfc5424", "rfc5424micro"):
        raise InvalidParameter(f"invalid syslog format: {style}")


def _check_gelf(options: Mapping[str, str]) -> None:
    if "gelf-address" not in options:
        raise InvalidParameter("gelf-address is a required parameter")
    address = parse_address("gelf-address", options["gelf-address"], 12201, ("udp", "tcp"))
    kind = options.get("gelf-compression-type", "gzip")
    if kind not in ("gzip", "zlib", "none"):
        raise InvalidParameter(f"unknown compression type {kind!r} for gelf-compression-type")
    if address.scheme == "tcp" and "gelf-compression-type" in options:
        raise InvalidParameter("compression is only supported on UDP")
    level = options.get("gelf-compression-level", "1")
    if not re.fullmatch(r"-1|\d", level):
        raise InvalidParameter(f"gelf-compression-level {level!r} is not between -1 and 9")


def _check_fluentd(options: Mapping[str, str]) -> None:
    if options.get("fluentd-address"):
        schemes = ("tcp", "tls", "unix")
        parse_address("fluentd-address", options["fluentd-address"], 24224, schemes)
    for name in ("fluentd-async", "fluentd-sub-second-precision", "fluentd-request-ack"):
        if name in options:
            parse_bool(name, options[name])
    if "fluentd-buffer-limit" in options:
        parse_size("fluentd-buffer-limit", options["fluentd-buffer-limit"])


_CHECKS: dict[str, Callable[[Mapping[str, str]], None]] = {
    "json-file": _check_files,
    "local": _check_local,
    "syslog": _check_syslog,
    "gelf": _check_gelf,
    "fluentd": _check_fluentd,
}
