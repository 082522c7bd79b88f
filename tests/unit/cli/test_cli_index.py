"""Every command of the index is there, and has the flags that users of Docker know."""

from __future__ import annotations

from pathlib import Path

import pytest

from wherry.cli import index
from wherry.cli.help import command_help
from wherry.cli.index import load
from wherry.cli.main import global_flags, main

SERVERS = ("daemon", "hub")


@pytest.mark.parametrize("name", [name for name in index.TABLE if name not in SERVERS])
def test_every_command_loads_and_explains_itself(name: str) -> None:
    command = load(name)
    text = command_help(command, name)
    assert text.startswith(f"Usage:  wherry {name}")
    for flag in command.flags.flags:
        assert flag.hidden or f"--{flag.name}" in text
        assert flag.hidden or flag.help


def test_no_two_flags_of_a_command_share_a_name() -> None:
    for name in index.TABLE:
        if name in SERVERS:
            continue
        flags = load(name).flags.flags
        names = [flag.name for flag in flags] + [flag.short for flag in flags if flag.short]
        assert len(names) == len(set(names)), name


def known_to_docker() -> list[str]:
    """The lines of data/docker-commands.txt."""
    lines = (Path(__file__).parent / "data" / "docker-commands.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("line", [line for line in known_to_docker() if " = " not in line])
def test_what_docker_has_wherry_has(line: str) -> None:
    name, _, words = line.partition(":")
    resolved = index.resolve(name)
    assert name == "docker" or resolved, name
    given = global_flags() if resolved is None else load(resolved).flags.flags
    flags = {flag.name: flag for flag in given}
    for word in words.split():
        short, _, long = word.rpartition("/")
        flag = flags[long.strip("-=")]
        assert flag.short == short.strip("-") or not short, word
        assert (flag.kind.bare is None) == word.endswith("="), word


@pytest.mark.parametrize("line", [line for line in known_to_docker() if " = " in line])
def test_what_docker_calls_by_two_names(line: str) -> None:
    other = line.partition(" = ")[0]
    assert index.resolve(other) or other in index.GROUP_NAMES


@pytest.mark.parametrize("alias", ["container ps", "image remove", "volume list", "network remove"])
def test_aliases(alias: str) -> None:
    assert index.resolve(alias) in index.TABLE


def test_the_help_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name, _, _ in (*index.COMMON, *index.PLAIN))
    assert main(["network", "--help"]) == 0
    assert "prune" in capsys.readouterr().out


def test_what_is_not_offered_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swarm", "init"]) == 1
    assert "has no Swarm clusters" in capsys.readouterr().err


def test_an_absent_daemon_is_explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wherry.cli.session.DEFAULT_ADDRESS", "unix:///nonexistent/wherry.sock")
    monkeypatch.setattr("wherry.cli.failures.DEFAULT_ADDRESS", "unix:///nonexistent/wherry.sock")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    assert main(["--config", "/nonexistent", "ps"]) == 1
    assert "Start one with: sudo wherry daemon" in capsys.readouterr().err
