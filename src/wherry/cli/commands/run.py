"""``wherry create`` and ``wherry run``."""

from __future__ import annotations

import os
import sys

from wherry.cli import references
from wherry.cli.command import Command, at_least
from wherry.cli.errors import CliError
from wherry.cli.failures import message
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, STRING
from wherry.cli.options.container_body import container_body
from wherry.cli.options.container_flags import CONTAINER_FLAGS, WINDOWS_ONLY
from wherry.client.errors import ApiError, ConflictError, NotFoundError
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

_PULL_POLICIES = ("always", "missing", "never", "")


def _failed(session: Session, words: str, code: int = 125) -> CliError:
    """A failure before the container ran, with a pointer to the help text."""
    return CliError(
        f"wherry: {words}\n\nRun 'wherry {session.path} --help' for more information", code
    )


def start_failure_code(words: str) -> int:
    """127 when the command was not found, 126 when it could not be executed, else 125."""
    if any(
        part in words
        for part in ("executable file not found", "no such file or directory", "cannot find the")
    ):
        return 127
    if "permission denied" in words or "is a directory" in words:
        return 126
    return 125


class CidFile:
    """``--cidfile``: made before the container so that a failure costs nothing."""

    def __init__(self, path: str) -> None:
        self._path = path
        if not path:
            return
        if os.path.exists(path):
            raise CliError(
                "container ID file found, make sure the other container isn't running or delete "
                + path
            )
        try:
            with open(path, "x", encoding="utf-8"):
                pass
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise CliError(
                f"failed to create the container ID file: open {path}: {reason}"
            ) from None

    def write(self, container: str) -> None:
        """Fill in the id."""
        if self._path:
            with open(self._path, "w", encoding="utf-8") as file:
                file.write(container)

    def discard(self) -> None:
        """Remove the file again: there is no container."""
        if self._path:
            os.unlink(self._path)


_IMAGE_LACKING = ("no such image", "does not match the specified platform")
"""What a refused creation says when a pull can help."""


def create_container(session: Session, options: Options, body: dict[str, Any]) -> str:
    """Create the container, pulling its image as ``--pull`` says; returns its id."""
    policy = options["pull"]
    image = body["Image"]
    references.check_any(image)
    platform = options["platform"] or os.environ.get("DOCKER_DEFAULT_PLATFORM", "")
    cidfile = CidFile(options["cidfile"])
    try:
        if policy == "always":
            _pull(session, image, platform, options["quiet"])
        query = {"name": options["name"] or None, "platform": platform or None}
        try:
            answer = session.client.call("POST", "/containers/create", query=query, body=body)
        except NotFoundError as error:
            lacking = any(reason in str(error).lower() for reason in _IMAGE_LACKING)
            if policy == "never" or not lacking:
                raise
            if not options["quiet"]:
                session.warn(f"Unable to find image '{references.with_tag(image)}' locally")
            _pull(session, image, platform, options["quiet"])
            answer = session.client.call("POST", "/containers/create", query=query, body=body)
    except BaseException:
        cidfile.discard()
        raise
    for warning in answer.get("Warnings") or []:
        session.warn(f"WARNING: {warning}")
    container = str(answer["Id"])
    cidfile.write(container)
    return container


def _pull(session: Session, image: str, platform: str, quiet: bool) -> None:
    from wherry.cli.commands.pull import pull_image

    pull_image(session, image, platform, quiet=quiet, out=sys.stderr)


def _body(session: Session, options: Options, arguments: list[str]) -> dict[str, Any]:
    foreign = [name for name in WINDOWS_ONLY if options.given(name)]
    if foreign:
        raise CliError(
            "\n".join(
                f'"--{name}" is only supported on a daemon running on windows, '
                "but this one runs on linux"
                for name in foreign
            )
        )
    if options["pull"] not in _PULL_POLICIES:
        raise _failed(
            session,
            f"invalid pull option: '{options['pull']}': "
            'must be one of "always", "missing" or "never"',
        )
    proxies = session.config.proxies(session.endpoint.address)
    try:
        body = container_body(options, arguments, proxies)
    except (ValueError, OSError) as error:
        words = str(error)
        if isinstance(error, OSError):
            words = f"open {error.filename}: {(error.strerror or '').lower()}"
        raise _failed(session, words) from None
    if options["use-api-socket"]:
        _give_api_socket(session, body)
    return body


def _give_api_socket(session: Session, body: dict[str, Any]) -> None:
    """Mount the daemon's socket and tell the container of it."""
    endpoint = session.endpoint
    if endpoint.scheme != "unix":
        raise _failed(session, "flag --use-api-socket can only be used with unix sockets")
    body["HostConfig"].setdefault("Mounts", []).append(
        {"Type": "bind", "Source": endpoint.path, "Target": "/var/run/docker.sock"}
    )


def _create(session: Session, options: Options, arguments: list[str]) -> int:
    body = _body(session, options, arguments)
    session.say(create_container(session, options, body))
    return 0


def _run(session: Session, options: Options, arguments: list[str]) -> int:
    body = _body(session, options, arguments)
    detach = options["detach"]
    if detach:
        if options["attach"]:
            raise CliError("conflicting options: cannot specify both --attach and --detach")
        body.update(AttachStdin=False, AttachStdout=False, AttachStderr=False, StdinOnce=False)
    elif body["AttachStdin"] and body["Tty"] and not session.stdin_is_terminal:
        raise CliError("the input device is not a TTY")
    try:
        container = create_container(session, options, body)
    except CliError as error:
        raise _failed(session, str(error)) from None
    except WherryError as error:
        words = message(error)
        raise _failed(session, words, start_failure_code(words)) from None
    if detach:
        return _start_detached(session, container)
    from wherry.cli.attaching import run_attached

    try:
        return run_attached(session, options, container, body)
    except (ApiError, ConflictError) as error:
        words = message(error)
        raise _failed(session, words, start_failure_code(words)) from None


def _start_detached(session: Session, container: str) -> int:
    session.say(container)
    try:
        session.client.call("POST", f"/containers/{container}/start")
    except WherryError as error:
        words = message(error)
        raise _failed(session, words, start_failure_code(words)) from None
    return 0


CREATE = Command(
    "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
    _create,
    flags=CONTAINER_FLAGS,
    arguments=at_least(1),
    interspersed=False,
)

RUN = Command(
    "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
    _run,
    flags=(
        *CONTAINER_FLAGS,
        Flag("detach", "d", BOOL, "Run in the background and print the container's id"),
        Flag("detach-keys", "", STRING, "Override the keys that detach from the container"),
        Flag("sig-proxy", "", BOOL, "Pass received signals to the process", default=True),
    ),
    arguments=at_least(1),
    interspersed=False,
)
