"""``wherry system check``"""

from __future__ import annotations

from wherry.cli.command import Command, none
from wherry.cli.flags import Flag
from wherry.cli.gotemplate.functions import to_json
from wherry.cli.kinds import BOOL
from wherry.cli.progress import draw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _check(session: Session, options: Options, arguments: list[str]) -> int:
    report = _report(session, progress=session.stdout_is_terminal and not options["json"])
    problems = report["Problems"]
    if options["json"]:
        session.say(to_json(report))
        return 1 if problems else 0
    session.say(
        f"Verified {report['Blobs']} blobs, {report['Layers']} layers, {report['Images']} images, "
        f"{report['Names']} names"
    )
    for item in report["Garbage"]:
        session.say(f"left over: {item}")
    for problem in problems:
        session.say(f"{problem['Kind']} {problem['Object']}: {problem['Message']}")
    session.say(f"{len(problems)} problems" if problems else "No problems")
    return 1 if problems else 0


def _report(session: Session, *, progress: bool) -> dict[str, Any]:
    """The engine's report; on a terminal with a bar while it is made."""
    if not progress:
        answer: dict[str, Any] = session.client.call("GET", "/wherry/check")
        return answer
    found: list[dict[str, Any]] = []
    draw(
        session.client.stream("GET", "/wherry/check", query={"progress": True}),
        on_aux=found.append,
    )
    return found[0]


CHECK = Command(
    "check [OPTIONS]",
    _check,
    flags=(Flag("json", "", BOOL, "Print the report as JSON"),),
    arguments=none,
    description="Verify every stored blob, layer, image and name. Exits with 1 on problems.",
)
