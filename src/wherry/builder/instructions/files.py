"""COPY and ADD: put files into the image."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeVar

from wherry.builder.errors import SyntaxProblem
from wherry.builder.flags import Flags, Kind
from wherry.builder.heredoc import Heredoc, parse_marker
from wherry.builder.instructions.base import Instruction, Origin, flags_of
from wherry.builder.lexer import LogicalLine

_COMMON_FLAGS = {
    "chown": Kind.STRING,
    "chmod": Kind.STRING,
    "link": Kind.BOOL,
    "exclude": Kind.LIST,
}
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{64}")
T = TypeVar("T", bound="Transfer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Instruction):
    """What COPY and ADD have in common; nothing is expanded until ``expanded``."""

    FLAGS: ClassVar[Mapping[str, Kind]] = _COMMON_FLAGS
    sources: tuple[str, ...]
    destination: str
    documents: tuple[Heredoc, ...] = ()
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()

    @classmethod
    def parse(cls, line: LogicalLine, origin: Origin) -> Self:
        """INSTRUCTION [flags] SOURCE… DESTINATION, or the same as JSON. Raises SyntaxProblem."""
        sources, destination, documents = _paths(line, cls.NAME)
        flags = flags_of(line, cls.FLAGS)
        return cls(
            origin=origin,
            sources=sources,
            destination=destination,
            documents=documents,
            chown=flags.text("chown"),
            chmod=flags.text("chmod"),
            link=flags.true("link"),
            exclude=flags.all("exclude"),
            **cls.own(flags),
        )

    @classmethod
    def own(cls, flags: Flags) -> dict[str, Any]:
        """The fields that only this instruction has."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Transfer):
    """COPY from the context, or from a stage or image (``source_name``, which is as written)."""

    NAME: ClassVar[str] = "COPY"
    FLAGS: ClassVar[Mapping[str, Kind]] = {
        **_COMMON_FLAGS,
        "from": Kind.STRING,
        "parents": Kind.BOOL,
    }
    source_name: str = ""
    parents: bool = False

    @classmethod
    def own(cls, flags: Flags) -> dict[str, Any]:
        """See `Transfer.own`."""
        return {"source_name": flags.text("from"), "parents": flags.true("parents")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Transfer):
    """ADD from the context, a URL or a git repository; unpacks local archives."""

    NAME: ClassVar[str] = "ADD"
    FLAGS: ClassVar[Mapping[str, Kind]] = {
        **_COMMON_FLAGS,
        "checksum": Kind.STRING,
        "keep-git-dir": Kind.BOOL,
        "unpack": Kind.BOOL,
    }
    checksum: str = ""
    keep_git_dir: bool = False
    unpack: bool | None = None

    @classmethod
    def own(cls, flags: Flags) -> dict[str, Any]:
        """See `Transfer.own`."""
        return {
            "checksum": flags.text("checksum"),
            "keep_git_dir": flags.true("keep-git-dir"),
            "unpack": flags.true("unpack") if flags.text("unpack") else None,
        }


def expanded(instruction: T, expand: Callable[[str], str]) -> T:
    """``instruction`` with the variables in its paths, flags and documents replaced.

    ``--from`` is not expanded. Raises SyntaxProblem.
    """
    changed = replace(
        instruction,
        sources=tuple(map(expand, instruction.sources)),
        destination=expand(instruction.destination),
        chown=expand(instruction.chown),
        chmod=expand(instruction.chmod),
        exclude=tuple(map(expand, instruction.exclude)),
    )
    if isinstance(changed, Add) and changed.checksum:
        checksum = expand(changed.checksum)
        if not _CHECKSUM.fullmatch(checksum):
            raise SyntaxProblem(f"checksum {checksum} is neither sha256:HEX nor a git commit")
        return replace(changed, checksum=checksum)
    return changed


def _paths(line: LogicalLine, name: str) -> tuple[tuple[str, ...], str, tuple[Heredoc, ...]]:
    as_json = line.json_list
    words = line.arguments.split() if as_json is None else as_json
    if len(words) < 2:
        raise SyntaxProblem(
            f"{name} requires at least two arguments, but only one was provided."
            " Destination could not be determined"
        )
    if as_json is not None:
        return tuple(words[:-1]), words[-1], ()
    if parse_marker(words[-1]):
        raise SyntaxProblem(f"{name} cannot accept a heredoc as a destination")
    contents = {heredoc.name: heredoc for heredoc in line.heredocs}
    sources: list[str] = []
    documents: list[Heredoc] = []
    for word in words[:-1]:
        marker = parse_marker(word)
        if marker and marker.name in contents:
            documents.append(contents[marker.name])
        else:
            sources.append(word)
    return tuple(sources), words[-1], tuple(documents)
