"""The options of ps(1) that ``docker top`` takes, as a request; pure.

UNIX options (``-ef``, ``-o pid,cmd``), BSD options (``aux``, ``k -rss``), long ones (``--sort``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from wherry.errors import InvalidParameter

Columns = tuple[tuple[str, str], ...]
"""Names of columns with their titles."""

ALIASES = {
    "args": "command", "ucmd": "comm", "ucomm": "comm", "euser": "user", "uname": "user",
    "ruser": "user", "euid": "uid", "ruid": "uid", "egroup": "group", "rgroup": "group",
    "egid": "gid", "rgid": "gid", "pcpu": "%cpu", "pmem": "%mem", "vsize": "vsz", "rssize": "rss",
    "rsz": "rss", "tt": "tty", "tname": "tty", "state": "s", "nice": "ni", "thcount": "nlwp",
    "cputime": "time", "pgrp": "pgid", "sess": "sid", "session": "sid", "bsdstart": "start",
    "start_time": "stime", "lwp": "pid", "spid": "pid", "tid": "pid", "tgid": "pid",
    "priority": "pri", "flag": "f", "flags": "f", "class": "cls", "policy": "cls",
    "majflt": "maj_flt", "minflt": "min_flt", "pagein": "maj_flt",
}  # fmt: skip
"""Other names of columns."""

_FULL: Columns = (
    ("user", "UID"), ("pid", "PID"), ("ppid", "PPID"), ("c", "C"), ("stime", "STIME"),
    ("tty", "TTY"), ("time", "TIME"), ("cmd", "CMD"),
)  # fmt: skip
_EXTRA_FULL: Columns = (
    *_FULL[:4], ("sz", "SZ"), ("rss", "RSS"), ("psr", "PSR"), *_FULL[4:],
)  # fmt: skip
_PLAIN: Columns = (("pid", "PID"), ("tty", "TTY"), ("time", "TIME"), ("comm", "CMD"))
_JOBS: Columns = (("pid", "PID"), ("pgid", "PGID"), ("sid", "SID"), *_PLAIN[1:])
_LONG: Columns = (
    ("f", "F"), ("s", "S"), ("uid", "UID"), ("pid", "PID"), ("ppid", "PPID"), ("c", "C"),
    ("pri", "PRI"), ("ni", "NI"), ("addr", "ADDR"), ("sz", "SZ"), ("wchan", "WCHAN"), *_PLAIN[1:],
)  # fmt: skip
_BSD_USER: Columns = (
    ("user", "USER"), ("pid", "PID"), ("%cpu", "%CPU"), ("%mem", "%MEM"), ("vsz", "VSZ"),
    ("rss", "RSS"), ("tty", "TTY"), ("stat", "STAT"), ("start", "START"), ("bsdtime", "TIME"),
    ("command", "COMMAND"),
)  # fmt: skip
_BSD_LONG: Columns = (
    ("f", "F"), ("uid", "UID"), ("pid", "PID"), ("ppid", "PPID"), ("pri", "PRI"), ("ni", "NI"),
    ("vsz", "VSZ"), ("rss", "RSS"), ("wchan", "WCHAN"), ("stat", "STAT"), ("tty", "TTY"),
    ("bsdtime", "TIME"), ("command", "COMMAND"),
)  # fmt: skip
_BSD_JOBS: Columns = (
    ("ppid", "PPID"), ("pid", "PID"), ("pgid", "PGID"), ("sid", "SID"), ("tty", "TTY"),
    ("tpgid", "TPGID"), ("stat", "STAT"), ("uid", "UID"), ("bsdtime", "TIME"),
    ("command", "COMMAND"),
)  # fmt: skip
_BSD_PLAIN: Columns = (
    ("pid", "PID"), ("tty", "TTY"), ("stat", "STAT"), ("bsdtime", "TIME"), ("command", "COMMAND"),
)  # fmt: skip

_UNIX_FORMATS = {"f": _FULL, "F": _EXTRA_FULL, "l": _LONG, "j": _JOBS}
_BSD_FORMATS = {"u": _BSD_USER, "l": _BSD_LONG, "j": _BSD_JOBS}
_UNIX_NOTHING, _BSD_NOTHING = "eAadwcN", "agxwecrnS"
"""Letters that change nothing for the processes of one container."""
_SELECTIONS = {
    "p": "pid",
    "C": "comm",
    "u": "user",
    "U": "user",
    "g": "sid",
    "G": "group",
    "t": "tty",
}
_LONG_SELECTIONS = {
    "pid": "pid", "ppid": "ppid", "user": "user", "User": "user", "group": "group",
    "Group": "group", "sid": "sid", "tty": "tty",
}  # fmt: skip
_RENAMED_PID = re.compile(r"(?:^|[\s,])([^\s,=]*)=\s*(PID[^\s,]*)")
NO_PID = "Couldn't find PID field in ps output"


@dataclass(frozen=True, slots=True)
class PsRequest:
    """What is shown: columns, order and selection.

    ``sort`` are columns with whether it goes downwards; ``only`` are texts that a column may have.
    """

    columns: Columns = ()
    sort: tuple[tuple[str, bool], ...] = ()
    only: tuple[tuple[str, frozenset[str]], ...] = ()
    forest: bool = False


@dataclass(slots=True)
class _Parsed:
    """What has been read so far."""

    words: list[str]
    known: Collection[str]
    chosen: list[tuple[str, str]] = field(default_factory=list)
    format: Columns = _PLAIN
    request: PsRequest = field(default_factory=PsRequest)
    short: bool = False
    label: bool = False
    headless: bool = False

    def argument(self, option: str, attached: str = "") -> str:
        """The value of an option: what is attached to it, or the next word."""
        if attached:
            return attached
        if not self.words:
            raise InvalidParameter(f"ps: error: option {option!r} requires an argument")
        return self.words.pop(0)

    def column(self, text: str) -> str:
        """The name of a column that there is."""
        name = ALIASES.get(text.lower(), text.lower())
        if name not in self.known:
            raise InvalidParameter(f"ps: error: unknown user-defined format specifier {text!r}")
        return name

    def add_columns(self, text: str) -> None:
        """``-o``: names with titles; a title takes the rest of the text."""
        head, equals, title = text.partition("=")
        names = [name for name in re.split(r"[\s,]+", head) if name]
        if not names:
            raise InvalidParameter("ps: error: improper format list")
        for name in names[: -1 if equals else None]:
            self.chosen.append((self.column(name), ""))
        if equals:
            first, comma, rest = title.partition(",")
            self.chosen.append((self.column(names[-1]), first or "\0"))
            if comma:
                self.add_columns(rest)

    def add_sort(self, text: str) -> None:
        """``--sort``: columns, each with + or -."""
        keys = [(self.column(key.lstrip("+-")), key.startswith("-")) for key in text.split(",")]
        self.request = replace(self.request, sort=(*self.request.sort, *keys))

    def select(self, column: str, text: str) -> None:
        """Show only rows where a column has one of the given texts."""
        wanted = frozenset(value for value in re.split(r"[\s,]+", text) if value)
        self.request = replace(self.request, only=(*self.request.only, (column, wanted)))


def parse(ps_args: str, known: Collection[str], title_of: Callable[[str], str]) -> PsRequest:
    """What the options ask for; ``known`` are the columns there are.

    Raises InvalidParameter for what is not known, and in Docker's words where the result would
    have no column ``PID``.
    """
    for name, title in _RENAMED_PID.findall(ps_args):
        if name.lower() != "pid":
            raise InvalidParameter(f'specifying "{name}={title}" is not allowed')
    parsed = _Parsed(ps_args.split(), known)
    while parsed.words:
        word = parsed.words.pop(0)
        if word.startswith("--"):
            _long(parsed, word)
        elif word.startswith("-") and len(word) > 1:
            _unix(parsed, word)
        elif word.isdigit():
            parsed.select("pid", word)
        else:
            _bsd(parsed, word)
    columns = _columns(parsed, title_of)
    if parsed.headless or all(title != "PID" for _, title in columns):
        raise InvalidParameter(NO_PID)
    return replace(parsed.request, columns=columns)


def _columns(parsed: _Parsed, title_of: Callable[[str], str]) -> Columns:
    if parsed.chosen:
        return tuple(
            (name, title_of(name) if not title else title.strip("\0"))
            for name, title in parsed.chosen
        )
    columns = parsed.format
    if parsed.short and columns is _LONG:
        columns = tuple(
            ("rss", "RSS") if name == "addr" else (name, title)
            for name, title in columns
            if name != "f"
        )
    return (("label", "LABEL"), *columns) if parsed.label else columns


def _unknown(word: str) -> InvalidParameter:
    return InvalidParameter(f"ps: error: unsupported option {word!r}")


def _long(parsed: _Parsed, word: str) -> None:
    name, equals, value = word[2:].partition("=")
    if name == "format":
        parsed.add_columns(parsed.argument(word, value))
    elif name == "sort":
        parsed.add_sort(parsed.argument(word, value))
    elif name in _LONG_SELECTIONS:
        parsed.select(_LONG_SELECTIONS[name], parsed.argument(word, value))
    elif name in ("cols", "columns", "width", "lines", "rows"):
        parsed.argument(word, value)
    elif equals:
        raise _unknown(word)
    elif name == "forest":
        parsed.request = replace(parsed.request, forest=True)
    elif name in ("no-headers", "no-heading", "no-headings", "noheader", "noheaders"):
        parsed.headless = True
    elif name not in ("headers", "cumulative", "deselect"):
        raise _unknown(word)


def _unix(parsed: _Parsed, word: str) -> None:
    if word[1:].isdigit():
        parsed.select("pid", word[1:])
        return
    for position, letter in enumerate(word[1:], 2):
        if letter in "oO" or letter in _SELECTIONS:
            value = parsed.argument(word, word[position:])
            if letter in _SELECTIONS:
                parsed.select(_SELECTIONS[letter], value)
                return
            if letter == "O":
                parsed.chosen += [("pid", "")]
            parsed.add_columns(value)
            if letter == "O":
                parsed.chosen += [("s", ""), ("tty", ""), ("time", ""), ("command", "")]
            return
        if letter in _UNIX_FORMATS:
            parsed.format = _UNIX_FORMATS[letter]
        elif letter == "y":
            parsed.short = True
        elif letter in "MZ":
            parsed.label = True
        elif letter == "H":
            parsed.request = replace(parsed.request, forest=True)
        elif letter not in _UNIX_NOTHING:
            raise _unknown(word)


def _bsd(parsed: _Parsed, word: str) -> None:
    if not word.isascii() or not word.isalpha():
        raise _unknown(word)
    if parsed.format is _PLAIN:
        parsed.format = _BSD_PLAIN
    for position, letter in enumerate(word, 1):
        if letter in "oOkpUt":
            value = parsed.argument(word, word[position:])
            if letter == "k":
                parsed.add_sort(value)
            elif letter in "oO":
                parsed.add_columns(value)
            else:
                parsed.select(_SELECTIONS[letter], value)
            return
        if letter in _BSD_FORMATS:
            parsed.format = _BSD_FORMATS[letter]
        elif letter == "f":
            parsed.request = replace(parsed.request, forest=True)
        elif letter == "h":
            parsed.headless = True
        elif letter in "MZ":
            parsed.label = True
        elif letter not in _BSD_NOTHING:
            raise _unknown(word)
