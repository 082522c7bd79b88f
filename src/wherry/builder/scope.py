"""Which variables an instruction sees: ARG, ENV, global, predefined and platform arguments.

Source: https://docs.docker.com/reference/dockerfile/#scope and #using-arg-variables
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from wherry.builder.errors import SyntaxProblem, suggestion
from wherry.builder.instructions import Arg
from wherry.builder.words import Expander
from wherry.images.platforms import Platform

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
# Usable without ARG; they change no cache key and are not in the history unless declared.
PREDEFINED = frozenset((*_PROXIES, *(name.lower() for name in _PROXIES)))
# Read by the builder itself.
BUILTIN = frozenset(
    (
        "BUILDKIT_BUILD_NAME",
        "BUILDKIT_CACHE_MOUNT_NS",
        "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
        "BUILDKIT_INLINE_CACHE",
        "BUILDKIT_MULTI_PLATFORM",
        "BUILDKIT_SANDBOX_HOSTNAME",
        "BUILDKIT_SYNTAX",
        "SOURCE_DATE_EPOCH",
    )
)

MAX_VARIABLES = 1 << 20
"""Characters of all variables; with more no command could be executed, execve(2)."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The variables at one place of a stage; a change makes a new scope.

    ``given`` are the values of ``--build-arg``, ``inherited`` the global arguments.
    """

    given: Mapping[str, str]
    inherited: Mapping[str, str]
    escape: str = "\\"
    args: Mapping[str, str | None] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """What an instruction can expand: ENV beats ARG of the same name."""
        args = {name: value for name, value in self.args.items() if value is not None}
        return {**args, **self.env}

    @property
    def expander(self) -> Expander:
        """An expander over these variables."""
        return Expander(self.variables, self.escape)

    def declared(self, arg: Arg) -> Scope:
        """The scope after an ARG. Raises SyntaxProblem."""
        scope = self
        for raw_name, default in arg.declarations:
            name = scope.expander.word(raw_name)
            value: str | None
            if name in self.given:
                value = self.given[name]
            elif default is not None:
                value = scope.expander.word(default)
            else:
                value = self.inherited.get(name)
            scope = replace(scope, args={**scope.args, name: value})
            _check_length(scope.args)
        return scope

    def with_env(self, values: Mapping[str, str]) -> Scope:
        """The scope with more or changed ENV values. Raises SyntaxProblem."""
        scope = replace(self, env={**self.env, **values})
        _check_length(scope.env)
        return scope

    def run_arguments(self) -> dict[str, str]:
        """The arguments in a RUN's environment that its key and history show."""
        return {
            name: value
            for name, value in self.args.items()
            if value is not None and name not in self.env
        }

    def hidden_arguments(self) -> dict[str, str]:
        """Given proxies that a RUN sees without a trace in key and history."""
        return {
            name: value
            for name, value in self.given.items()
            if name in PREDEFINED and name not in self.args and name not in self.env
        }


def global_scope(
    arguments: tuple[Arg, ...],
    given: Mapping[str, str],
    build: Platform,
    target: Platform,
    escape: str,
    stage_name: str = "default",
) -> Mapping[str, str]:
    """The values of the arguments in front of the first FROM, platform arguments included.

    Raises SyntaxProblem.
    """
    platform = platform_arguments(build, target, stage_name)
    scope = Scope(given, {}, escape, args={**platform, **_present(given, platform)})
    for argument in arguments:
        scope = scope.declared(argument)
    return {name: value for name, value in scope.args.items() if value is not None}


def platform_arguments(build: Platform, target: Platform, stage_name: str) -> dict[str, str]:
    """TARGETPLATFORM, BUILDARCH and so on, and TARGETSTAGE."""
    values = {"TARGETSTAGE": stage_name}
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        values[f"{prefix}PLATFORM"] = str(platform)
        values[f"{prefix}OS"] = platform.os
        values[f"{prefix}ARCH"] = platform.architecture
        values[f"{prefix}VARIANT"] = platform.variant
    return values


def stage_base(base: str, scope: Mapping[str, str], escape: str) -> str:
    """The expanded image name of a FROM. Raises SyntaxProblem."""
    expander = Expander(scope, escape)
    name = expander.word(base)
    if not name:
        undefined = sorted(expander.undefined)
        near = suggestion(undefined[0], scope) if undefined else ""
        raise SyntaxProblem(f"base name ({base}) should not be blank{near}")
    return name


def _check_length(values: Mapping[str, str | None]) -> None:
    if sum(len(name) + len(value or "") for name, value in values.items()) > MAX_VARIABLES:
        raise SyntaxProblem(f"the variables have more than {MAX_VARIABLES} characters in all")


def _present(given: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in given.items() if name in names}
