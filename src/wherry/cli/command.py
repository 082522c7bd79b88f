"""What a command is: a usage line, flags, a rule for its arguments, and a function."""

from __future__ import annotations

from wherry.cli.errors import ArgumentsError
from wherry.cli.flags import Flag, FlagSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

    Run = Callable[[Session, Options, list[str]], int | None]
    ArgumentsRule = Callable[[list[str]], str | None]


class Command:
    """One command of the program; modules of ``cli.commands`` define them as constants.

    ``usage`` starts with the command's last word: ``run [OPTIONS] IMAGE [COMMAND] [ARG...]``.
    ``run`` returns the exit code (None for 0).
    """

    __slots__ = ("arguments", "description", "flags", "min_api", "run", "usage")

    def __init__(
        self,
        usage: str,
        run: Run,
        *,
        flags: Sequence[Flag] = (),
        arguments: ArgumentsRule,
        interspersed: bool = True,
        description: str = "",
    ) -> None:
        self.usage = usage
        self.run = run
        self.flags = FlagSet(flags, interspersed=interspersed)
        self.arguments = arguments
        self.description = description


def _plural(count: int) -> str:
    return "argument" if count == 1 else "arguments"


def none(arguments: list[str]) -> str | None:
    """No arguments at all."""
    return "accepts no arguments" if arguments else None


def exactly(count: int) -> ArgumentsRule:
    """So many arguments, neither more nor fewer."""

    def rule(arguments: list[str]) -> str | None:
        if len(arguments) == count:
            return None
        return f"requires {count} {_plural(count)}"

    return rule


def at_least(count: int) -> ArgumentsRule:
    """So many arguments or more."""

    def rule(arguments: list[str]) -> str | None:
        if len(arguments) >= count:
            return None
        return f"requires at least {count} {_plural(count)}"

    rule.hint = "See"  # type: ignore[attr-defined]
    return rule


def at_most(count: int) -> ArgumentsRule:
    """So many arguments or fewer."""

    def rule(arguments: list[str]) -> str | None:
        if len(arguments) <= count:
            return None
        return f"requires at most {count} {_plural(count)}"

    return rule


def between(low: int, high: int) -> ArgumentsRule:
    """From ``low`` to ``high`` arguments."""

    def rule(arguments: list[str]) -> str | None:
        if low <= len(arguments) <= high:
            return None
        return f"requires at least {low} and at most {high} {_plural(high)}"

    return rule


def anything(arguments: list[str]) -> str | None:
    """Any number of arguments."""
    return None


def check_arguments(command: Command, path: str, arguments: list[str]) -> None:
    """Raise ArgumentsError when ``arguments`` do not suit ``command``."""
    problem = command.arguments(arguments)
    if problem is not None:
        raise ArgumentsError(
            f"wherry: 'wherry {path}' {problem}", getattr(command.arguments, "hint", "Run")
        )
