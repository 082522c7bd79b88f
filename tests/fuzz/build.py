"""Fuzz what reads a stranger's files in a build: ``python -m tests.fuzz.build TARGET [options]``.

Options are libFuzzer's, for example ``-max_total_time=300``. Needs ``pip install '.[fuzz]'``.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["wherry"]):
    from wherry.builder.context import TarTree
    from wherry.builder.dockerfile import parse
    from wherry.builder.errors import DockerfileError, SyntaxProblem
    from wherry.builder.instructions.mounts import parse_mount
    from wherry.builder.lint import lint
    from wherry.builder.stages import build_graph
    from wherry.builder.trees import walk
    from wherry.builder.words import Expander
    from wherry.dockerignore import Matcher, read_patterns
    from wherry.errors import InvalidParameter
    from wherry.filepath import BadPattern


def dockerfile(data: bytes) -> None:
    """Any bytes are a Dockerfile or a DockerfileError; what parses can be linted and resolved."""
    try:
        parsed = parse(data)
        list(lint(parsed, {}))
        build_graph(parsed, "", {})
    except DockerfileError:
        pass


def words(data: bytes) -> None:
    """Any text expands or raises SyntaxProblem."""
    expander = Expander({"a": "value", "b": "", "path": "/x/y"}, "\\")
    with suppress(SyntaxProblem):
        expander.words(data.decode("utf-8", "surrogateescape"))


def ignore(data: bytes) -> None:
    """Any text is an ignore file that matches in time, or a BadPattern."""
    pattern_bytes, _, name = data.partition(b"\0")
    try:
        matcher = Matcher(read_patterns(pattern_bytes.decode("utf-8", "surrogateescape")))
        matcher.excludes(name.decode("utf-8", "surrogateescape"))
    except (BadPattern, ValueError):
        pass


def mount(data: bytes) -> None:
    """Any text is a mount or a SyntaxProblem."""
    with suppress(SyntaxProblem):
        parse_mount(data.decode("utf-8", "surrogateescape"), lambda value: value)


def context(data: bytes) -> None:
    """Any bytes are a tar archive or InvalidParameter; no name leads out."""
    try:
        tree = TarTree(io.BytesIO(data))
    except InvalidParameter:
        return
    for path in walk(tree, ""):
        assert path and not path.startswith("/") and ".." not in path.split("/"), path
        assert tree.entry(path) is not None, path


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (dockerfile, words, ignore, mount, context)
}


def main() -> None:
    """Run one target until time or patience end."""
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
