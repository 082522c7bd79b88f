"""RUN: executes a command on top of what is built so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from wherry.builder.errors import SyntaxProblem
from wherry.builder.flags import Kind
from wherry.builder.heredoc import Heredoc, parse_marker
from wherry.builder.instructions.base import (
    Command,
    Instruction,
    Origin,
    at_least_one,
    command_of,
    flags_of,
)
from wherry.builder.instructions.mounts import Mount, check_mount, parse_mount
from wherry.builder.lexer import LogicalLine
from wherry.golang import quote

_FLAGS = {
    "mount": Kind.LIST,
    "network": Kind.STRING,
    "security": Kind.STRING,
    "device": Kind.LIST,
}
NETWORKS = ("default", "none", "host")
SECURITY = ("sandbox", "insecure")
SCRIPT_DIRECTORY = "/dev/pipes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Instruction):
    """``mounts`` are as written; ``expanded_mounts`` makes them."""

    NAME: ClassVar[str] = "RUN"
    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[str, ...] = ()
    network: str = "default"
    security: str = "sandbox"
    devices: tuple[str, ...] = ()

    @classmethod
    def parse(cls, line: LogicalLine, origin: Origin) -> Run:
        """RUN [flags] LINE | ["program", …] | <<EOF. Raises SyntaxProblem."""
        flags = flags_of(line, _FLAGS)
        for mount in flags.all("mount"):
            check_mount(mount)
        command = command_of(line)
        at_least_one("RUN", command.arguments)
        return cls(
            origin=origin,
            command=command,
            heredocs=line.heredocs,
            mounts=flags.all("mount"),
            network=_choice("network", flags.text("network"), NETWORKS),
            security=_choice("security", flags.text("security"), SECURITY),
            devices=flags.all("device"),
        )

    def expanded_mounts(self, expand: Callable[[str], str]) -> tuple[Mount, ...]:
        """The mounts with variables replaced. Raises SyntaxProblem."""
        return tuple(parse_mount(mount, expand) for mount in self.mounts)

    @property
    def script(self) -> Heredoc | None:
        """The here-document that is run as a program itself (it begins with ``#!``)."""
        if self._lone_heredoc and self.heredocs[0].text.startswith("#!"):
            return self.heredocs[0]
        return None

    @property
    def effective_command(self) -> Command:
        """The command with its here-documents put in: a script's path, its text, or both."""
        if not self.heredocs:
            return self.command
        if script := self.script:
            return Command((f"{SCRIPT_DIRECTORY}/{script.name}",), shell_form=True)
        if self._lone_heredoc:
            return Command((self.heredocs[0].text,), shell_form=True)
        documents = "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in self.heredocs)
        return Command((self.command.arguments[0] + documents,), shell_form=True)

    @property
    def _lone_heredoc(self) -> bool:
        return (
            bool(self.heredocs)
            and self.command.shell_form
            and parse_marker(self.command.arguments[0]) is not None
        )


def _choice(flag: str, value: str, known: tuple[str, ...]) -> str:
    if not value:
        return known[0]
    if value not in known:
        raise SyntaxProblem(f"{flag} {quote(value)} is not valid, use one of {', '.join(known)}")
    return value
