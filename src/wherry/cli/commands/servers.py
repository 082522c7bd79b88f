"""``wherry daemon`` and ``wherry hub``: their rooms take the words after the name as they are."""

from __future__ import annotations

from wherry.cli.errors import CliError


def daemon(words: list[str]) -> int:
    """Run the engine until it is told to end; returns the exit code."""
    from importlib import import_module

    return int(import_module("wherry.api.daemon").main(words))


def hub(words: list[str]) -> int:
    """Run a hub until it is told to end; raises CliError when its packages are missing."""
    try:
        from wherry.hub.main import main
    except ModuleNotFoundError as error:
        raise CliError(
            f"wherry hub: the Python package {error.name} is missing; "
            "install Wherry with its hub: pip install 'wherry[hub]'"
        ) from None
    return main(words)
