"""``wherry stats``"""

from __future__ import annotations

import sys
import threading
import time
from functools import partial
from io import StringIO

from wherry.cli.command import Command, anything
from wherry.cli.errors import CliError
from wherry.cli.failures import message
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, STRING
from wherry.cli.tables import Row, listing, short_id
from wherry.cli.units import binary_size, short_size
from wherry.client.api import quote
from wherry.client.errors import ClientError
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

    Sample = dict[str, Any]

_TABLE = (
    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}"
    "\t{{.PIDs}}"
)
_TITLES = {
    "Container": "CONTAINER",
    "Name": "NAME",
    "ID": "CONTAINER ID",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
_INTERVAL = 0.5


def cpu_percent(sample: Sample) -> float:
    """Share of one CPU, in percent, between the sample and the one before it."""
    now, before = sample.get("cpu_stats") or {}, sample.get("precpu_stats") or {}
    used = _total(now) - _total(before)
    system = (now.get("system_cpu_usage") or 0) - (before.get("system_cpu_usage") or 0)
    per_cpu = (now.get("cpu_usage") or {}).get("percpu_usage") or []
    online = now.get("online_cpus") or len(per_cpu)
    return used / system * online * 100.0 if used > 0 and system > 0 else 0.0


def _total(stats: dict[str, Any]) -> int:
    return int((stats.get("cpu_usage") or {}).get("total_usage") or 0)


def memory_used(memory: dict[str, Any]) -> int:
    """Memory in use without page cache that the kernel may take back at once."""
    usage = int(memory.get("usage") or 0)
    details = memory.get("stats") or {}
    for key in ("total_inactive_file", "inactive_file"):  # cgroup v1, cgroup v2
        cache = int(details.get(key) or 0)
        if key in details and cache < usage:
            return usage - cache
    return usage


def _network(sample: Sample) -> tuple[int, int]:
    devices = (sample.get("networks") or {}).values()
    received = sum(int(device.get("rx_bytes") or 0) for device in devices)
    return received, sum(int(device.get("tx_bytes") or 0) for device in devices)


def _block(sample: Sample) -> tuple[int, int]:
    entries = (sample.get("blkio_stats") or {}).get("io_service_bytes_recursive") or []
    totals = {"r": 0, "w": 0}
    for entry in entries:
        operation = str(entry.get("op") or "")[:1].lower()
        if operation in totals:
            totals[operation] += int(entry.get("value") or 0)
    return totals["r"], totals["w"]


def stats_row(name: str, sample: Sample | None, *, trunc: bool) -> Row:
    """A row of one sample; dashes while there is none."""
    if sample is None:
        dashes = {
            **dict.fromkeys(("ID", "Name", "CPUPerc", "MemPerc", "NetIO", "BlockIO", "PIDs"), "--"),
            "Container": name,
            "MemUsage": "-- / --",
        }
        return _fixed(dashes)
    memory = sample.get("memory_stats") or {}
    used, limit = memory_used(memory), int(memory.get("limit") or 0)
    percent = used / limit * 100.0 if limit else 0.0
    identity = str(sample.get("id") or sample.get("Id") or "")
    received, sent = _network(sample)
    read, written = _block(sample)
    values = {
        "Container": name,
        "ID": short_id(identity) if trunc else identity,
        "Name": str(sample.get("name") or "").removeprefix("/") or "--",
        "CPUPerc": f"{cpu_percent(sample):.2f}%",
        "MemUsage": f"{binary_size(used)} / {binary_size(limit)}",
        "MemPerc": f"{percent:.2f}%",
        "NetIO": f"{short_size(received)} / {short_size(sent)}",
        "BlockIO": f"{short_size(read)} / {short_size(written)}",
        "PIDs": str((sample.get("pids_stats") or {}).get("current") or 0),
    }
    return _fixed(values)


def _fixed(values: dict[str, str]) -> Row:
    """A row whose values are known already."""
    return Row("statsContext", {key: partial(str, value) for key, value in values.items()})


class _Watched:
    """The latest sample of one container, kept by a thread of its own."""

    def __init__(self, session: Session, name: str) -> None:
        self.name = name
        self.sample: Sample | None = None
        self.gone = False
        self._session = session
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    def _follow(self) -> None:
        try:
            for sample in self._session.client.stream(
                "GET", f"/containers/{quote(self.name)}/stats", query={"stream": True}
            ):
                self.sample = sample
        except (ClientError, ValueError):
            pass
        self.gone = True


def _names(session: Session, every: bool) -> list[str]:
    entries = session.client.call("GET", "/containers/json", query={"all": every or None})
    return [str(entry["Id"]) for entry in entries]


def _once(session: Session, options: Options, names: list[str], form: str) -> int:
    """One sample of each, taken side by side."""
    samples: dict[str, Sample] = {}
    failures: dict[str, WherryError] = {}

    def take(name: str) -> None:
        try:
            samples[name] = session.client.call(
                "GET", f"/containers/{quote(name)}/stats", query={"stream": False}
            )
        except WherryError as error:
            failures[name] = error

    threads = [threading.Thread(target=take, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise CliError("\n".join(message(failures[name]) for name in names if name in failures))
    trunc = not options["no-trunc"]
    listing([stats_row(name, samples[name], trunc=trunc) for name in names], _TITLES, form, _TABLE)
    return 0


def _stats(session: Session, options: Options, arguments: list[str]) -> int:
    form = options["format"] or session.config.text("statsFormat")
    names = arguments or _names(session, options["all"])
    if options["no-stream"]:
        return _once(session, options, names, form)
    for name in arguments:
        session.client.call("GET", f"/containers/{quote(name)}/json")
    watched = {name: _Watched(session, name) for name in names}
    trunc = not options["no-trunc"]
    while True:
        if not arguments:
            for name in _names(session, options["all"]):
                if name not in watched:
                    watched[name] = _Watched(session, name)
            watched = {name: entry for name, entry in watched.items() if not entry.gone}
        rows = [
            stats_row(entry.name if arguments else short_id(entry.name), entry.sample, trunc=trunc)
            for entry in watched.values()
        ]
        screen = StringIO()
        listing(rows, _TITLES, form, _TABLE, out=screen)
        _draw(screen.getvalue())
        if arguments and all(entry.gone for entry in watched.values()):
            return 0
        time.sleep(_INTERVAL)


def _draw(text: str) -> None:
    """Draw over what was drawn before: home, each line cleared to its end, the rest below."""
    lines = text.split("\n")
    sys.stdout.write("\x1b[H" + "\x1b[K\n".join(lines) + "\x1b[J")
    sys.stdout.flush()


STATS = Command(
    "stats [OPTIONS] [CONTAINER...]",
    _stats,
    flags=(
        Flag("all", "a", BOOL, "Show all containers (default shows just running)"),
        Flag("format", "", STRING, "Format output: table, table TEMPLATE, json, or TEMPLATE"),
        Flag("no-stream", "", BOOL, "Pull only the first result"),
        Flag("no-trunc", "", BOOL, "Do not truncate output"),
    ),
    arguments=anything,
)
