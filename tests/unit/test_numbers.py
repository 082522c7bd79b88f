"""Numbers in texts, and a rule over the source: nothing else asks whether a text is one."""

import ast
from pathlib import Path

import pytest

from wherry.numbers import whole_number

SOURCE = Path(__file__).parents[2] / "src" / "wherry"
ROOMS = ("api", "builder", "engine", "linux", "network", "registry", "runtime", "storage")
ALLOWED = {
    "bytes, which have ASCII digits only, and are short": ("storage/archive/header.py",),
    "asked, but never made a number": (
        "builder/words.py", "builder/buildkit/progress.py", "builder/instructions/process.py",
        "engine/ids.py", "engine/psoptions.py",
    ),
    "what root wrote, or the kernel": (
        "api/loopwatch.py", "api/pidfile.py", "api/serve.py", "engine/containers/idranges.py",
        "linux/cgroups/files.py",
    ),
    "checked in another way": ("api/versions.py", "runtime/identity.py"),
    "checked before": ("runtime/logdrivers/sender.py",),
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("007", 7), ("9" * 19, int("9" * 19)), ("9" * 20, None), ("9" * 5_000, None),
     ("\u00b2", None), ("\u0663", None), ("", None), ("-1", None), ("+1", None), (" 1", None),
     ("1_0", None)],
)  # fmt: skip
def test_whole_number(text: str, number: int | None) -> None:
    assert whole_number(text) == number


def test_nothing_else_asks_for_digits() -> None:
    asking = {
        str(path.relative_to(SOURCE))
        for room in ROOMS
        for path in (SOURCE / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("isdigit", "isdecimal", "isnumeric")
    }
    assert asking == {path for paths in ALLOWED.values() for path in paths}
