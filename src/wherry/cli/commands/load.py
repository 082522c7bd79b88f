"""``wherry load``"""

from __future__ import annotations

import os

from wherry.cli import platforms
from wherry.cli.command import Command, none
from wherry.cli.errors import CliError
from wherry.cli.files import read_chunks
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, STRING, STRINGS
from wherry.cli.progress import draw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _load(session: Session, options: Options, arguments: list[str]) -> int:
    path = options["input"]
    if path:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise CliError(f"open {path}: {(error.strerror or '').lower()}") from None
    elif session.stdin_is_terminal:
        raise CliError("requested load from stdin, but stdin is empty")
    else:
        descriptor = 0
    quiet = options["quiet"] or not session.stdout_is_terminal
    query = {"quiet": quiet, "platform": platforms.query(options["platform"])}
    try:
        draw(
            session.client.stream("POST", "/images/load", query=query, body=read_chunks(descriptor))
        )
    finally:
        if descriptor:
            os.close(descriptor)
    return 0


LOAD = Command(
    "load [OPTIONS]",
    _load,
    flags=(
        Flag("input", "i", STRING, "Read from a tar archive file, instead of STDIN"),
        Flag("platform", "", STRINGS, "Load only these platforms (os/arch[/variant])"),
        Flag("quiet", "q", BOOL, "Suppress the load output"),
    ),
    arguments=none,
)
