"""``wherry import``"""

from __future__ import annotations

import os

from wherry.cli import references
from wherry.cli.command import Command, between
from wherry.cli.errors import CliError
from wherry.cli.files import read_chunks
from wherry.cli.flags import Flag
from wherry.cli.kinds import LIST, STRING
from wherry.cli.progress import draw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _import(session: Session, options: Options, arguments: list[str]) -> int:
    source, target = arguments[0], arguments[1] if len(arguments) > 1 else ""
    if target:
        references.check(target)
    descriptor = -1
    if source == "-":
        descriptor = 0
    elif not source.startswith(("http://", "https://")):
        try:
            descriptor = os.open(source, os.O_RDONLY)
        except OSError as error:
            raise CliError(f"open {source}: {(error.strerror or '').lower()}") from None
    query: dict[str, Any] = {
        "fromSrc": "-" if descriptor >= 0 else source,
        "repo": target or None,
        "message": options["message"] or None,
        "changes": options["change"],
        "platform": options["platform"] or None,
    }
    body = read_chunks(descriptor) if descriptor >= 0 else None
    try:
        draw(session.client.stream("POST", "/images/create", query=query, body=body))
    finally:
        if descriptor > 0:
            os.close(descriptor)
    return 0


IMPORT = Command(
    "import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    _import,
    flags=(
        Flag("change", "c", LIST, "Apply a Dockerfile instruction to the created image"),
        Flag("message", "m", STRING, "Set a commit message for the image"),
        Flag("platform", "", STRING, "Platform of the image (os/arch[/variant])"),
    ),
    arguments=between(1, 2),
)
