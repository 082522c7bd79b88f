"""Errors in a Dockerfile: the line, what is wrong with it, and what may have been meant."""

from __future__ import annotations

from collections.abc import Iterable

from wherry.errors import InvalidParameter


class SyntaxProblem(ValueError):
    """Something is wrong inside one instruction; the parser of the file adds the line."""


class DockerfileError(InvalidParameter):
    """A Dockerfile cannot be built; ``line`` is 1-based, 0 when the file as a whole is meant."""

    def __init__(self, problem: str, line: int = 0, file: str = "Dockerfile") -> None:
        self.problem = problem
        self.line = line
        self.file = file
        super().__init__(
            f"dockerfile parse error on line {line}: {problem}"
            if line
            else f"failed to parse {file}: {problem}"
        )


def suggestion(word: str, known: Iterable[str]) -> str:
    """`` (did you mean X?)`` for the nearest of ``known``, or nothing when none is near."""
    best, nearest = "", 3
    for candidate in known:
        distance = _distance(word.lower(), candidate.lower())
        if distance == 0 and word == candidate:
            return ""
        if distance < nearest:
            best, nearest = candidate, distance
    return f" (did you mean {best}?)" if best else ""


def _distance(left: str, right: str) -> int:
    """The number of edits between two words; swapped neighbours count as one edit."""
    if abs(len(left) - len(right)) > 2:
        return 3
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left):
        older, before, row = before, row, [i + 1]
        for j, b in enumerate(right):
            cost = min(before[j + 1] + 1, row[j] + 1, before[j] + (a != b))
            if i and j and a == right[j - 1] and left[i - 1] == b:
                cost = min(cost, older[j - 1] + 1)
            row.append(cost)
    return row[-1]
