"""Streams between files and the daemon."""

from __future__ import annotations

import os
import sys

from wherry.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CHUNK = 262144


def read_chunks(descriptor: int) -> Iterator[bytes]:
    """What a descriptor brings, piece by piece, until its end."""
    while data := os.read(descriptor, _CHUNK):
        yield data


def check_output(path: str, *, on_terminal: bool, task: str) -> None:
    """Raise CliError when an archive cannot go to ``path``, or to standard output when empty."""
    if not path:
        if on_terminal:
            raise CliError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        return
    try:
        _check_file(path)
    except CliError as error:
        raise CliError(f"failed to {task}: {error}") from None


def _check_file(path: str) -> None:
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise CliError(f'invalid output path: directory "{directory}" does not exist')
    if os.path.isdir(path):
        raise CliError(f'invalid output path: "{path}" must not be a directory')
    if os.path.exists(path) and not os.path.isfile(path):
        raise CliError(f'invalid output path: "{path}" must be a directory or a regular file')


def save_stream(data: Iterable[bytes], path: str) -> None:
    """Write a stream to ``path`` (aside, then renamed), or to standard output when empty."""
    if not path:
        sys.stdout.flush()
        from wherry.cli.attaching import write_all

        for part in data:
            write_all(1, part)
        return
    temporary = f"{os.path.dirname(path) or '.'}/.wherry_{os.getpid()}_{os.path.basename(path)}"
    try:
        with open(temporary, "wb") as file:
            for part in data:
                file.write(part)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
