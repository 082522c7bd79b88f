"""``wherry port``"""

from __future__ import annotations

from wherry.cli.command import Command, between
from wherry.cli.errors import CliError
from wherry.cli.options.ports import port_range
from wherry.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _lines(bindings: list[dict[str, str]] | None) -> list[str]:
    result = []
    for binding in bindings or []:
        address = binding.get("HostIp", "")
        shown = f"[{address}]" if ":" in address else address
        result.append(f"{shown}:{binding.get('HostPort', '')}")
    return result


def _key(port: str) -> tuple[int, str]:
    number, _, protocol = port.partition("/")
    return int(number or 0), protocol


def _port(session: Session, options: Options, arguments: list[str]) -> int:
    container = arguments[0]
    info = session.client.call("GET", f"/containers/{quote(container)}/json")
    ports: dict[str, Any] = info["NetworkSettings"].get("Ports") or {}
    if len(arguments) > 1:
        number, _, protocol = arguments[1].partition("/")
        try:
            port_range(number)
        except ValueError as error:
            raise CliError(f"Error: invalid port ({number}): {error}") from None
        name = f"{number}/{protocol or 'tcp'}"
        if not ports.get(name):
            raise CliError(f"Error: No public port '{arguments[1]}' published for {container}")
        session.write("".join(f"{line}\n" for line in sorted(_lines(ports[name]))))
        return 0
    for port in sorted(ports, key=_key):
        for line in _lines(ports[port]):
            session.say(f"{port} -> {line}")
    return 0


PORT = Command("port CONTAINER [PRIVATE_PORT[/PROTO]]", _port, arguments=between(1, 2))
