"""``wherry import``"""

from __future__ import annotations

import os

from .. import references
from ..command import Command, between
from ..errors import CliError
from ..files import read_chunks
from ..flags import Flag
from ..kinds import LIST, STRING
from ..progress import draw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..flags import Options
    from ..session import Session


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
