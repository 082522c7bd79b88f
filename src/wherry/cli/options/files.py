"""Files that flags name: variables and labels one a line, seccomp profiles."""

from __future__ import annotations

import os

from wherry.golang import quote


def read_lines(path: str, *, from_environment: bool) -> list[str]:
    """``NAME=value`` lines of a file; ``NAME`` alone takes its value from this environment
    or, for labels, is left out.

    Empty lines and lines that start with ``#`` are skipped. Raises OSError and ValueError.
    """
    result = []
    with open(path, "rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                text = raw.decode().removesuffix("\n").removesuffix("\r")
            except UnicodeDecodeError:
                raise ValueError(
                    f"invalid env file ({path}): invalid utf8 bytes at line {number}: {raw!r}"
                ) from None
            if number == 1:
                text = text.removeprefix("\ufeff")
            line = text.lstrip()
            if not line or line.startswith("#"):
                continue
            name, equals, value = line.partition("=")
            if any(character.isspace() for character in name):
                raise ValueError(
                    f"invalid env file ({path}): variable '{name}' contains whitespaces"
                )
            if not name:
                raise ValueError(f"invalid env file ({path}): no variable name on line '{line}'")
            if equals:
                result.append(f"{name}={value}")
            elif from_environment:
                found = os.environ.get(name)
                if found is not None:
                    result.append(f"{name}={found}")
    return result


def security_options(values: list[str]) -> tuple[list[str], bool]:
    """``--security-opt`` values with profiles read in, and whether system paths are unconfined.

    Raises ValueError.
    """
    result = []
    unconfined_paths = False
    for value in values:
        name, equals, content = value.partition("=")
        if not equals and name != "no-new-privileges":
            name, colon, content = value.partition(":")
            if not colon:
                raise ValueError(f"Invalid --security-opt: {quote(value)}")
        if value == "systempaths=unconfined":
            unconfined_paths = True
            continue
        if name == "seccomp" and content not in ("unconfined", "builtin"):
            result.append(f"seccomp={_profile(content)}")
        else:
            result.append(value)
    return result, unconfined_paths


def _profile(path: str) -> str:
    import json

    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        raise ValueError(f"opening seccomp profile ({path}) failed: open {path}: {words}") from None
    try:
        return json.dumps(json.loads(text), separators=(",", ":"))
    except ValueError as error:
        raise ValueError(f"compacting json for seccomp profile ({path}) failed: {error}") from None
