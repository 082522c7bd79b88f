"""``prune`` of containers, images, networks, volumes, build cache, and of the whole system."""

from __future__ import annotations

from wherry.cli import filters
from wherry.cli.command import Command, none
from wherry.cli.commands.rmi import deleted_lines
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, BYTES, FILTER
from wherry.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

    Filters = dict[str, list[str]]

_CANCELLED = "Total reclaimed space: 0B"


def _prune(session: Session, path: str, query: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = session.client.call("POST", path, query=query) or {}
    return answer


def _section(title: str, lines: list[str]) -> str:
    return f"{title}\n" + "".join(f"{line}\n" for line in lines) if lines else ""


def _containers(session: Session, chosen: Filters) -> tuple[str, int]:
    answer = _prune(session, "/containers/prune", {"filters": filters.encode(chosen)})
    lines = answer.get("ContainersDeleted") or []
    return _section("Deleted Containers:", lines), int(answer.get("SpaceReclaimed") or 0)


def _networks(session: Session, chosen: Filters) -> tuple[str, int]:
    answer = _prune(session, "/networks/prune", {"filters": filters.encode(chosen)})
    return _section("Deleted Networks:", answer.get("NetworksDeleted") or []), 0


def _volumes(session: Session, chosen: Filters) -> tuple[str, int]:
    answer = _prune(session, "/volumes/prune", {"filters": filters.encode(chosen)})
    lines = answer.get("VolumesDeleted") or []
    return _section("Deleted Volumes:", lines), int(answer.get("SpaceReclaimed") or 0)


def _images(session: Session, chosen: Filters, every: bool) -> tuple[str, int]:
    merged = {**chosen, "dangling": ["false" if every else "true"]}
    answer = _prune(session, "/images/prune", {"filters": filters.encode(merged)})
    lines = [
        line.replace("Untagged", "untagged", 1).replace("Deleted", "deleted", 1)
        for line in deleted_lines(answer.get("ImagesDeleted") or [])
    ]
    return _section("Deleted Images:", lines), int(answer.get("SpaceReclaimed") or 0)


def _build_cache(session: Session, chosen: Filters, every: bool, keep: int = 0) -> tuple[str, int]:
    query = {
        "all": every or None,
        "keep-storage": keep or None,
        "filters": filters.encode(chosen) or "",
    }
    answer = _prune(session, "/build/prune", query)
    lines = answer.get("CachesDeleted") or []
    return _section("Deleted build cache objects:", lines), int(answer.get("SpaceReclaimed") or 0)


def _chosen(session: Session, options: Options) -> Filters:
    configured = session.config.data.get("pruneFilters") or []
    return filters.with_config(options["filter"], configured)


def _one(
    warning: Callable[[Options], str],
    action: Callable[[Session, Options, Filters], tuple[str, int]],
    *,
    space: bool = True,
) -> Any:
    """A prune command: warn, ask, act, report."""

    def run(session: Session, options: Options, arguments: list[str]) -> int:
        chosen = _chosen(session, options)
        if not options["force"] and not session.confirm(warning(options)):
            return 0
        text, reclaimed = action(session, options, chosen)
        if text:
            session.say(text)
        if space:
            session.say(f"Total reclaimed space: {human_size(reclaimed)}")
        return 0

    return run


def _system(session: Session, options: Options, arguments: list[str]) -> int:
    chosen = _chosen(session, options)
    if options["volumes"] and "until" in chosen:
        raise CliError('ERROR: The "until" filter is not supported with "--volumes"')
    every = options["all"]
    if not options["force"]:
        items = ["all stopped containers", "all networks not used by at least one container"]
        if options["volumes"]:
            items.append("all anonymous volumes not used by at least one container")
        items.append(
            "all images without at least one container associated to them"
            if every
            else "all dangling images"
        )
        items.append("all build cache" if every else "unused build cache")
        listed = "".join(f"  - {item}\n" for item in items)
        if chosen:
            listed += "\n  Items to be pruned will be filtered with:\n" + "".join(
                f"  - {name}={value}\n" for name, values in chosen.items() for value in values
            )
        question = f"WARNING! This will remove:\n{listed}\nAre you sure you want to continue?"
        if not session.confirm(question):
            return 0
    steps: list[Callable[[], tuple[str, int]]] = [
        lambda: _containers(session, chosen),
        lambda: _networks(session, chosen),
    ]
    if options["volumes"]:
        steps.append(lambda: _volumes(session, chosen))
    steps.append(lambda: _images(session, chosen, every))
    steps.append(lambda: _build_cache(session, chosen, every))
    total = 0
    for step in steps:
        text, reclaimed = step()
        total += reclaimed
        if text:
            session.say(text)
    session.say(f"Total reclaimed space: {human_size(total)}")
    return 0


def _image_warning(options: Options) -> str:
    if options["all"]:
        return (
            "WARNING! This will remove all images without at least one container associated "
            "to them.\nAre you sure you want to continue?"
        )
    return "WARNING! This will remove all dangling images.\nAre you sure you want to continue?"


def _volume_warning(options: Options) -> str:
    which = "all local" if options["all"] else "anonymous local"
    return (
        f"WARNING! This will remove {which} volumes not used by at least one container.\n"
        "Are you sure you want to continue?"
    )


def _volume_action(session: Session, options: Options, chosen: Filters) -> tuple[str, int]:
    if options["all"]:
        if "all" in chosen:
            raise CliError("conflicting options: cannot specify both --all and --filter all=1")
        chosen = {**chosen, "all": ["true"]}
    return _volumes(session, chosen)


def _builder_warning(options: Options) -> str:
    which = "all build cache" if options["all"] else "all dangling build cache"
    return f"WARNING! This will remove {which}. Are you sure you want to continue?"


_FILTER = Flag("filter", "", FILTER, 'Conditions such as "until=24h" or "label=x"')
_FORCE = Flag("force", "f", BOOL, "Do not prompt for confirmation")

CONTAINER = Command(
    "prune [OPTIONS]",
    _one(
        lambda _: (
            "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?"
        ),
        lambda session, _, chosen: _containers(session, chosen),
    ),
    flags=(_FILTER, _FORCE),
    arguments=none,
)
NETWORK = Command(
    "prune [OPTIONS]",
    _one(
        lambda _: (
            "WARNING! This will remove all custom networks not used by at least one "
            "container.\nAre you sure you want to continue?"
        ),
        lambda session, _, chosen: _networks(session, chosen),
        space=False,
    ),
    flags=(_FILTER, _FORCE),
    arguments=none,
)
VOLUME = Command(
    "prune [OPTIONS]",
    _one(_volume_warning, _volume_action),
    flags=(
        Flag("all", "a", BOOL, "Remove all unused volumes, not just anonymous ones"),
        _FILTER,
        _FORCE,
    ),
    arguments=none,
)
IMAGE = Command(
    "prune [OPTIONS]",
    _one(
        _image_warning,
        lambda session, options, chosen: _images(session, chosen, options["all"]),
    ),
    flags=(
        Flag("all", "a", BOOL, "Remove all unused images, not just dangling ones"),
        _FILTER,
        _FORCE,
    ),
    arguments=none,
)
BUILDER = Command(
    "prune",
    _one(
        _builder_warning,
        lambda session, options, chosen: _build_cache(
            session, chosen, options["all"], options["keep-storage"]
        ),
    ),
    flags=(
        Flag("all", "a", BOOL, "Remove all unused build cache, not just dangling ones"),
        Flag("keep-storage", "", BYTES, "Amount of disk space to keep for cache"),
        _FILTER,
        _FORCE,
    ),
    arguments=none,
)
SYSTEM = Command(
    "prune [OPTIONS]",
    _system,
    flags=(
        Flag("all", "a", BOOL, "Remove all unused images, not just dangling ones"),
        Flag("volumes", "", BOOL, "Prune anonymous volumes"),
        _FILTER,
        _FORCE,
    ),
    arguments=none,
)
