"""``wherry cp``"""

from __future__ import annotations

import base64
import json
import os
import sys

from wherry.cli.command import Command, exactly
from wherry.cli.errors import CliError
from wherry.cli.files import read_chunks
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL
from wherry.client.api import quote
from wherry.client.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

_LINK = 1 << 27  # Go's mode bits, in which the daemon describes files
_DIRECTORY = 1 << 31


def split_place(text: str) -> tuple[str, str]:
    """``CONTAINER:PATH`` as a pair; the container is empty for a local path."""
    if text.startswith(("/", ".")):
        return "", text
    container, colon, path = text.partition(":")
    return (container, path) if colon else ("", text)


def _stat(session: Session, container: str, path: str) -> dict[str, Any]:
    """What the daemon says of a path in a container."""
    response = session.client.request(
        "HEAD", f"/containers/{quote(container)}/archive", query={"path": path}
    )
    header = response.headers.get("x-docker-container-path-stat", "")
    found: dict[str, Any] = json.loads(base64.b64decode(header))
    return found


def _cp(session: Session, options: Options, arguments: list[str]) -> int:
    from_container, source = split_place(arguments[0])
    to_container, target = split_place(arguments[1])
    if from_container and to_container:
        raise CliError("copying between containers is not supported")
    if not from_container and not to_container:
        raise CliError("must specify at least one container source")
    if not source:
        raise CliError("source can not be empty")
    if not target:
        raise CliError("destination can not be empty")
    if from_container:
        return _out_of(session, options, from_container, source, target)
    return _into(session, options, source, to_container, target)


def _out_of(session: Session, options: Options, container: str, source: str, target: str) -> int:
    source = absolute(source)
    if options["follow-link"]:
        stat = _stat(session, container, source)
        if stat["mode"] & _LINK:
            link = str(stat["linkTarget"])
            source = (
                link
                if link.startswith("/")
                else os.path.normpath(os.path.join(os.path.dirname(source), link))
            )
    if target != "-":
        _check_parent(target)
    response = session.client.request(
        "GET", f"/containers/{quote(container)}/archive", query={"path": source}
    )
    if target == "-":
        from wherry.cli.attaching import write_all

        sys.stdout.flush()
        for part in response:
            write_all(1, part)
        return 0
    from wherry.cli.archives import extract

    size = extract(response, target, whole=source.endswith("/."))
    _report(session, options, size, f"{container}:{source}", target)
    return 0


def absolute(path: str) -> str:
    """A container's path from its root, with a trailing ``/`` or ``/.`` kept."""
    clean = os.path.normpath("/" + path.lstrip("/"))
    clean = "/" + clean.lstrip("/")
    if path.endswith("/."):
        return "/." if clean == "/" else f"{clean}/."
    return f"{clean}/" if path.endswith("/") and clean != "/" else clean


def _check_parent(target: str) -> None:
    if os.path.exists(target):
        return
    parent = os.path.dirname(target.rstrip("/")) or "."
    if not os.path.isdir(parent):
        raise CliError(f'invalid output path: directory "{os.path.abspath(parent)}" does not exist')
    if target.endswith("/"):
        raise CliError("no such directory")


def _into(session: Session, options: Options, source: str, container: str, target: str) -> int:
    from wherry.cli.archives import pack, plan

    target = absolute(target)
    stat: dict[str, Any] | None = None
    try:
        stat = _stat(session, container, target)
        if stat["mode"] & _LINK:
            link = str(stat["linkTarget"])
            target = (
                link
                if link.startswith("/")
                else os.path.normpath(os.path.join(os.path.dirname(target), link))
            )
            stat = None
            stat = _stat(session, container, target)
    except NotFoundError as error:
        if "No such container" in str(error):
            raise
    is_directory = bool(stat and stat["mode"] & _DIRECTORY)
    if source == "-":
        if not is_directory:
            raise CliError(f'destination "{container}:{target}" must be a directory')
        if session.stdin_is_terminal:
            raise CliError("refusing to read a tar archive from a terminal")
        body, place, size = read_chunks(0), target, 0
    else:
        if not os.path.lexists(source):
            raise CliError(f"lstat {os.path.abspath(source)}: no such file or directory")
        step = plan(
            source,
            target,
            follow=options["follow-link"],
            target_exists=stat is not None,
            target_is_directory=is_directory,
        )
        place, size = step.directory, step.size
        body = pack(step)
    query: dict[str, Any] = {"path": place, "noOverwriteDirNonDir": "true"}
    if options["archive"]:
        query["copyUIDGID"] = "true"
    session.client.call_raw(
        "PUT", f"/containers/{quote(container)}/archive", query=query, body=body
    )
    if source != "-":
        _report(session, options, size, "", f"{container}:{target}")
    return 0


def _report(session: Session, options: Options, size: int, source: str, target: str) -> None:
    """Say what was copied, on a terminal only."""
    if options["quiet"] or not sys.stderr.isatty():
        return
    from wherry.cli.units import human_size

    session.warn(f"Successfully copied {human_size(size)} to {target}")


CP = Command(
    "cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-",
    _cp,
    flags=(
        Flag("archive", "a", BOOL, "Keep user and group of the files"),
        Flag("follow-link", "L", BOOL, "Always follow symbolic links in SRC_PATH"),
        Flag("quiet", "q", BOOL, "Suppress progress output"),
    ),
    arguments=exactly(2),
    description="Copy files/folders between a container and the local file system.\n"
    "Use '-' as the source to read a tar archive from stdin and extract it to a directory\n"
    "destination in a container, or as the destination to stream a tar archive to stdout.",
)
