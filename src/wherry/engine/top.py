"""``docker top``: the rows that ``ps`` would print for a container's processes, read from /proc.

Columns and options are those of ps(1) that people pass to ``docker top``: ``-ef``, ``aux``,
``-o pid,comm`` and the like. Users are shown as the container's own ids, looked up in the host's
account file as ps does.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from wherry.errors import InvalidParameter

_FULL = ["user", "pid", "ppid", "c", "stime", "tty", "time", "cmd"]
_FULL_TITLES = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
_BSD = ["user", "pid", "%cpu", "%mem", "vsz", "rss", "tty", "stat", "start", "bsdtime", "command"]
_PLAIN = ["pid", "tty", "time", "comm"]
_LONG = [
    "f",
    "s",
    "user",
    "pid",
    "ppid",
    "c",
    "pri",
    "ni",
    "addr",
    "sz",
    "wchan",
    "stime",
    "tty",
    "time",
    "cmd",
]


@dataclass(frozen=True, slots=True)
class Process:
    """What /proc tells of one process; times in seconds, sizes in bytes (proc_pid_stat(5))."""

    pid: int
    comm: str
    state: str
    ppid: int
    pgid: int
    sid: int
    tty: int
    foreground: int
    flags: int
    cpu: float
    priority: int
    nice: int
    threads: int
    started: float
    virtual: int
    resident: int
    uid: int
    gid: int
    command: str
    boot: float
    memory: int


def top(pids: Sequence[int], ps_args: str | None) -> dict[str, Any]:
    """The view of ``GET /containers/{id}/top`` for ``pids`` (host view); ended ones are left out.

    Raises InvalidParameter for options or columns that are not known.
    """
    columns, titles = parse_options(ps_args or "-ef")
    processes = [process for pid in pids if (process := read_process(pid))]
    return {
        "Titles": titles,
        "Processes": [[_COLUMNS[name][1](process) for name in columns] for process in processes],
    }


def parse_options(ps_args: str) -> tuple[list[str], list[str]]:
    """Column names and titles that the ps options ask for; raises InvalidParameter."""
    columns: list[str] = []
    titles: list[str] = []
    layout: list[str] | None = None
    words = ps_args.split()
    while words:
        word = words.pop(0)
        letters = word.removeprefix("-") if not word.startswith("--") else ""
        if word.startswith("--format=") or word == "--format":
            given = word.partition("=")[2] or _argument(words, word)
            _add_columns(given, columns, titles)
            continue
        if not letters or not letters.isascii():
            raise InvalidParameter(f"docker top: ps option {word!r} is not supported")
        for position, letter in enumerate(letters):
            if letter in "oO":
                given = letters[position + 1 :] or _argument(words, word)
                _add_columns(given, columns, titles)
                break
            if letter in "fF":
                layout = _FULL
            elif letter == "l":
                layout = _LONG
            elif letter == "u" and not word.startswith("-"):
                layout = _BSD
            elif letter not in "eaAxwdHhjn":
                raise InvalidParameter(f"docker top: ps option {word!r} is not supported")
    if columns:
        if "PID" not in titles:
            raise InvalidParameter("Couldn't find PID field in ps output")
        return columns, titles
    if layout is _FULL:
        return _FULL, _FULL_TITLES
    chosen = layout or _PLAIN
    return chosen, [_COLUMNS[name][0] for name in chosen]


def read_process(pid: int) -> Process | None:
    """Read /proc/PID; None when the process has ended meanwhile."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read().decode(errors="replace")
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            arguments = file.read().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
            ids = {key: rest.split() for key, _, rest in (ln.partition(":") for ln in status)}
        uid = inside_id(int(ids["Uid"][1]), _read_map(pid, "uid_map"))
        gid = inside_id(int(ids["Gid"][1]), _read_map(pid, "gid_map"))
    except (FileNotFoundError, ProcessLookupError):
        return None
    comm = stat[stat.index("(") + 1 : stat.rindex(")")]
    fields = stat[stat.rindex(")") + 2 :].split()
    hertz, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    boot, memory = _host()
    return Process(
        pid=pid,
        comm=comm,
        state=fields[0],
        ppid=int(fields[1]),
        pgid=int(fields[2]),
        sid=int(fields[3]),
        tty=int(fields[4]),
        foreground=int(fields[5]),
        flags=int(fields[6]),
        cpu=(int(fields[11]) + int(fields[12])) / hertz,
        priority=int(fields[15]),
        nice=int(fields[16]),
        threads=int(fields[17]),
        started=boot + int(fields[19]) / hertz,
        virtual=int(fields[20]),
        resident=int(fields[21]) * page,
        uid=uid,
        gid=gid,
        command=arguments or f"[{comm}]",
        boot=boot,
        memory=memory,
    )


def inside_id(host_id: int, id_map: Sequence[tuple[int, int, int]]) -> int:
    """The id that a process in the user namespace with ``id_map`` sees for ``host_id``."""
    for inside, outside, count in id_map:
        if outside <= host_id < outside + count:
            return inside + host_id - outside
    return host_id


def _read_map(pid: int, name: str) -> list[tuple[int, int, int]]:
    with open(f"/proc/{pid}/{name}", encoding="ascii") as file:
        rows = [line.split() for line in file]
    return [(int(inside), int(outside), int(count)) for inside, outside, count in rows]


