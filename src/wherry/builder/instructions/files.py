"""COPY and ADD: put files into the image."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from wherry.builder.errors import SyntaxProblem
from wherry.builder.flags import Kind
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

    sources: tuple[str, ...]
    destination: str
    documents: tuple[Heredoc, ...] = ()
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Transfer):
    """COPY from the context, or from a stage or image (``source_name``, which is as written)."""

    NAME: ClassVar[str] = "COPY"
    source_name: str = ""
    parents: bool = False

    @classmethod
    def parse(cls, line: LogicalLine, origin: Origin) -> Copy:
        """COPY [flags] SOURCE… DESTINATION, or the same as JSON. Raises SyntaxProblem."""
        sources, destination, documents = _paths(line, cls.NAME)
        flags = flags_of(line, {**_COMMON_FLAGS, "from": Kind.STRING, "parents": Kind.BOOL})
        return cls(
            origin=origin,
            sources=sources,
            destination=destination,
            documents=documents,
            source_name=flags.text("from"),
            parents=flags.true("parents"),
            chown=flags.text("chown"),
            chmod=flags.text("chmod"),
            link=flags.true("link"),
            exclude=flags.all("exclude"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Transfer):
    """ADD from the context, a URL or a git repository; unpacks local archives."""

    NAME: ClassVar[str] = "ADD"
    checksum: str = ""
    keep_git_dir: bool = False
    unpack: bool | None = None

    @classmethod
    def parse(cls, line: LogicalLine, origin: Origin) -> Add:
        """ADD [flags] SOURCE… DESTINATION, or the same as JSON. Raises SyntaxProblem."""
        sources, destination, documents = _paths(line, cls.NAME)
        own = {"checksum": Kind.STRING, "keep-git-dir": Kind.BOOL, "unpack": Kind.BOOL}
        flags = flags_of(line, {**_COMMON_FLAGS, **own})
        return cls(
            origin=origin,
            sources=sources,
            destination=destination,
            documents=documents,
            checksum=flags.text("checksum"),
            keep_git_dir=flags.true("keep-git-dir"),
            unpack=flags.true("unpack") if flags.text("unpack") else None,
            chown=flags.text("chown"),
            chmod=flags.text("chmod"),
            link=flags.true("link"),
            exclude=flags.all("exclude"),
        )


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
