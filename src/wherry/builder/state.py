"""A stage while it is built: layers, configuration, history, scope. Each step makes a new state."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from wherry.builder import imageconfig
from wherry.builder.backend import BaseImage
from wherry.builder.errors import SyntaxProblem
from wherry.builder.imageconfig import Config
from wherry.builder.instructions import (
    Arg,
    Cmd,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from wherry.builder.scope import Scope
from wherry.images.platforms import Platform

MAX_DESCRIPTION = 4 << 20
"""Characters of a configuration with what the history tells; registries take no larger ones."""
_LINE = 64  # what a line of history has besides


@dataclass(frozen=True, slots=True)
class StageState:
    """What is built so far. ``config`` is the ``config`` object of the image configuration."""

    scope: Scope
    platform: Platform
    layers: tuple[str, ...] = ()
    config: Config = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()
    created: str = ""
    author: str = ""
    base: str = ""  # id of the image that the stage began with
    base_layers: int = 0
    command_set: bool = False
    triggers: tuple[str, ...] = ()
    changed: bool = False  # whether any step came after FROM an image
    told: int = 0  # characters of the lines that were added to the history

    @classmethod
    def on_image(cls, image: BaseImage, scope: Scope, platform: Platform) -> StageState:
        """The state after FROM an image; ``triggers`` are its ONBUILD instructions."""
        config = dict(image.config.get("config") or {})
        triggers = tuple(config.pop("OnBuild", None) or ())
        config = imageconfig.with_default_path(config)
        return cls(
            scope=scope.with_env(imageconfig.environment_of(config)),
            platform=Platform(
                image.config.get("os") or platform.os,
                image.config.get("architecture") or platform.architecture,
                image.config.get("variant") or "",
            ),
            layers=image.layers,
            config=config,
            history=tuple(image.config.get("history") or ()),
            created=image.config.get("created") or "",
            author=image.config.get("author") or "",
            base=image.id,
            base_layers=len(image.layers),
            triggers=triggers,
        )

    @classmethod
    def empty(cls, scope: Scope, platform: Platform) -> StageState:
        """The state after FROM scratch."""
        config = imageconfig.with_default_path({})
        return cls(scope.with_env(imageconfig.environment_of(config)), platform, config=config)

    def image_config(self) -> bytes:
        """The configuration blob; the same state always gives the same bytes."""
        value: dict[str, Any] = {
            "architecture": self.platform.architecture,
            "config": self.config,
            "created": self.created,
            "history": list(self.history),
            "os": self.platform.os,
            "rootfs": {"type": "layers", "diff_ids": list(self.layers)},
        }
        if self.platform.variant:
            value["variant"] = self.platform.variant
        if self.author:
            value["author"] = self.author
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(
            "utf-8", "backslashreplace"
        )

    def image_id(self) -> str:
        """The id that an image of this state has."""
        return f"sha256:{hashlib.sha256(self.image_config()).hexdigest()}"

    def recorded(self, created_by: str, created: str, layer: str = "") -> StageState:
        """The state with one more line of history, and one more layer if there is one."""
        line: dict[str, Any] = {"created": created, "created_by": created_by}
        if self.author:
            line["author"] = self.author
        if not layer:
            line["empty_layer"] = True
        return self.continued(line, layer)

    def continued(self, line: Mapping[str, Any], layer: str = "") -> StageState:
        """The state with this line of history, and one more layer if there is one.

        Raises SyntaxProblem when the image's description becomes too long.
        """
        told = self.told + len(line.get("created_by") or "") + _LINE
        if told + len(json.dumps(self.config)) > MAX_DESCRIPTION:
            raise SyntaxProblem("the image's configuration and history are too long")
        return replace(
            self,
            told=told,
            history=(*self.history, line),
            created=line.get("created") or self.created,
            layers=(*self.layers, layer) if layer else self.layers,
            changed=True,
        )

    def with_config(self, **values: Any) -> StageState:
        """The state with members of its configuration replaced; None removes one."""
        config = {**self.config, **values}
        return replace(self, config={k: v for k, v in config.items() if v is not None})


@dataclass(frozen=True, slots=True)
class Change:
    """What a step without a layer does: the new state (no history yet) and the history text."""

    state: StageState
    text: str


def change(state: StageState, instruction: Instruction) -> Change:
    """Apply an instruction that makes no layer. Raises SyntaxProblem."""
    apply = _CHANGES.get(type(instruction))
    if apply is None:
        raise TypeError(f"{instruction.NAME} makes a layer")
    return apply(state, instruction)


def _command(state: StageState, instruction: Cmd) -> Change:
    command = list(instruction.command.with_shell(imageconfig.shell_of(state.config)))
    changed = replace(state.with_config(Cmd=command), command_set=True)
    return Change(changed, f"CMD {imageconfig.go_strings(command)}")


def _expose(state: StageState, instruction: Expose) -> Change:
    words = state.scope.expander.words(" ".join(instruction.ports))
    ports = imageconfig.exposed_ports(words)
    merged = {**(state.config.get("ExposedPorts") or {}), **ports}
    return Change(state.with_config(ExposedPorts=merged), f"EXPOSE {' '.join(sorted(words))}")


def _user(state: StageState, instruction: User) -> Change:
    user = state.scope.expander.word(instruction.value)
    return Change(state.with_config(User=user), f"USER {user}")


def _volume(state: StageState, instruction: Volume) -> Change:
    paths = [state.scope.expander.word(path).strip() for path in instruction.paths]
    if not all(paths):
        raise SyntaxProblem("VOLUME specified can not be an empty string")
    volumes = {**(state.config.get("Volumes") or {}), **{path: {} for path in paths}}
    return Change(state.with_config(Volumes=volumes), f"VOLUME [{' '.join(paths)}]")


def _stop_signal(state: StageState, instruction: StopSignal) -> Change:
    signal = imageconfig.check_signal(state.scope.expander.word(instruction.value))
    return Change(state.with_config(StopSignal=signal), f"STOPSIGNAL {signal}")


def _healthcheck(state: StageState, instruction: Healthcheck) -> Change:
    check = imageconfig.healthcheck_config(instruction)
    text = imageconfig.describe_healthcheck(instruction)
    return Change(state.with_config(Healthcheck=check), text)


def _shell(state: StageState, instruction: Shell) -> Change:
    shell = list(instruction.shell)
    return Change(state.with_config(Shell=shell), f"SHELL [{' '.join(shell)}]")


def _on_build(state: StageState, instruction: OnBuild) -> Change:
    triggers = [*(state.config.get("OnBuild") or ()), instruction.trigger]
    return Change(state.with_config(OnBuild=triggers), f"ONBUILD {instruction.trigger}")


def _maintainer(state: StageState, instruction: Maintainer) -> Change:
    author = instruction.value
    return Change(replace(state, author=author), f"MAINTAINER {author}")


def _expanded(state: StageState, instruction: Env | Label) -> dict[str, str]:
    expand = state.scope.expander.word
    return {expand(name): expand(value) for name, value in instruction.pairs}


def _environment(state: StageState, instruction: Env) -> Change:
    values = _expanded(state, instruction)
    if not all(values):
        raise SyntaxProblem("ENV names can not be blank")
    config = imageconfig.with_environment(state.config, values)
    text = "ENV " + " ".join(f"{name}={value}" for name, value in values.items())
    return Change(replace(state, config=config, scope=state.scope.with_env(values)), text)


def _labels(state: StageState, instruction: Label) -> Change:
    labels = _expanded(state, instruction)
    if not all(labels):
        raise SyntaxProblem("LABEL names can not be blank")
    text = "LABEL " + " ".join(f"{name}={value}" for name, value in labels.items())
    return Change(replace(state, config=imageconfig.with_labels(state.config, labels)), text)


def _argument(state: StageState, instruction: Arg) -> Change:
    scope = state.scope.declared(instruction)
    shown = []
    for name, default in instruction.declarations:
        shown.append(name if default is None else f"{name}={state.scope.expander.word(default)}")
    return Change(replace(state, scope=scope), f"ARG {' '.join(shown)}")


def _entrypoint(state: StageState, instruction: Entrypoint) -> Change:
    wanted = instruction.command
    shell = imageconfig.shell_of(state.config)
    command = list(wanted.with_shell(shell)) if wanted.arguments else []
    changed = state.with_config(Entrypoint=command or None)
    if not state.command_set:  # a CMD of the base image belongs to its entry point
        changed = changed.with_config(Cmd=None)
    return Change(changed, f"ENTRYPOINT {imageconfig.go_strings(command)}")


def _workdir(state: StageState, instruction: Workdir) -> Change:
    path = state.scope.expander.word(instruction.value)
    where = imageconfig.working_directory(state.config.get("WorkingDir") or "", path)
    return Change(state.with_config(WorkingDir=where), f"WORKDIR {where}")


_CHANGES: Mapping[type[Instruction], Callable[[StageState, Any], Change]] = {
    Arg: _argument,
    Cmd: _command,
    Entrypoint: _entrypoint,
    Env: _environment,
    Expose: _expose,
    Healthcheck: _healthcheck,
    Label: _labels,
    Maintainer: _maintainer,
    OnBuild: _on_build,
    Shell: _shell,
    StopSignal: _stop_signal,
    User: _user,
    Volume: _volume,
    Workdir: _workdir,
}
