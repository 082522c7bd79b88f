"""``wherry pull``"""

from __future__ import annotations

import os
import sys

from wherry.cli import references
from wherry.cli.auth import header
from wherry.cli.command import Command, exactly
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, STRING
from wherry.cli.progress import draw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def repository(name: str) -> str:
    """An image's name with registry and path written out."""
    return f"{references.registry_of(name)}/{references.path_of(name)}"


def pull_image(
    session: Session,
    image: str,
    platform: str = "",
    *,
    quiet: bool = False,
    all_tags: bool = False,
    out: TextIO | None = None,
) -> None:
    """Pull one image, or all tags of a repository, and draw the progress on ``out``."""
    references.check(image)
    name, tag, digest = references.split(image)
    query: dict[str, Any] = {"fromImage": repository(name)}
    if not all_tags:
        query["tag"] = digest or tag or "latest"
    query["platform"] = platform or None
    messages = session.client.stream(
        "POST", "/images/create", query=query, headers=header(session.config, image)
    )
    if quiet:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            draw(messages, nowhere)
    else:
        draw(messages, out)


def _pull(session: Session, options: Options, arguments: list[str]) -> int:
    image = arguments[0]
    references.check(image)
    name, tag, digest = references.split(image)
    if options["all-tags"] and (tag or digest):
        raise CliError("tag can't be used with --all-tags/-a")
    if not (options["all-tags"] or tag or digest or options["quiet"]):
        session.say("Using default tag: latest")
    sys.stdout.flush()
    platform = options["platform"] or os.environ.get("DOCKER_DEFAULT_PLATFORM", "")
    pull_image(session, image, platform, quiet=options["quiet"], all_tags=options["all-tags"])
    suffix = f"@{digest}" if digest else f":{tag or 'latest'}"
    session.say(repository(name) + ("" if options["all-tags"] else suffix))
    return 0


PULL = Command(
    "pull [OPTIONS] NAME[:TAG|@DIGEST]",
    _pull,
    flags=(
        Flag("all-tags", "a", BOOL, "Download all tagged images in the repository"),
        Flag("platform", "", STRING, "Platform of the image (os/arch[/variant])"),
        Flag("quiet", "q", BOOL, "Suppress verbose output"),
        Flag("disable-content-trust", "", BOOL, "", default=True, hidden=True),
    ),
    arguments=exactly(1),
)
