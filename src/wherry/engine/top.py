"""``docker top``: the rows that ``ps`` would print for a container's processes, read from /proc.

Options and columns are those of ps(1), see `wherry.engine.psoptions`. Users are shown as the
container's own ids, looked up in the host's account file as ps does.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from wherry.engine import psoptions
from wherry.numbers import whole_number


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
    minor_faults: int
    major_faults: int
    processor: int
    realtime: int
    policy: int
    command: str
    boot: float
    memory: int


def top(pids: Sequence[int], ps_args: str | None) -> dict[str, Any]:
    """The view of ``GET /containers/{id}/top`` for ``pids`` (host view); ended ones are left out.

    Raises InvalidParameter for options or columns that are not known.
    """
    request = psoptions.parse(ps_args or "-ef", _COLUMNS, lambda name: _COLUMNS[name][0])
    processes = [process for pid in pids if (process := read_process(pid))]
    for name, wanted in request.only:
        processes = [one for one in processes if _is_one_of(one, name, wanted)]
    processes.sort(key=lambda one: one.pid)
    for name, downwards in reversed(request.sort):
        processes.sort(key=_sort_key(name), reverse=downwards)
    branches = [(one, "") for one in processes]
    if request.forest:
        branches = _forest(processes)
    return {
        "Titles": [title for _, title in request.columns],
        "Processes": [
            [
                (branch if name in _WITH_BRANCH else "") + _COLUMNS[name][1](process)
                for name, _ in request.columns
            ]
            for process, branch in branches
        ],
    }


def _is_one_of(process: Process, name: str, wanted: Collection[str]) -> bool:
    texts = {_COLUMNS[name][1](process)}
    if name == "user":
        texts.add(str(process.uid))
    elif name == "group":
        texts.add(str(process.gid))
    return not texts.isdisjoint(wanted)


def _sort_key(name: str) -> Callable[[Process], Any]:
    """What a column is sorted by: a number where it shows one, else its text."""
    show = _COLUMNS[name][1]

    def key(process: Process) -> tuple[float, str]:
        if name in _SORTED_BY:
            return _SORTED_BY[name](process), ""
        text = show(process)
        number = whole_number(text.removeprefix("-"))
        if number is None:
            return 0, text
        return (-number if text.startswith("-") else number), ""

    return key


def _forest(processes: Sequence[Process]) -> list[tuple[Process, str]]:
    """Children below their parents, with the branch that ps draws before their commands."""
    known = {one.pid for one in processes}
    found: list[tuple[Process, str]] = []

    def grow(parents: Sequence[Process], depth: int) -> None:
        for parent in parents:
            found.append((parent, "    " * (depth - 1) + r" \_ " if depth else ""))
            grow([one for one in processes if one.ppid == parent.pid], depth + 1)

    grow([one for one in processes if one.ppid not in known], 0)
    return found


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
        minor_faults=int(fields[7]),
        major_faults=int(fields[9]),
        processor=int(fields[36]),
        realtime=int(fields[37]),
        policy=int(fields[38]),
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


def _text_of(pid: int, name: str) -> str:
    try:
        with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read().strip("\0\n ")
    except OSError:
        return ""


def _exe(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return "-"


def _stat(process: Process) -> str:
    return (
        process.state
        + ("<" if process.nice < 0 else "N" if process.nice > 0 else "")
        + ("s" if process.sid == process.pid else "")
        + ("l" if process.threads > 1 else "")
        + ("+" if process.foreground == process.pgid else "")
    )


_POLICIES = {0: "TS", 1: "FF", 2: "RR", 3: "B", 5: "IDL", 6: "DLN"}
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
    "wchan": ("WCHAN", lambda p: _text_of(p.pid, "wchan") or "-"),
    "tpgid": ("TPGID", lambda p: str(p.foreground)),
    "psr": ("PSR", lambda p: str(p.processor)),
    "cls": ("CLS", lambda p: _POLICIES.get(p.policy, "?")),
    "rtprio": ("RTPRIO", lambda p: str(p.realtime) if p.realtime else "-"),
    "min_flt": ("MINFL", lambda p: str(p.minor_faults)),
    "maj_flt": ("MAJFL", lambda p: str(p.major_faults)),
    "label": ("LABEL", lambda p: _text_of(p.pid, "attr/current") or "-"),
    "cgroup": ("CGROUP", lambda p: ",".join(_text_of(p.pid, "cgroup").split())),
    "exe": ("EXE", lambda p: _exe(p.pid)),
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

_WITH_BRANCH = ("cmd", "command", "comm")
_SORTED_BY: dict[str, Callable[[Process], float]] = {
    "%cpu": _cpu_percent,
    "%mem": lambda p: p.resident,
    "time": lambda p: p.cpu,
    "bsdtime": lambda p: p.cpu,
    "stime": lambda p: p.started,
    "start": lambda p: p.started,
    "lstart": lambda p: p.started,
    "etime": lambda p: -p.started,
}
