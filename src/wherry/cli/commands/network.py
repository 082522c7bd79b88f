"""``wherry network connect``, ``disconnect`` and ``rm``"""

from __future__ import annotations

from wherry.cli.command import Command, at_least, exactly
from wherry.cli.errors import CliError
from wherry.cli.failures import message
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, INT, IP, IPS, STRINGS, checked_list
from wherry.cli.options import checks
from wherry.cli.options.networks import Attachment, endpoint
from wherry.client.api import quote
from wherry.client.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _connect(session: Session, options: Options, arguments: list[str]) -> int:
    attachment = Attachment(arguments[0])
    attachment.aliases = options["alias"]
    attachment.links = options["link"]
    attachment.link_local_ips = options["link-local-ip"]
    attachment.ip = options["ip"]
    attachment.ip6 = options["ip6"]
    attachment.gateway_priority = options["gw-priority"]
    for text in options["driver-opt"]:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise CliError(f"invalid key/value pair format in driver options: {text}")
        attachment.driver_options[name] = value
    config = endpoint(attachment)
    config["IPAMConfig"] = config["IPAMConfig"] or {}
    config["Aliases"] = attachment.aliases
    config["DriverOpts"] = attachment.driver_options
    session.client.call(
        "POST",
        f"/networks/{quote(arguments[0])}/connect",
        body={"Container": arguments[1], "EndpointConfig": config},
    )
    return 0


def _disconnect(session: Session, options: Options, arguments: list[str]) -> int:
    session.client.call(
        "POST",
        f"/networks/{quote(arguments[0])}/disconnect",
        body={"Container": arguments[1], "Force": options["force"]},
    )
    return 0


def _rm(session: Session, options: Options, arguments: list[str]) -> int:
    from wherry.errors import WherryError

    code = 0
    for name in arguments:
        try:
            session.client.call("DELETE", f"/networks/{quote(name)}")
        except NotFoundError as error:
            if options["force"]:
                continue
            session.warn(message(error))
            code = 1
        except WherryError as error:
            session.warn(message(error))
            code = 1
        else:
            session.say(name)
    if code:
        raise CliError("exit status 1")
    return 0


CONNECT = Command(
    "connect [OPTIONS] NETWORK CONTAINER",
    _connect,
    flags=(
        Flag("alias", "", STRINGS, "Add a name for the container on the network"),
        Flag("driver-opt", "", STRINGS, "Driver options for the network"),
        Flag("gw-priority", "", INT, "The network of the highest gives the default gateway"),
        Flag("ip", "", IP, "IPv4 address (e.g., 172.30.100.104)"),
        Flag("ip6", "", IP, "IPv6 address (e.g., 2001:db8::33)"),
        Flag("link", "", checked_list(checks.link), "Add a link to another container"),
        Flag("link-local-ip", "", IPS, "Add a link-local address for the container"),
    ),
    arguments=exactly(2),
)
DISCONNECT = Command(
    "disconnect [OPTIONS] NETWORK CONTAINER",
    _disconnect,
    flags=(Flag("force", "f", BOOL, "Force the container to disconnect from a network"),),
    arguments=exactly(2),
)
RM = Command(
    "rm NETWORK [NETWORK...]",
    _rm,
    flags=(Flag("force", "f", BOOL, "Do not fail when the network does not exist"),),
    arguments=at_least(1),
)
