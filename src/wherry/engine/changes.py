"""``--change`` of commit and import: Dockerfile instructions applied to a configuration; pure."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import replace

from wherry.builder import dockerfile, imageconfig
from wherry.builder import instructions as known
from wherry.builder.errors import DockerfileError, SyntaxProblem
from wherry.builder.instructions import Instruction
from wherry.builder.instructions.base import Command
from wherry.builder.words import Expander
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
    commanded = False
    for instruction in parsed.stages[0].instructions:
        try:
            config = _applied(config, instruction, commanded)
        except SyntaxProblem as problem:
            raise InvalidParameter(str(problem)) from None
        commanded = commanded or isinstance(instruction, known.Cmd)
    return config


def _applied(config: ContainerConfig, one: Instruction, commanded: bool) -> ContainerConfig:
    """``commanded``: a CMD came before, which an ENTRYPOINT then leaves alone."""
    if isinstance(one, known.Cmd):
        return replace(config, cmd=_words(config, one.command))
    if isinstance(one, known.Entrypoint):
        entrypoint = _words(config, one.command) or None
        return replace(config, entrypoint=entrypoint, cmd=config.cmd if commanded else None)
    environment = dict(entry.split("=", 1) for entry in config.env or () if "=" in entry)
    return _described(config, one, Expander(environment))


def _described(config: ContainerConfig, one: Instruction, expander: Expander) -> ContainerConfig:
    """What an instruction says of a container beside its command."""
    expand = expander.word
    match one:
        case known.Env():
            pairs = [(expand(name), expand(value)) for name, value in one.pairs]
            return replace(config, env=_with_env(config.env or (), pairs))
        case known.Label():
            labels = {expand(name): expand(value) for name, value in one.pairs}
            return replace(config, labels={**(config.labels or {}), **labels})
        case known.Expose():
            ports = imageconfig.exposed_ports(expander.words(" ".join(one.ports)))
            return replace(config, exposed_ports=_joined(config.exposed_ports, tuple(ports)))
        case known.Volume():
            return replace(config, volumes=_joined(config.volumes, tuple(map(expand, one.paths))))
        case known.Workdir():
            path = posixpath.normpath(posixpath.join(config.working_dir or "/", expand(one.value)))
            return replace(config, working_dir=path)
        case known.User():
            return replace(config, user=expand(one.value))
        case known.StopSignal():
            return replace(config, stop_signal=expand(one.value))
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
