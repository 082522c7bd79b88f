"""``wherry tag``"""

from __future__ import annotations

from wherry.cli import references
from wherry.cli.command import Command, exactly
from wherry.cli.commands.pull import repository
from wherry.cli.errors import CliError
from wherry.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _tag(session: Session, options: Options, arguments: list[str]) -> int:
    source, target = arguments
    try:
        references.check_any(source)
        references.check(target)
    except CliError as error:
        which = "source" if str(error) and not _valid(source) else "target"
        raise CliError(
            f'Error parsing reference: "{source if which == "source" else target}" is '
            f"not a valid repository/tag: {error}"
        ) from None
    _, tag, digest = references.split(target)
    if digest:
        raise CliError("refusing to create a tag with a digest reference")
    query = {"repo": repository(target), "tag": tag or "latest"}
    session.client.call("POST", f"/images/{quote(source, '/:@')}/tag", query=query)
    return 0


def _valid(source: str) -> bool:
    try:
        references.check_any(source)
    except CliError:
        return False
    return True


TAG = Command("tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", _tag, arguments=exactly(2))
