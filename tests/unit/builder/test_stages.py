# ruff: noqa: E501  (the tables read better in single lines)
import pytest

from wherry.builder.dockerfile import parse
from wherry.builder.errors import DockerfileError
from wherry.builder.instructions import Arg
from wherry.builder.scope import Scope, global_scope
from wherry.builder.stages import Graph, build_graph
from wherry.images.platforms import Platform

AMD = Platform("linux", "amd64")
ARM = Platform("linux", "arm", "v7")


def graph(text: str, target: str = "", **arguments: str) -> Graph:
    return build_graph(parse(text.encode()), target, arguments)


THREE = """FROM busybox AS base
FROM base AS Left
FROM base AS right
FROM scratch
COPY --from=left /a /
RUN --mount=from=1,target=/x true
"""


@pytest.mark.parametrize(
    ("target", "order"),
    [("", (0, 1, 3)), ("right", (0, 2)), ("RIGHT", (0, 2)), ("0", (0,)), ("base", (0,))],
)
def test_only_needed_stages(target: str, order: tuple[int, ...]) -> None:
    assert graph(THREE, target).order == order


@pytest.mark.parametrize(
    ("text", "target", "problem"),
    [
        (THREE, "rigth", 'target stage "rigth" could not be found (did you mean right?)'),
        (THREE, "7", 'target stage "7" could not be found'),
        ("FROM a AS x\nCOPY --from=x a b", "", "line 2: circular dependency detected on stage: x"),
        ("FROM a\nCOPY --from=0 a b", "", "line 2: invalid from flag value 0: refers to current build stage"),
        ("FROM a\nCOPY --from=1 a b\nFROM b", "", "line 2: invalid from flag value 1: index out of bounds"),
        ("FROM a AS x\nCOPY --from=y a b\nFROM b AS y", "", 'cannot copy from stage "y", it needs to be defined before current stage "x"'),
        ("ARG IMAGE\nFROM $IMAGE", "", "line 2: base name ($IMAGE) should not be blank"),
        ("FROM ${X:?needed}", "", "X: needed"),
    ],
)  # fmt: skip
def test_bad_references(text: str, target: str, problem: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        graph(text, target)
    assert problem in str(caught.value)


def test_base_may_be_variable_stage_or_image() -> None:
    nodes = graph("FROM $B AS one\nFROM ONE\nFROM two\nFROM 0", B="img:1").nodes
    assert [(node.base.stage, node.base.name) for node in nodes] == [
        (None, "img:1"),
        (0, "one"),
        (None, "two"),
        (None, "0"),
    ]


def arguments(text: str, **given: str) -> dict[str, str]:
    file = parse(f"{text}\nFROM x".encode())
    return dict(global_scope(file.global_args, given, AMD, ARM, "\\"))


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        ("ARG A=1", {}, {"A": "1"}),
        ("ARG A=1", {"A": "2"}, {"A": "2"}),
        ("ARG A=1\nARG B=$A-x", {}, {"A": "1", "B": "1-x"}),
        ("ARG A", {}, {}),
        ("ARG A=$TARGETARCH", {}, {"A": "arm"}),
        ("ARG A=x", {"B": "ignored"}, {"A": "x"}),
        ("ARG BUILDPLATFORM", {"BUILDPLATFORM": "x/y"}, {"BUILDPLATFORM": "x/y"}),
    ],
)
def test_global_arguments(text: str, given: dict[str, str], expected: dict[str, str]) -> None:
    values = arguments(text, **given)
    assert {k: v for k, v in values.items() if k in ("A", "B") or k in expected} == expected


def test_platform_arguments() -> None:
    values = arguments("ARG X=1")
    assert values["BUILDPLATFORM"] == "linux/amd64"
    assert values["TARGETPLATFORM"] == "linux/arm/v7"
    assert (values["TARGETOS"], values["TARGETARCH"], values["TARGETVARIANT"]) == (
        "linux",
        "arm",
        "v7",
    )


def stage_arg(text: str) -> Arg:
    (instruction,) = parse(f"FROM x\n{text}".encode()).stages[0].instructions
    assert isinstance(instruction, Arg)
    return instruction


def test_stage_arguments() -> None:
    scope = Scope(
        given={"G": "given", "HTTP_PROXY": "p", "https_proxy": "q"}, inherited={"I": "in"}
    )
    scope = scope.declared(stage_arg("ARG G=default I UNKNOWN D=$I-$G E=$D"))
    assert scope.args == {
        "G": "given",
        "I": "in",
        "UNKNOWN": None,
        "D": "in-given",
        "E": "in-given",
    }
    scope = scope.with_env({"G": "env", "N": "new"})
    assert scope.variables["G"] == "env"
    assert scope.expander.word("$G $N $I") == "env new in"
    assert scope.run_arguments() == {"I": "in", "D": "in-given", "E": "in-given"}
    assert scope.hidden_arguments() == {"HTTP_PROXY": "p", "https_proxy": "q"}
    declared = scope.declared(stage_arg("ARG HTTP_PROXY"))
    assert declared.run_arguments()["HTTP_PROXY"] == "p"
    assert declared.hidden_arguments() == {"https_proxy": "q"}


def test_env_beats_a_later_arg() -> None:
    scope = Scope({"A": "given"}, {}).with_env({"A": "env"}).declared(stage_arg("ARG A"))
    assert scope.expander.word("$A") == "env"
