"""The published lint rules for Dockerfiles, as ``build --check`` runs them.

Source: https://docs.docker.com/reference/build-checks/
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from wherry.builder.dockerfile import Dockerfile, Stage
from wherry.builder.errors import SyntaxProblem, suggestion
from wherry.builder.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Run,
    Shell,
    Workdir,
)
from wherry.builder.scope import BUILTIN, PREDEFINED, global_scope, platform_arguments
from wherry.builder.words import Expander
from wherry.dockerignore import Matcher
from wherry.golang import quote
from wherry.images.platforms import this_platform

_DOCUMENTATION = "https://docs.docker.com/go/dockerfile/rule/"
RULES = {
    "StageNameCasing": "Stage names should be lowercase",
    "FromAsCasing": "The 'as' keyword should match the case of the 'from' keyword",
    "NoEmptyContinuation": "Empty continuation lines will become errors in a future release",
    "ConsistentInstructionCasing": "All commands within the Dockerfile should use the same casing"
    " (either upper or lower)",
    "DuplicateStageName": "Stage names should be unique",
    "ReservedStageName": "Reserved words should not be used as stage names",
    "JSONArgsRecommended": "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended"
    " behavior related to OS signals",
    "MaintainerDeprecated": "The MAINTAINER instruction is deprecated, use a label instead to"
    " define an image author",
    "UndefinedArgInFrom": "FROM command must use declared ARGs",
    "WorkdirRelativePath": "Relative workdir without an absolute workdir declared within the"
    " build can have unexpected results if the base image changes",
    "UndefinedVar": "Variables should be defined before their use",
    "MultipleInstructionsDisallowed": "Multiple instructions of the same type should not be used"
    " in the same stage",
    "LegacyKeyValueFormat": "Legacy key/value format with whitespace separator should not be used",
    "RedundantTargetPlatform": "Setting platform to predefined $TARGETPLATFORM in FROM is"
    " redundant as this is the default behavior",
    "SecretsUsedInArgOrEnv": "Sensitive data should not be used in the ARG or ENV commands",
    "InvalidDefaultArgInFrom": "Default value for global ARG results in an empty or invalid base"
    " image name",
    "FromPlatformFlagConstDisallowed": "FROM --platform flag should not use a constant value",
    "CopyIgnoredFile": "Attempting to Copy file that is excluded by .dockerignore",
    "InvalidDefinitionDescription": "Comment for build stage or argument should follow the"
    " format: `# <arg/stage name> <description>`. If this is not intended to be a description"
    " comment, add an empty line or comment between the instruction and the comment.",
    "ExposeProtoCasing": "Protocol in EXPOSE instruction should be lowercase",
    "ExposeInvalidFormat": "IP address and host-port mapping should not be used in EXPOSE"
    " instruction. This will become an error in a future release",
}
_EXPERIMENTAL = frozenset(("InvalidDefinitionDescription",))
_RESERVED_STAGES = ("context", "scratch")
_SECRET = re.compile(
    r"(?:^|_)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"(?:^|_)(?:public)(?:_|$)", re.IGNORECASE)


Environments = Mapping[str, Collection[str]]
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class Finding:
    """One warning; ``line`` is 1-based."""

    rule: str
    line: int
    message: str

    @property
    def description(self) -> str:
        """What the rule is about."""
        return RULES[self.rule]

    @property
    def url(self) -> str:
        """Where the rule is explained."""
        return f"{_DOCUMENTATION}{_WORDS.sub('-', self.rule).lower()}/"


def lint(
    dockerfile: Dockerfile,
    arguments: Mapping[str, str] | None = None,
    ignored: Matcher | None = None,
    environments: Environments | None = None,
) -> list[Finding]:
    """All warnings in the order of their lines; ``# check=skip=…`` is obeyed.

    ``arguments`` are build arguments, ``ignored`` what ``.dockerignore`` leaves out,
    ``environments`` the names of the variables that images bring.
    """
    skipped, experimental, _ = _settings(dockerfile.directives.check)
    if "all" in {name.lower() for name in skipped}:
        return []
    findings = [
        *_casing(dockerfile),
        *_continuations(dockerfile),
        *_stage_names(dockerfile),
        *_from(dockerfile, arguments or {}),
        *_descriptions(dockerfile),
    ]
    for stage in dockerfile.stages:
        findings += _stage(dockerfile, stage, arguments or {}, ignored, environments or {})
    names = {name.lower() for name in skipped}
    chosen = {name.lower() for name in experimental}
    kept = [
        finding
        for finding in findings
        if finding.rule.lower() not in names
        and (finding.rule not in _EXPERIMENTAL or finding.rule.lower() in chosen or "all" in chosen)
    ]
    return sorted(kept, key=lambda finding: finding.line)


def violation(dockerfile: Dockerfile, findings: Iterable[Finding]) -> str:
    """Why ``findings`` fail the build, as BuildKit says it; "" when they do not.

    They do when the Dockerfile asks for it (``# check=error=true``).
    """
    rules = dict.fromkeys(finding.rule for finding in findings)
    if not rules or not _settings(dockerfile.directives.check)[2]:
        return ""
    return f"lint violation found for rules: {', '.join(rules)}"


def _settings(text: str) -> tuple[list[str], list[str], bool]:
    values = dict(part.strip().partition("=")[::2] for part in text.split(";") if part.strip())
    split = {name: [word.strip() for word in value.split(",")] for name, value in values.items()}
    return (
        split.get("skip", []),
        split.get("experimental", []),
        values.get("error", "").strip().lower() in ("true", "1"),
    )


def _casing(dockerfile: Dockerfile) -> Iterator[Finding]:
    commands = [(line.command, line.start) for line in dockerfile.lines]
    upper = sum(command.isupper() for command, _ in commands)
    lower = sum(command.islower() for command, _ in commands)
    if upper == len(commands) or lower == len(commands):
        return
    majority = "uppercase" if upper >= lower else "lowercase"
    for command, line in commands:
        if not (command.isupper() if majority == "uppercase" else command.islower()):
            yield Finding(
                "ConsistentInstructionCasing",
                line,
                f"Command '{command}' should match the case of the command majority ({majority})",
            )


def _continuations(dockerfile: Dockerfile) -> Iterator[Finding]:
    for line in dockerfile.lines:
        if line.empty_continuation:
            yield Finding("NoEmptyContinuation", line.end, "Empty continuation line")


def _stage_names(dockerfile: Dockerfile) -> Iterator[Finding]:
    seen: set[str] = set()
    for stage in dockerfile.stages:
        line, name = stage.origin.origin.start, stage.origin.name
        words = stage.origin.origin.text.split()
        if name and words[-1] != name:
            message = f"Stage name '{words[-1]}' should be lowercase"
            yield Finding("StageNameCasing", line, message)
        if name and words[-2].isupper() != words[0].isupper():
            message = f"'{words[-2]}' and '{words[0]}' keywords' casing do not match"
            yield Finding("FromAsCasing", line, message)
        if name in _RESERVED_STAGES:
            message = f"Stage name should not use the same name as reserved stage {quote(name)}"
            yield Finding("ReservedStageName", line, message)
        if name and name in seen:
            message = f"Duplicate stage name {quote(name)}, stage names should be unique"
            yield Finding("DuplicateStageName", line, message)
        seen.add(name)


def _from(dockerfile: Dockerfile, arguments: Mapping[str, str]) -> Iterator[Finding]:
    escape = dockerfile.directives.escape
    host = this_platform()
    declared = platform_arguments(host, host, "default").keys() | {
        name for argument in dockerfile.global_args for name, _ in argument.declarations
    }
    try:
        defaults = global_scope(dockerfile.global_args, {}, host, host, escape)
        values = global_scope(dockerfile.global_args, arguments, host, host, escape)
    except SyntaxProblem:
        return
    for stage in dockerfile.stages:
        yield from _one_from(stage.origin, declared, defaults, values, escape)


def _one_from(
    origin: From,
    declared: set[str],
    defaults: Mapping[str, str],
    values: Mapping[str, str],
    escape: str,
) -> Iterator[Finding]:
    line = origin.origin.start
    expander = Expander(values, escape)
    try:
        platform = expander.word(origin.platform)
        expander.word(origin.base)
        default_base = Expander(defaults, escape).word(origin.base)
    except SyntaxProblem:
        return
    for name in sorted(expander.undefined - declared):
        near = suggestion(name, sorted(declared))
        message = f"FROM argument '{name}' is not declared{near}"
        yield Finding("UndefinedArgInFrom", line, message)
    declared_only = "$" in origin.base and not (expander.undefined - declared)
    if declared_only and not re.fullmatch(r"[^:@/].*[^:@]|[^:@/]", default_base):
        message = f"Default value for ARG {origin.base} results in empty or invalid base image name"
        yield Finding("InvalidDefaultArgInFrom", line, message)
    if origin.platform in ("$TARGETPLATFORM", "${TARGETPLATFORM}"):
        message = (
            f"Setting platform to predefined {origin.platform} in FROM is redundant"
            " as this is the default behavior"
        )
        yield Finding("RedundantTargetPlatform", line, message)
    elif platform and "$" not in origin.platform:
        named = origin.name and any(part in origin.name for part in platform.split("/"))
        if not named:
            message = f"FROM --platform flag should not use constant value {quote(platform)}"
            yield Finding("FromPlatformFlagConstDisallowed", line, message)


def _descriptions(dockerfile: Dockerfile) -> Iterator[Finding]:
    described: list[tuple[Instruction, str, str]] = [
        (argument, "ARG", argument.declarations[0][0]) for argument in dockerfile.global_args
    ]
    described += [
        (stage.origin, "FROM", stage.origin.name)
        for stage in dockerfile.stages
        if stage.origin.name
    ]
    for instruction, kind, name in described:
        comments = instruction.origin.comments
        if comments and comments[-1] and not comments[-1].lower().startswith(f"{name.lower()} "):
            message = f"Comment for {kind} should follow the format: `# {name} <description>`"
            yield Finding("InvalidDefinitionDescription", instruction.origin.start, message)


def _stage(
    dockerfile: Dockerfile,
    stage: Stage,
    arguments: Mapping[str, str],
    ignored: Matcher | None,
    environments: Environments,
) -> Iterator[Finding]:
    yield from _repeated(stage)
    yield from _variables(dockerfile, stage, arguments, environments)
    absolute = shell_set = False
    for instruction in stage.instructions:
        line = instruction.origin.start
        shell_set = shell_set or isinstance(instruction, Shell)
        match instruction:
            case Workdir(value=path):
                if not path.startswith(("/", "$")) and not absolute:
                    message = (
                        f"Relative workdir {quote(path)} can have unexpected results"
                        " if the base image changes"
                    )
                    yield Finding("WorkdirRelativePath", line, message)
                absolute = absolute or path.startswith("/")
            case Cmd(command=command) | Entrypoint(command=command):
                if command.shell_form and command.arguments and not shell_set:
                    message = (
                        f"JSON arguments recommended for {instruction.NAME} to prevent"
                        " unintended behavior related to OS signals"
                    )
                    yield Finding("JSONArgsRecommended", line, message)
            case Env(legacy=True) | Label(legacy=True):
                message = (
                    f'"{instruction.NAME} key=value" should be used instead of legacy'
                    f' "{instruction.NAME} key value" format'
                )
                yield Finding("LegacyKeyValueFormat", line, message)
            case Expose(ports=ports):
                yield from _ports(line, ports)
        if isinstance(instruction, Copy | Add):
            yield from _ignored_sources(instruction, ignored)
        if instruction.NAME == "MAINTAINER":
            message = "Maintainer instruction is deprecated in favor of using label"
            yield Finding("MaintainerDeprecated", line, message)
        yield from _secrets(instruction)


def _ports(line: int, ports: tuple[str, ...]) -> Iterator[Finding]:
    for port in ports:
        number, _, protocol = port.partition("/")
        if protocol != protocol.lower():
            message = f"Defined protocol '{port}' in EXPOSE instruction should be lowercase"
            yield Finding("ExposeProtoCasing", line, message)
        if ":" in number and "$" not in number:
            message = (
                "EXPOSE instruction should not define an IP address or host-port mapping,"
                f" found '{port}'"
            )
            yield Finding("ExposeInvalidFormat", line, message)


def _ignored_sources(instruction: Copy | Add, ignored: Matcher | None) -> Iterator[Finding]:
    if ignored is None or (isinstance(instruction, Copy) and instruction.source_name):
        return
    for source in instruction.sources:
        if "://" not in source and ignored.excludes(source.lstrip("/")):
            message = (
                f"Attempting to {instruction.NAME.title()} file {quote(source)}"
                " that is excluded by .dockerignore"
            )
            yield Finding("CopyIgnoredFile", instruction.origin.start, message)


def _secrets(instruction: Instruction) -> Iterator[Finding]:
    names: tuple[str, ...] = ()
    if isinstance(instruction, Env):
        names = tuple(name for name, _ in instruction.pairs)
    elif isinstance(instruction, Arg):
        names = tuple(name for name, _ in instruction.declarations)
    for name in names:
        if _SECRET.search(name) and not _NO_SECRET.search(name):
            message = (
                "Do not use ARG or ENV instructions for sensitive data"
                f" ({instruction.NAME} {quote(name)})"
            )
            yield Finding("SecretsUsedInArgOrEnv", instruction.origin.start, message)


def _repeated(stage: Stage) -> Iterator[Finding]:
    for kind in (Cmd, Entrypoint, Healthcheck):
        found = [item for item in stage.instructions if isinstance(item, kind)]
        for instruction in found[:-1]:
            message = (
                f"Multiple {kind.NAME} instructions should not be used in the same stage"
                " because only the last one will be used"
            )
            yield Finding("MultipleInstructionsDisallowed", instruction.origin.start, message)


def _variables(
    dockerfile: Dockerfile,
    stage: Stage,
    arguments: Mapping[str, str],
    environments: Environments,
) -> Iterator[Finding]:
    known = {"PATH", *arguments, *PREDEFINED, *BUILTIN}
    known |= set(environments.get(stage.origin.base, ()))
    for instruction in stage.instructions:
        expander = Expander(dict.fromkeys(known, "x"), dockerfile.directives.escape)
        try:
            for text in _expanded_texts(instruction):
                expander.word(text)
        except SyntaxProblem:
            continue
        for name in sorted(expander.undefined):
            if not re.fullmatch(r"[A-Za-z_]\w*", name) or _has_default(instruction, name):
                continue
            near = suggestion(name, sorted(known)).replace("mean ", "mean $")
            yield Finding(
                "UndefinedVar",
                instruction.origin.start,
                f"Usage of undefined variable '${name}'{near}",
            )
        if isinstance(instruction, Env):
            known |= {name for name, _ in instruction.pairs}
        elif isinstance(instruction, Arg):
            known |= {name for name, _ in instruction.declarations}


def _has_default(instruction: Instruction, name: str) -> bool:
    """``${NAME:-x}`` and the like say themselves what happens without a value."""
    return bool(re.search(r"\$\{" + re.escape(name) + r":?[-+?]", instruction.origin.text))


def _expanded_texts(instruction: Instruction) -> Iterator[str]:
    match instruction:
        case Env(pairs=pairs) | Label(pairs=pairs):
            yield from (value for _, value in pairs)
        case Arg(declarations=declarations):
            yield from (default for _, default in declarations if default is not None)
        case Copy() | Add():
            yield from (*instruction.sources, instruction.destination)
        case Workdir(value=path):
            yield path
        case Expose(ports=ports):
            yield from ports
        case Run(mounts=mounts):
            yield from mounts
