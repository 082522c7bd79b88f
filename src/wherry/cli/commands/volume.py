"""``wherry volume create``, ``rm`` and ``update``"""

from __future__ import annotations

from wherry.cli.command import Command, at_least, at_most
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, BYTES, LIST, MAP, STRING
from wherry.cli.options.container_flags import LABELS
from wherry.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

_CLUSTER = (
    ("availability", STRING, "active"),
    ("group", STRING, None),
    ("limit-bytes", BYTES, None),
    ("required-bytes", BYTES, None),
    ("scope", STRING, "single"),
    ("secret", MAP, None),
    ("sharing", STRING, "none"),
    ("topology-preferred", LIST, None),
    ("topology-required", LIST, None),
    ("type", STRING, "block"),
)


def _create(session: Session, options: Options, arguments: list[str]) -> int:
    name = arguments[0] if arguments else ""
    if options.given("name"):
        if name:
            raise CliError(
                "conflicting options: cannot specify a volume-name through both --name "
                "and as a positional arg"
            )
        name = options["name"]
    if any(options.given(flag) for flag, _, _ in _CLUSTER):
        raise CliError("cluster volumes need a Swarm, which Wherry does not have")
    labels = {}
    for entry in options["label"]:
        key, _, value = entry.partition("=")
        labels[key] = value
    body: dict[str, Any] = {"Driver": options["driver"]}
    if options["opt"]:
        body["DriverOpts"] = options["opt"]
    if labels:
        body["Labels"] = labels
    if name:
        body["Name"] = name
    session.say(str(session.client.call("POST", "/volumes/create", body=body).get("Name", "")))
    return 0


def _rm(session: Session, options: Options, arguments: list[str]) -> int:
    query = {"force": options["force"] or None}
    return session.each(
        arguments,
        lambda name: session.client.call("DELETE", f"/volumes/{quote(name)}", query=query),
    )


def _update(session: Session, options: Options, arguments: list[str]) -> int:
    for name in arguments:
        session.client.call("GET", f"/volumes/{quote(name)}")
    raise CliError("can only update cluster volumes")


CREATE = Command(
    "create [OPTIONS] [VOLUME]",
    _create,
    flags=(
        Flag("driver", "d", STRING, "Specify volume driver name", default="local"),
        Flag("label", "", LABELS, "Set metadata for a volume"),
        Flag("name", "", STRING, "Specify volume name", hidden=True),
        Flag("opt", "o", MAP, "Set driver options"),
        *(
            Flag(name, "", kind, "Of cluster volumes", default=default, hidden=True)
            for name, kind, default in _CLUSTER
        ),
    ),
    arguments=at_most(1),
)
RM = Command(
    "rm [OPTIONS] VOLUME [VOLUME...]",
    _rm,
    flags=(Flag("force", "f", BOOL, "Do not fail when a volume does not exist"),),
    arguments=at_least(1),
)
UPDATE = Command(
    "update [OPTIONS] VOLUME",
    _update,
    flags=(Flag("availability", "", STRING, "Cluster availability", default="active"),),
    arguments=at_most(1),
)
