import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.builder.dockerfile import parse
from wherry.builder.errors import DockerfileError
from wherry.builder.heredoc import parse_marker
from wherry.builder.lexer import lex


def texts(content: str) -> list[str]:
    return [line.text for line in lex(content.encode()).lines]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("FROM a", ["FROM a"]),
        ("  FROM a  \n\n\nRUN b\n", ["FROM a  ", "RUN b"]),
        ("FROM a\r\nRUN b\r\n", ["FROM a", "RUN b"]),
        ("RUN a \\\n  b", ["RUN a   b"]),
        ("RUN a \\  \t\n b", ["RUN a  b"]),
        ("RUN a \\\n# comment\n  b", ["RUN a   b"]),
        ("RUN a \\\n\n  b", ["RUN a   b"]),
        ("RUN a \\\n   # indented comment\n\\\n b", ["RUN a  b"]),
        ("RUN a \\\\\nRUN b", ["RUN a \\\\", "RUN b"]),
        ("RUN a \\", ["RUN a "]),
        ("# only\nFROM a", ["FROM a"]),
        ("   # indented\nFROM a", ["FROM a"]),
        ("RUN a # not a comment", ["RUN a # not a comment"]),
        ("# escape=`\nRUN a `\n b\\\nRUN c", ["RUN a  b\\", "RUN c"]),
        ("\\\nRUN a", ["RUN a"]),
        ("RUN a\x0b b", ["RUN a\x0b b"]),
    ],
)
def test_logical_lines(content: str, expected: list[str]) -> None:
    assert texts(content) == expected


def test_byte_order_mark_is_dropped() -> None:
    assert lex(b"\xef\xbb\xbf# escape=`\nFROM a").directives.escape == "`"


def test_positions() -> None:
    lines = lex(b"# c\n\nFROM a\nRUN x \\\n y\nRUN <<E\ntext\nE\nCMD z\n").lines
    assert [(line.start, line.end) for line in lines] == [(3, 3), (4, 5), (6, 8), (9, 9)]


@pytest.mark.parametrize(
    ("content", "escape", "syntax", "check"),
    [
        ("# syntax=docker/dockerfile:1\nFROM a", "\\", "docker/dockerfile:1", ""),
        ("#SYNTAX = x y \n# Escape = `\nFROM a", "`", "x y", ""),
        ("# check=skip=all;error=true\nFROM a", "\\", "", "skip=all;error=true"),
        ("# other=1\n# escape=`\nFROM a", "\\", "", ""),
        ("# a comment\n# escape=`\nFROM a", "\\", "", ""),
        ("\n# escape=`\nFROM a", "\\", "", ""),
        ("FROM a\n# escape=`\n", "\\", "", ""),
    ],
)
def test_directives(content: str, escape: str, syntax: str, check: str) -> None:
    directives = lex(content.encode()).directives
    assert (directives.escape, directives.syntax, directives.check) == (escape, syntax, check)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the Dockerfile (Dockerfile) cannot be empty"),
        ("# nothing\n", "failed to parse Dockerfile: file with no instructions"),
        ("\n\n", "file with no instructions"),
        (
            "# escape=`\n# escape=`\nFROM a",
            "dockerfile parse error on line 2: only one escape parser directive can be used",
        ),
        (
            "# escape=x\nFROM a",
            "dockerfile parse error on line 1: invalid escape token 'x' does not match ` or \\",
        ),
        ("FROM a\nRUN <<EOF\nx\n", "dockerfile parse error on line 2: unterminated heredoc"),
        ("FROM a\nCOPY <<A <<B /\nA\n", "on line 2: unterminated heredoc"),
        ("FROM " + "a" * 70000, "dockerfile line greater than max allowed size of 65535"),
    ],
)
def test_errors(content: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        lex(content.encode())
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("<<EOF", ("EOF", True, False, 0)),
        ("<<-EOF", ("EOF", True, True, 0)),
        ("3<<EOF", ("EOF", True, False, 3)),
        ("<<'EOF'", ("EOF", False, False, 0)),
        ('<<-"EOF"', ("EOF", False, True, 0)),
        ("<<E'O'F", ("EOF", False, False, 0)),
        ("<<file.txt", ("file.txt", True, False, 0)),
        ("<<", None),
        ("<<-", None),
        ("<<<text", None),
        ("a<<b", None),
        ("text", None),
    ],
)
def test_heredoc_marker(word: str, expected: tuple[str, bool, bool, int] | None) -> None:
    found = parse_marker(word)
    actual = (found.name, found.expand, found.chomp, found.fd) if found else None
    assert actual == expected


def test_heredoc_contents() -> None:
    content = "RUN <<A cat <<-'B' && x\none\n# two\n\nA\n\tthree\n\tB\nCMD x\n"
    run, cmd = lex(content.encode()).lines
    assert [heredoc.content for heredoc in run.heredocs] == ["one\n# two\n\n", "\tthree\n"]
    assert run.heredocs[1].text == "three\n"
    assert cmd.text == "CMD x"


@pytest.mark.parametrize(
    "content",
    [
        "ENV a=<<EOF\n",
        'RUN ["cat", "<<EOF"]\n',
        "RUN cat <<<EOF\n",
        "LABEL x=<<EOF",
        "RUN echo '<<EOF'\n",
        "RUN echo $((1<<2))",
    ],
)
def test_no_heredoc(content: str) -> None:
    assert lex(content.encode()).lines[0].heredocs == ()


def test_heredoc_in_onbuild() -> None:
    (line,) = lex(b"ONBUILD RUN <<E\nx\nE\n").lines
    assert line.heredocs[0].content == "x\n"


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_refused(content: bytes) -> None:
    with contextlib.suppress(DockerfileError):
        parse(content)


PIECES = st.sampled_from(
    [
        *("FROM a AS b\n", "RUN ", "COPY --from=b ", "<<E ", "E\n", "\\\n", "# x\n", "ENV a="),
        *("$a", "[", "]", '"', "'", ",", "--mount=type=cache,target=/x ", "ONBUILD ", "CMD "),
        *("HEALTHCHECK ", "\n", " ", "ARG x\n", "# escape=`\n", "`\n", "EXPOSE 80\n", "/ "),
        *("SHELL ", "LABEL ", "ADD ", "\t", "\r\n", "VOLUME ", "--chown=1:2 ", "\\"),
    ]
)


@given(st.lists(PIECES, max_size=25))
def test_any_mixture_parses_or_is_refused(pieces: list[str]) -> None:
    try:
        parse("".join(pieces).encode())
    except DockerfileError as error:
        assert str(error)


@given(st.lists(st.from_regex(r"[A-Z]{2,8}( [a-z0-9=/.]{1,8}){1,4}", fullmatch=True), min_size=1))
def test_lines_round_trip(lines: list[str]) -> None:
    assert texts("\n".join(lines)) == lines
    continued = [line.replace(" ", " \\\n# comment\n", 1) for line in lines]
    assert texts("\n".join(continued)) == lines
