"""``wherry push``"""

from __future__ import annotations

import json
import os

from wherry.cli import references
from wherry.cli.auth import header
from wherry.cli.command import Command, exactly
from wherry.cli.commands.pull import repository
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, STRING
from wherry.cli.progress import draw
from wherry.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _push(session: Session, options: Options, arguments: list[str]) -> int:
    image = arguments[0]
    references.check(image)
    _, tag, digest = references.split(image)
    if digest:
        raise CliError("cannot push a digest reference")
    if options["all-tags"] and tag:
        raise CliError("tag can't be used with --all-tags/-a")
    if not options["all-tags"] and not tag:
        tag = "latest"
        if not options["quiet"]:
            session.say("Using default tag: latest")
    query: dict[str, Any] = {"tag": tag or None}
    if options["platform"]:
        os_name, _, rest = options["platform"].partition("/")
        architecture, _, variant = rest.partition("/")
        platform = {"os": os_name, "architecture": architecture, "variant": variant}
        query["platform"] = json.dumps({key: text for key, text in platform.items() if text})
    path = f"/images/{quote(repository(image), '/:')}/push"
    messages = session.client.stream(
        "POST", path, query=query, headers=header(session.config, image)
    )
    if options["quiet"]:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            draw(messages, nowhere)
        session.say(f"{repository(image)}{':' + tag if tag else ''}")
    else:
        draw(messages)
    return 0


PUSH = Command(
    "push [OPTIONS] NAME[:TAG]",
    _push,
    flags=(
        Flag("all-tags", "a", BOOL, "Push all tags of an image to the repository"),
        Flag("platform", "", STRING, "Push only this platform (os/arch[/variant])"),
        Flag("quiet", "q", BOOL, "Suppress verbose output"),
        Flag("disable-content-trust", "", BOOL, "", default=True, hidden=True),
    ),
    arguments=exactly(1),
)