@cache
def _host() -> tuple[float, int]:
    with open("/proc/stat", encoding="ascii") as file:
        boot = next(int(line.split()[1]) for line in file if line.startswith("btime"))
    return boot, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _argument(words: list[str], option: str) -> str:
    if not words:
        raise InvalidParameter(f"docker top: ps option {option!r} needs a list of columns")
    return words.pop(0)


def _add_columns(given: str, columns: list[str], titles: list[str]) -> None:
    for part in given.split(","):
        name, equals, title = part.strip().partition("=")
        name = _ALIASES.get(name.lower(), name.lower())
        if name not in _COLUMNS:
            raise InvalidParameter(f"docker top: ps column {part!r} is not known")
        columns.append(name)
        titles.append(title if equals else _COLUMNS[name][0])


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _terminal(device: int) -> str:
    major, minor = device >> 8 & 0xFFF, device & 0xFF | device >> 12 & 0xFFF00
    if not device:
        return "?"
    return f"pts/{minor + 256 * (major - 136)}" if 136 <= major <= 143 else f"tty{minor}"


def _cpu_percent(process: Process) -> float:
    lived = time.time() - process.started
    return 100 * process.cpu / lived if lived > 0 else 0.0


def _cpu_time(process: Process) -> str:
    minutes, seconds = divmod(int(process.cpu), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-" * bool(days) + f"{hours:02d}:{minutes:02d}:{seconds:02d}"


def _bsd_time(process: Process) -> str:
    minutes, seconds = divmod(int(process.cpu), 60)
    return f"{minutes}:{seconds:02d}"


def _start(process: Process) -> str:
    begun = time.localtime(process.started)
    today = time.localtime()
    if (begun.tm_year, begun.tm_yday) == (today.tm_year, today.tm_yday):
        return time.strftime("%H:%M", begun)
    return time.strftime("%b%d" if begun.tm_year == today.tm_year else "%Y", begun)


def _elapsed(process: Process) -> str:
    minutes, seconds = divmod(max(0, int(time.time() - process.started)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}-{hours:02d}:{minutes:02d}:{seconds:02d}"
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"


def _stat(process: Process) -> str:
    return (
        process.state
        + ("<" if process.nice < 0 else "N" if process.nice > 0 else "")
        + ("s" if process.sid == process.pid else "")
        + ("l" if process.threads > 1 else "")
        + ("+" if process.foreground == process.pgid else "")
    )


_COLUMNS: dict[str, tuple[str, Callable[[Process], str]]] = {
    "user": ("USER", lambda p: _user(p.uid)),
    "uid": ("UID", lambda p: str(p.uid)),
    "group": ("GROUP", lambda p: _group(p.gid)),
    "gid": ("GID", lambda p: str(p.gid)),
    "pid": ("PID", lambda p: str(p.pid)),
    "ppid": ("PPID", lambda p: str(p.ppid)),
    "pgid": ("PGID", lambda p: str(p.pgid)),
    "sid": ("SID", lambda p: str(p.sid)),
    "c": ("C", lambda p: str(min(99, int(_cpu_percent(p))))),
    "%cpu": ("%CPU", lambda p: f"{_cpu_percent(p):.1f}"),
    "%mem": ("%MEM", lambda p: f"{100 * p.resident / p.memory:.1f}"),
    "vsz": ("VSZ", lambda p: str(p.virtual // 1024)),
    "rss": ("RSS", lambda p: str(p.resident // 1024)),
    "sz": ("SZ", lambda p: str(p.virtual // os.sysconf("SC_PAGE_SIZE"))),
    "tty": ("TTY", lambda p: _terminal(p.tty)),
    "stat": ("STAT", _stat),
    "s": ("S", lambda p: p.state),
    "f": ("F", lambda p: str(p.flags >> 6 & 7)),
    "pri": ("PRI", lambda p: str(60 + p.priority)),
    "ni": ("NI", lambda p: str(p.nice)),
    "addr": ("ADDR", lambda p: "-"),
    "wchan": ("WCHAN", lambda p: "-"),
    "nlwp": ("NLWP", lambda p: str(p.threads)),
    "stime": ("STIME", _start),
    "start": ("START", _start),
    "lstart": ("STARTED", lambda p: time.strftime("%c", time.localtime(p.started))),
    "time": ("TIME", _cpu_time),
    "bsdtime": ("TIME", _bsd_time),
    "etime": ("ELAPSED", _elapsed),
    "etimes": ("ELAPSED", lambda p: str(max(0, int(time.time() - p.started)))),
    "comm": ("COMMAND", lambda p: p.comm),
    "cmd": ("CMD", lambda p: p.command),
    "command": ("COMMAND", lambda p: p.command),
}

_ALIASES = {
    "args": "command",
    "ucmd": "comm",
    "ucomm": "comm",
    "euser": "user",
    "uname": "user",
    "ruser": "user",
    "euid": "uid",
    "ruid": "uid",
    "egroup": "group",
    "egid": "gid",
    "pcpu": "%cpu",
    "pmem": "%mem",
    "vsize": "vsz",
    "rssize": "rss",
    "rsz": "rss",
    "tt": "tty",
    "tname": "tty",
    "state": "s",
    "nice": "ni",
    "thcount": "nlwp",
    "cputime": "time",
    "pgrp": "pgid",
    "sess": "sid",
    "session": "sid",
    "bsdstart": "start",
    "start_time": "stime",
}
