"""``--platform`` values: ``os/arch[/variant]``."""

from __future__ import annotations

from wherry.cli.errors import CliError


def parse(text: str) -> dict[str, str]:
    """A platform as OCI describes it; raises CliError."""
    parts = text.lower().split("/")
    if len(parts) == 1 and parts[0] and not parts[0].startswith("-"):
        # A single word is an architecture or an operating system.
        word = {"x86_64": "amd64", "aarch64": "arm64"}.get(parts[0], parts[0])
        if word in ("linux", "windows", "darwin", "freebsd"):
            import platform

            machine = platform.machine()
            return {
                "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
                "os": word,
            }
        return {"architecture": word, "os": "linux"}
    if len(parts) > 3 or not all(parts):
        raise CliError(
            f'invalid platform: "{text}": unknown operating system or architecture: '
            "invalid argument"
        )
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(parts[1], parts[1])
    result = {"architecture": architecture, "os": parts[0]}
    if len(parts) == 3:
        result["variant"] = parts[2]
    return result


def query(texts: list[str] | str) -> list[dict[str, str]] | None:
    """The ``platform`` query values for a flag; None when it is not given."""
    given = [texts] if isinstance(texts, str) else texts
    return [parse(text) for text in given if text] or None
