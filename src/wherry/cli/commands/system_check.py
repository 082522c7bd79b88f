"""``wherry system check``"""

from __future__ import annotations

from ..command import Command, none
from ..flags import Flag
from ..gotemplate.functions import to_json
from ..kinds import BOOL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..flags import Options
    from ..session import Session


def _check(session: Session, options: Options, arguments: list[str]) -> int:
    report = session.client.call("GET", "/wherry/check")
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


CHECK = Command(
    "check [OPTIONS]",
    _check,
    flags=(Flag("json", "", BOOL, "Print the report as JSON"),),
    arguments=none,
    description="Verify every stored blob, layer, image and name. Exits with 1 on problems.",
)
