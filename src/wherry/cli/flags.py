"""Flags with the manners of Docker's command line.

Long and short names, short ones combined (``-it``), values after ``=`` or as the next word,
booleans that need no value, repeatable lists; everything after ``--`` is an argument. A command
either takes flags anywhere or (``run``, ``exec``) only before its first argument.
"""

from __future__ import annotations

from wherry.cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from wherry.cli.kinds import Kind


class HelpRequested(Exception):
    """``--help`` was given; ``shorthand`` when it was ``-h``."""

    def __init__(self, *, shorthand: bool = False) -> None:
        self.shorthand = shorthand
        super().__init__()


class Flag:
    """One flag: its names, the kind of its value, its default, and a line of help."""

    __slots__ = ("alias_of", "default", "deprecated", "help", "hidden", "kind", "name", "short")

    def __init__(
        self,
        name: str,
        short: str,
        kind: Kind,
        help: str,
        *,
        default: object = None,
        hidden: bool = False,
        deprecated: str = "",
        alias_of: str = "",
    ) -> None:
        """``alias_of`` is the name of the flag that this one is another, older word for."""
        self.name = name
        self.short = short
        self.kind = kind
        self.help = help
        self.default = kind.default if default is None else default
        self.hidden = hidden or bool(deprecated) or bool(alias_of)
        self.alias_of = alias_of
        self.deprecated = deprecated

    def initial(self) -> object:
        """The value when the flag is not given; lists and maps are made anew."""
        return self.default.copy() if isinstance(self.default, list | dict) else self.default

    @property
    def shown(self) -> str:
        """Both names as error messages show them."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


class Options:
    """The values of a command's flags, by name."""

    __slots__ = ("_given", "_values")

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self._given: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a flag that this command may not have."""
        return self._values.get(name, default)

    def given(self, name: str) -> bool:
        """The flag stands on the command line."""
        return name in self._given

    def put(self, name: str, value: object) -> None:
        """Set a value as if it had been given."""
        self._values[name] = value
        self._given.add(name)


class FlagSet:
    """The flags of one command."""

    def __init__(self, flags: Iterable[Flag], *, interspersed: bool = True) -> None:
        self.flags = list(flags)
        self.interspersed = interspersed
        self._long = {flag.name: flag for flag in self.flags}
        self._short = {flag.short: flag for flag in self.flags if flag.short}

    def parse(
        self, words: list[str], warn: Callable[[str], None] | None = None
    ) -> tuple[Options, list[str]]:
        """Split ``words`` into options and arguments.

        Raises UsageError in Docker's words and HelpRequested; ``warn`` is told of deprecated flags.
        """
        options = Options({flag.name: flag.initial() for flag in self.flags})
        arguments: list[str] = []
        position = 0
        while position < len(words):
            word = words[position]
            position += 1
            if word == "--":
                arguments += words[position:]
                break
            if len(word) < 2 or word[0] != "-":
                if not self.interspersed:
                    arguments += words[position - 1 :]
                    break
                arguments.append(word)
                continue
            if word.startswith("--"):
                position = self._parse_long(word, words, position, options, warn)
            else:
                position = self._parse_short(word, words, position, options, warn)
        return options, arguments

    def _parse_long(
        self,
        word: str,
        words: list[str],
        position: int,
        options: Options,
        warn: Callable[[str], None] | None,
    ) -> int:
        name, equals, value = word[2:].partition("=")
        if not name or name[0] in "-=":
            raise UsageError(f"bad flag syntax: {word}")
        flag = self._long.get(name)
        if flag is None:
            if name == "help":
                raise HelpRequested
            raise UsageError(f"unknown flag: --{name}")
        if not equals:
            if flag.kind.bare is not None:
                value = flag.kind.bare
            elif position < len(words):
                value = words[position]
                position += 1
            else:
                raise UsageError(f"flag needs an argument: --{name}")
        self._set(flag, value, options, warn)
        return position

    def _parse_short(
        self,
        word: str,
        words: list[str],
        position: int,
        options: Options,
        warn: Callable[[str], None] | None,
    ) -> int:
        letters = word[1:]
        while letters:
            letter, rest = letters[0], letters[1:]
            flag = self._short.get(letter)
            if flag is None:
                if letter == "h":
                    raise HelpRequested(shorthand=True)
                raise UsageError(f"unknown shorthand flag: '{letter}' in -{letters}")
            if len(rest) > 1 and rest[0] == "=":
                self._set(flag, rest[1:], options, warn)
                return position
            if flag.kind.bare is not None:
                self._set(flag, flag.kind.bare, options, warn)
                letters = rest
                continue
            if rest:
                self._set(flag, rest, options, warn)
            elif position < len(words):
                self._set(flag, words[position], options, warn)
                position += 1
            else:
                raise UsageError(f"flag needs an argument: '{letter}' in -{letters}")
            return position
        return position

    def _set(
        self, flag: Flag, text: str, options: Options, warn: Callable[[str], None] | None
    ) -> None:
        name = flag.alias_of or flag.name
        current = options[name] if options.given(name) else flag.kind.empty()
        try:
            value = flag.kind.parse(text, current)
        except ValueError as error:
            raise UsageError(
                f'invalid argument "{text}" for "{flag.shown}" flag: {error}'
            ) from None
        options.put(name, value)
        if flag.deprecated and warn is not None:
            warn(f"Flag --{flag.name} has been deprecated, {flag.deprecated}")
