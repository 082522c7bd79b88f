"""Help texts in Docker's layout."""

from __future__ import annotations

from wherry.cli import index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.command import Command
    from wherry.cli.flags import Flag

_WIDTH = 80


def _wrap(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            if line and len(line) + 1 + len(word) > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
        lines.append(line)
    return lines


def _default_note(flag: Flag) -> str:
    value = flag.default
    if not value or value == flag.kind.default:
        return ""
    shown = f'"{value}"' if isinstance(value, str) else str(value).lower()
    return f" (default {shown})"


def flag_lines(flags: list[Flag]) -> list[str]:
    """The lines of an ``Options:`` section."""
    shown = sorted((flag for flag in flags if not flag.hidden), key=lambda flag: flag.name)
    heads = []
    for flag in shown:
        short = f"-{flag.short}, " if flag.short else "    "
        value = f" {flag.kind.name}" if flag.kind.name else ""
        heads.append(f"  {short}--{flag.name}{value}")
    column = max((len(head) for head in heads), default=0) + 3
    lines = []
    for flag, head in zip(shown, heads, strict=True):
        first, *rest = _wrap(flag.help + _default_note(flag), max(_WIDTH - column, 24))
        lines.append(head.ljust(column) + first)
        lines += [" " * column + line for line in rest]
    return lines


def usage_line(command: Command, path: str) -> str:
    """``Usage:  wherry run [OPTIONS] IMAGE …``"""
    parent = path.rpartition(" ")[0]
    prefix = f"wherry {parent} " if parent else "wherry "
    own = path.rpartition(" ")[2]
    usage = command.usage
    words = usage.split(" ", 1)
    return f"Usage:  {prefix}{own}{' ' + words[1] if len(words) > 1 else ''}"


def command_help(command: Command, path: str) -> str:
    """The whole help text of a command."""
    parts = [usage_line(command, path), "", command.description or index.TABLE[path][1], ""]
    names = index.aliases(path)
    if names:
        parts += ["Aliases:", "  " + ", ".join(f"wherry {name}" for name in names), ""]
    if command.flags.flags:
        parts += ["Options:", *flag_lines(command.flags.flags), ""]
    return "\n".join(parts[:-1]) + "\n"


def group_help(group: str) -> str:
    """The help text of a group of commands."""
    summary = dict(index.GROUPS)[group]
    rows = index.members(group)
    return (
        f"Usage:  wherry {group} COMMAND\n\n{summary}\n\nCommands:\n"
        + _rows(rows)
        + f"\nRun 'wherry {group} COMMAND --help' for more information on a command.\n"
    )


def _rows(rows: list[tuple[str, str]]) -> str:
    column = max(11, max(len(name) for name, _ in rows) + 1)
    return "".join(f"  {name:<{column}} {text}\n" for name, text in rows)


def main_help(flags: list[Flag]) -> str:
    """The help text of the program."""
    sections = [
        ("Common Commands", [(name, text) for name, _, text in index.COMMON]),
        ("Management Commands", list(index.GROUPS)),
        ("Servers and shells", [(name, text) for name, _, text in index.SERVERS]),
        ("Commands", [(name, text) for name, _, text in index.PLAIN]),
    ]
    text = "Usage:  wherry [OPTIONS] COMMAND\n\nA light boat for containers\n"
    for title, rows in sections:
        text += f"\n{title}:\n{_rows(rows)}"
    text += "\nGlobal Options:\n" + "\n".join(flag_lines(flags)) + "\n"
    return text + "\nRun 'wherry COMMAND --help' for more information on a command.\n"
