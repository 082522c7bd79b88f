"""``wherry version``"""

from __future__ import annotations

from wherry.cli.client_info import client_info
from wherry.cli.command import Command, none
from wherry.cli.commands.inspect import missing
from wherry.cli.errors import CliError
from wherry.cli.failures import message
from wherry.cli.flags import Flag
from wherry.cli.gotemplate import TemplateError
from wherry.cli.gotemplate.functions import to_json
from wherry.cli.kinds import STRING
from wherry.cli.tables import columns, template
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

_DETAILS = (
    ("ApiVersion", "API version"),
    ("GoVersion", "Go version"),
    ("PythonVersion", "Python version"),
    ("GitCommit", "Git commit"),
    ("BuildTime", "Built"),
    ("OsArch", "OS/Arch"),
    ("Experimental", "Experimental"),
)


def _client_lines(client: dict[str, Any]) -> list[str]:
    api = client["ApiVersion"]
    if api != client["DefaultAPIVersion"]:
        api += f" (downgraded from {client['DefaultAPIVersion']})"
    return [
        "Client: Wherry",
        f" Version:\t{client['Version']}",
        f" API version:\t{api}",
        f" Python version:\t{client['PythonVersion']}",
        f" OS/Arch:\t{client['Os']}/{client['Arch']}",
        f" Context:\t{client['Context']}",
    ]


def _component_lines(component: dict[str, Any]) -> list[str]:
    details = dict(component.get("Details") or {})
    lines = [f" {component['Name']}:", f"  Version:\t{component['Version']}"]
    if minimum := details.pop("MinAPIVersion", None):
        details["ApiVersion"] = f"{details.get('ApiVersion', '')} (minimum version {minimum})"
    if "Os" in details or "Arch" in details:
        details["OsArch"] = f"{details.pop('Os', '')}/{details.pop('Arch', '')}"
    details.pop("KernelVersion", None)
    for key, title in _DETAILS:
        if key in details:
            lines.append(f"  {title}:\t{details.pop(key)}")
    lines += [f"  {key}:\t{value}" for key, value in details.items()]
    return lines


def _version(session: Session, options: Options, arguments: list[str]) -> int:
    form = options["format"]
    parsed = template(form, "version") if form and form != "json" else None
    client = client_info(session.context_name)
    server: dict[str, Any] | None = None
    failure = ""
    try:
        server = session.client.call("GET", "/version")
        client["ApiVersion"] = session.client.version
    except WherryError as error:
        failure = message(error)
    if form:
        data = {"Client": client, "Server": server}
        try:
            session.say(parsed.render(data, missing) if parsed else to_json(data))
        except TemplateError as error:
            session.say("")
            raise CliError(failure or f"template: {error}") from None
    else:
        session.write(columns(_client_lines(client), padding=2))
        if server is not None:
            name = (server.get("Platform") or {}).get("Name", "")
            lines = [f"Server: {name}" if name else "Server:"]
            for component in server.get("Components") or []:
                lines += _component_lines(component)
            session.write("\n" + columns(lines, padding=2))
    if failure:
        raise CliError(failure)
    return 0


VERSION = Command(
    "version [OPTIONS]",
    _version,
    flags=(Flag("format", "f", STRING, "Format output: json, or a TEMPLATE"),),
    arguments=none,
)
