"""``wherry daemon`` and ``wherry hub``: their rooms take the words after the name as they are."""

from __future__ import annotations

from wherry.cli.errors import CliError


def daemon(words: list[str]) -> int:
    """Run the engine until it is told to end; returns the exit code."""
    from importlib import import_module

    return int(import_module("wherry.api.daemon").main(words))


def hub(words: list[str]) -> int:
    """Run a hub until it is told to end; raises CliError when its packages are missing."""
    missing = _missing("hub")
    if missing:
        raise CliError(
            f"wherry hub: the Python packages {', '.join(missing)} are missing; "
            "install Wherry with its hub: pip install 'wherry[hub]'"
        )
    from wherry.hub.main import main

    return main(words)


def _missing(extra: str) -> list[str]:
    """The distributions of one of Wherry's extras that are not installed.

    Their names are in the metadata of Wherry's own distribution (PEP 566, Requires-Dist); nothing
    is missing where it has none, as in a bare source tree.
    """
    import re
    from importlib import metadata

    try:
        required = metadata.requires("wherry") or []
    except metadata.PackageNotFoundError:
        return []
    missing = []
    for requirement in required:
        package, _, marker = requirement.partition(";")
        if not re.search(rf"""extra\s*==\s*["']{extra}["']""", marker):
            continue
        name = re.match(r"[\w.-]+", package)
        if name is not None and not _installed(name[0]):
            missing.append(name[0])
    return missing


def _installed(distribution: str) -> bool:
    from importlib import metadata

    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
