"""``wherry load``"""

from __future__ import annotations

import os

from .. import platforms
from ..command import Command, none
from ..errors import CliError
from ..files import read_chunks
from ..flags import Flag
from ..kinds import BOOL, STRING, STRINGS
from ..progress import draw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..flags import Options
    from ..session import Session


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
