"""``--change`` of commit and import: Dockerfile instructions applied to a configuration; pure."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import replace

from wherry.build import dockerfile
from wherry.build import instructions as known
from wherry.build.errors import DockerfileError
from wherry.build.instructions import Instruction
from wherry.build.instructions.base import Command
from wherry.engine.config.container import ContainerConfig, HealthConfig
from wherry.errors import InvalidParameter

_ALLOWED = (
    known.Cmd,
    known.Entrypoint,
    known.Env,
    known.Expose,
    known.Healthcheck,
    known.Label,
    known.OnBuild,
    known.Shell,
    known.StopSignal,
    known.User,
    known.Volume,
    known.Workdir,
)
_NAMES = frozenset(instruction.NAME for instruction in _ALLOWED)


def apply(config: ContainerConfig, texts: Sequence[str]) -> ContainerConfig:
    """``config`` after the instructions; raises InvalidParameter for others than settings."""
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    if not lines:
        return config
    for before, line in zip(["", *lines], lines, strict=False):
        name = line.split()[0]
        if name.upper() not in _NAMES and not before.rstrip().endswith("\\"):
            raise InvalidParameter(f"{name} is not a valid change command")
    try:
        parsed = dockerfile.parse("\n".join(["FROM scratch", *lines]).encode())
    except DockerfileError as error:
        raise InvalidParameter(str(error)) from None
    for instruction in parsed.stages[0].instructions:
        config = _applied(config, instruction)
    return config


def _applied(config: ContainerConfig, one: Instruction) -> ContainerConfig:
    match one:
        case known.Cmd():
            return replace(config, cmd=_words(config, one.command))
        case known.Entrypoint():
            return replace(config, entrypoint=_words(config, one.command) or None, cmd=None)
        case known.Env():
            return replace(config, env=_with_env(config.env or (), _plain(one.pairs)))
        case known.Label():
            return replace(config, labels={**(config.labels or {}), **dict(_plain(one.pairs))})
        case known.Expose():
            ports = (port if "/" in port else f"{port}/tcp" for port in one.ports)
            return replace(config, exposed_ports=_joined(config.exposed_ports, tuple(ports)))
        case known.Volume():
            return replace(config, volumes=_joined(config.volumes, one.paths))
        case known.Workdir():
            path = posixpath.normpath(posixpath.join(config.working_dir or "/", one.path))
            return replace(config, working_dir=path)
        case known.User():
            return replace(config, user=one.user)
        case known.StopSignal():
            return replace(config, stop_signal=one.signal)
        case known.Shell():
            return replace(config, shell=one.shell)
        case known.OnBuild():
            return replace(config, on_build=(*(config.on_build or ()), one.trigger))
        case known.Healthcheck():
            return replace(
                config,
                healthcheck=HealthConfig(
                    test=one.test,
                    interval=one.interval,
                    timeout=one.timeout,
                    start_period=one.start_period,
                    start_interval=one.start_interval,
                    retries=one.retries,
                ),
            )
    return config


def _words(config: ContainerConfig, command: Command) -> tuple[str, ...]:
    if command.shell_form:
        return (*(config.shell or ("/bin/sh", "-c")), *command.arguments)
    return tuple(command.arguments)


def _joined(before: tuple[str, ...] | None, more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*(before or ()), *more)))


def _with_env(env: tuple[str, ...], pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    variables = {entry.partition("=")[0]: entry for entry in env}
    variables |= {name: f"{name}={value}" for name, value in pairs}
    return tuple(variables.values())


def _plain(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Names and values without the quotes and escapes of the Dockerfile."""
    return [(_unquoted(name), _unquoted(value)) for name, value in pairs]


def _unquoted(text: str) -> str:
    result, quote, position = [], "", 0
    while position < len(text):
        letter = text[position]
        position += 1
        if letter == "\\" and quote != "'" and position < len(text):
            result.append(text[position])
            position += 1
        elif quote:
            if letter == quote:
                quote = ""
            else:
                result.append(letter)
        elif letter in "'\"":
            quote = letter
        else:
            result.append(letter)
    return "".join(result)
