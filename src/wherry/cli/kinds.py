"""The kinds of values that flags take, and what each accepts.

A kind parses one text in the light of what earlier occurrences of the flag gave, and raises
ValueError with the words that a user reads after ``invalid argument "x" for "--flag" flag:``.
"""

from __future__ import annotations

from wherry.golang import parse_bool, parse_duration, parse_int, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Kind:
    """A kind of value: its name in help texts, its default, how texts become values."""

    __slots__ = ("_parse", "bare", "default", "name")

    def __init__(
        self,
        name: str,
        default: object,
        parse: Callable[[str, Any], object],
        *,
        bare: str | None = None,
    ) -> None:
        """``bare`` is the text that a flag without a value stands for (booleans)."""
        self.name = name
        self.default = default
        self.bare = bare
        self._parse = parse

    def parse(self, text: str, current: Any) -> object:
        """The value after ``text``, where ``current`` is what came before."""
        return self._parse(text, current)

    def empty(self) -> object:
        """What the first occurrence of the flag builds on: defaults are replaced, not added to."""
        return type(self.default)() if isinstance(self.default, list | dict) else self.default


_BYTE_UNITS = "bkmgtp"


def parse_bytes(text: str) -> int:
    """``64m``, ``1.5GiB``, ``2kb`` in binary units; raises ValueError for what is not a size.

    The words of a refusal tell number and suffix apart, as go-units does.
    """
    if not text:
        return 0
    end = len(text)
    while end and text[end - 1] not in "0123456789. ":
        end -= 1
    if not end:
        raise ValueError(f"invalid size: '{text}'")
    number, suffix = text[:end].removesuffix(" "), text[end:].lower()
    try:
        if "_" in number or number != number.strip():
            raise ValueError
        size = float(number)
    except ValueError:
        raise ValueError(f"strconv.ParseFloat: parsing {quote(number)}: invalid syntax") from None
    if size < 0:
        raise ValueError(f"invalid size: '{text}'")
    unit = _BYTE_UNITS.find(suffix[:1]) if suffix else 0
    if unit < 0 or suffix[1:] not in ("", "b", "ib") or (unit == 0 and len(suffix) > 1):
        raise ValueError(f"invalid suffix: '{suffix}'")
    return int(size * 1024**unit)


def _memory_swap(text: str, current: object) -> int:
    return -1 if text == "-1" else parse_bytes(text)


def _nano_cpus(text: str, current: object) -> int:
    """``0.5`` CPUs as billionths; fractions such as 1/2 are numbers too."""
    from fractions import Fraction

    try:
        value = Fraction(text.strip()) if text == text.strip() else None
    except (ValueError, ZeroDivisionError):
        value = None
    if value is None:
        raise ValueError(f"failed to parse {text} as a rational number")
    nano = value * 1_000_000_000
    if nano.denominator != 1:
        raise ValueError("value is too precise")
    return int(nano)


def _append(text: str, current: list[str]) -> list[str]:
    return [*current, text]


def read_csv(text: str) -> list[str]:
    """The fields of one line of comma-separated values; raises ValueError for bad quoting."""
    if '"' not in text:
        return text.split(",") if text else []
    import csv

    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise ValueError(f"parse error on line 1: {error}") from None


def _append_csv(text: str, current: list[str]) -> list[str]:
    return [*current, *read_csv(text)]


def _map_entry(text: str, current: dict[str, str]) -> dict[str, str]:
    key, _, value = text.partition("=")
    return {**current, key: value}


def _string_to_string(text: str, current: dict[str, str]) -> dict[str, str]:
    entries = dict(current)
    for pair in read_csv(text):
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{pair} must be formatted as key=value")
        entries[key] = value
    return entries


def _filter(text: str, current: dict[str, list[str]]) -> dict[str, list[str]]:
    if not text:
        return current
    if "=" not in text:
        raise ValueError("bad format of filter (expected name=value)")
    name, _, value = text.partition("=")
    name = name.strip().lower()
    value = value.strip()
    known = current.get(name, [])
    return {**current, name: known if value in known else [*known, value]}


def _ip(text: str, current: object) -> str:
    """An address; like Docker's client, what is none counts as not given."""
    import ipaddress

    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return ""


def _ips(text: str, current: list[str]) -> list[str]:
    import ipaddress

    result = list(current)
    for item in read_csv(text.replace('"', "")):
        try:
            result.append(str(ipaddress.ip_address(item.strip())))
        except ValueError:
            raise ValueError(f"invalid string being converted to IP address: {item}") from None
    return result


def _ip_networks(text: str, current: list[str]) -> list[str]:
    import ipaddress

    result = list(current)
    for item in read_csv(text.replace('"', "")):
        try:
            result.append(str(ipaddress.ip_network(item.strip(), strict=False)))
        except ValueError:
            raise ValueError(f"invalid string being converted to CIDR: {item}") from None
    return result


def checked_list(check: Callable[[str], str], name: str = "list") -> Kind:
    """A repeatable flag whose every value goes through ``check``, which may change it."""
    return Kind(name, [], lambda text, current: [*current, check(text)])


def ranged(name: str, bits: int, *, signed: bool) -> Kind:
    """An integer of a certain width."""
    return Kind(name, 0, lambda text, _: parse_int(text, bits, signed=signed))


BOOL = Kind("", False, lambda text, _: parse_bool(text), bare="true")
STRING = Kind("string", "", lambda text, _: text)
INT = ranged("int", 64, signed=True)
UINT = ranged("uint", 64, signed=False)
UINT16 = ranged("uint16", 16, signed=False)
LIST = Kind("list", [], _append)
STRINGS = Kind("strings", [], _append_csv)
MAP = Kind("map", {}, _map_entry)
STRING_TO_STRING = Kind("stringToString", {}, _string_to_string)
BYTES = Kind("bytes", 0, lambda text, _: parse_bytes(text))
MEMORY_SWAP = Kind("bytes", 0, _memory_swap)
NANO_CPUS = Kind("decimal", 0, _nano_cpus)
DURATION = Kind("duration", 0, lambda text, _: parse_duration(text))
FILTER = Kind("filter", {}, _filter)
IP = Kind("string", "", _ip)
IPS = Kind("strings", [], _ips)
IP_NETWORKS = Kind("strings", [], _ip_networks)
