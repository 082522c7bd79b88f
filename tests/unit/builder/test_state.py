# ruff: noqa: E501  (the tables read better in single lines)
import json
from typing import Any

import pytest

from wherry.builder import imageconfig
from wherry.builder.backend import BaseImage
from wherry.builder.cache import StepCache, differences, step_key
from wherry.builder.dockerfile import parse
from wherry.builder.errors import SyntaxProblem
from wherry.builder.scope import Scope
from wherry.builder.state import Change, StageState, change
from wherry.images.platforms import Platform
from wherry.storage.statedb import StateDB

AMD = Platform("linux", "amd64")


def base(**config: Any) -> StageState:
    image = BaseImage(
        "sha256:1", {"config": config, "architecture": "amd64", "os": "linux"}, ("sha256:l",)
    )
    return StageState.on_image(image, Scope({"GIVEN": "g"}, {"GLOBAL": "global"}), AMD)


def apply(text: str, state: StageState | None = None) -> Change:
    state = state or base()
    (stage,) = parse(f"FROM x\n{text}".encode()).stages
    done = Change(state, "")
    for instruction in stage.instructions:
        done = change(done.state, instruction)
    return done


@pytest.mark.parametrize(
    ("text", "member", "expected", "history"),
    [
        ("ENV A=1 B='x y'", "Env", [f"PATH={imageconfig.DEFAULT_PATH}", "A=1", "B=x y"], "ENV A=1 B=x y"),
        ("ENV A=1\nENV A=2 B=$A", "Env", [f"PATH={imageconfig.DEFAULT_PATH}", "A=2", "B=1"], "ENV A=2 B=1"),
        ("ENV PATH=/x:$PATH", "Env", [f"PATH=/x:{imageconfig.DEFAULT_PATH}"], f"ENV PATH=/x:{imageconfig.DEFAULT_PATH}"),
        ("LABEL a=1 b=\"two words\"", "Labels", {"a": "1", "b": "two words"}, "LABEL a=1 b=two words"),
        ("CMD echo hi", "Cmd", ["/bin/sh", "-c", "echo hi"], 'CMD ["/bin/sh" "-c" "echo hi"]'),
        ('CMD ["a", "b"]', "Cmd", ["a", "b"], 'CMD ["a" "b"]'),
        ('SHELL ["/bin/bash", "-c"]\nCMD x', "Cmd", ["/bin/bash", "-c", "x"], 'CMD ["/bin/bash" "-c" "x"]'),
        ('ENTRYPOINT ["e"]', "Entrypoint", ["e"], 'ENTRYPOINT ["e"]'),
        ("ENTRYPOINT []", "Entrypoint", None, "ENTRYPOINT []"),
        ("EXPOSE 80 90-91/udp", "ExposedPorts", {"80/tcp": {}, "90/udp": {}, "91/udp": {}}, "EXPOSE 80 90-91/udp"),
        ("ENV P='1 2'\nEXPOSE $P", "ExposedPorts", {"1/tcp": {}, "2/tcp": {}}, "EXPOSE 1 2"),
        ("USER a:b", "User", "a:b", "USER a:b"),
        ("WORKDIR /a\nWORKDIR b/../c", "WorkingDir", "/a/c", "WORKDIR /a/c"),
        ("VOLUME /a /b", "Volumes", {"/a": {}, "/b": {}}, "VOLUME [/a /b]"),
        ("STOPSIGNAL SIGINT", "StopSignal", "SIGINT", "STOPSIGNAL SIGINT"),
        ("STOPSIGNAL 9", "StopSignal", "9", "STOPSIGNAL 9"),
        ('SHELL ["a", "b"]', "Shell", ["a", "b"], "SHELL [a b]"),
        ("ONBUILD RUN x", "OnBuild", ["RUN x"], "ONBUILD RUN x"),
        ("HEALTHCHECK NONE", "Healthcheck", {"Test": ["NONE"]}, 'HEALTHCHECK &{["NONE"] "0s" "0s" "0s" "0s" \'\\x00\'}'),
        (
            "HEALTHCHECK --interval=90s --retries=3 CMD x",
            "Healthcheck",
            {"Test": ["CMD-SHELL", "x"], "Interval": 90 * 10**9, "Retries": 3},
            'HEALTHCHECK &{["CMD-SHELL" "x"] "1m30s" "0s" "0s" "0s" \'\\x03\'}',
        ),
        ("ARG A=1\nUSER $A", "User", "1", "USER 1"),
        ("ARG GIVEN=d\nUSER $GIVEN", "User", "g", "USER g"),
        ("ARG GLOBAL\nUSER $GLOBAL", "User", "global", "USER global"),
        ("USER x$GLOBAL", "User", "x", "USER x"),
    ],
)  # fmt: skip
def test_changes(text: str, member: str, expected: Any, history: str) -> None:
    done = apply(text)
    assert done.state.config.get(member) == expected
    assert done.text == history


def test_maintainer_is_the_author() -> None:
    assert apply("MAINTAINER me").state.author == "me"


def test_entrypoint_takes_an_inherited_command_away() -> None:
    inherited = base(Cmd=["sh"])
    assert "Cmd" not in apply("ENTRYPOINT x", inherited).state.config
    assert apply("CMD y\nENTRYPOINT x", inherited).state.config["Cmd"] == ["/bin/sh", "-c", "y"]


def test_triggers_of_the_base_are_taken_out() -> None:
    state = base(OnBuild=["RUN x"])
    assert state.triggers == ("RUN x",)
    assert "OnBuild" not in state.config


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("EXPOSE x", "invalid containerPort: x"),
        ("EXPOSE 70000", "invalid containerPort: 70000"),
        ("EXPOSE 9-8", "invalid containerPort: 9-8"),
        ("EXPOSE 80/foo", "invalid proto: foo"),
        ("STOPSIGNAL SIGFOO", "invalid signal: SIGFOO"),
        ("STOPSIGNAL 0", "invalid signal: 0"),
        ("VOLUME $UNSET", "VOLUME specified can not be an empty string"),
        ("ENV $UNSET=x", "ENV names can not be blank"),
        ("USER ${X:?no user}", "X: no user"),
    ],
)
def test_problems(text: str, problem: str) -> None:
    with pytest.raises(SyntaxProblem) as caught:
        apply(text)
    assert problem in str(caught.value)


def test_image_configuration_is_stable() -> None:
    state = apply("LABEL a=1\nMAINTAINER me").state.recorded(
        "step", "2020-01-01T00:00:00Z", "sha256:n"
    )
    config = json.loads(state.image_config())
    assert config["rootfs"] == {"type": "layers", "diff_ids": ["sha256:l", "sha256:n"]}
    assert config["created"] == "2020-01-01T00:00:00Z"
    assert config["history"][-1] == {
        "created": "2020-01-01T00:00:00Z",
        "created_by": "step",
        "author": "me",
    }
    assert config["author"] == "me"
    assert state.image_id() == state.image_id()


def test_a_step_without_layer_is_marked() -> None:
    assert base().recorded("step", "t").history[-1]["empty_layer"] is True


def test_history_command() -> None:
    shell = ("/bin/sh", "-c")
    assert imageconfig.history_command(shell, "CMD []") == "/bin/sh -c #(nop)  CMD []"
    assert (
        imageconfig.history_command(shell, "COPY f in / ", files=True)
        == "/bin/sh -c #(nop) COPY f in / "
    )


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (10**9, "1s"),
        (90 * 10**9, "1m30s"),
        (3600 * 10**9, "1h0m0s"),
        (10**7, "10ms"),
        (15 * 10**8, "1.5s"),
    ],
)
def test_go_duration(nanoseconds: int, text: str) -> None:
    assert imageconfig.go_duration(nanoseconds) == text


FACTS = {
    "instruction": "COPY . /",
    "parent": "p",
    "files": {"a": "1", "b": "2"},
    "arguments": {"V": "1"},
}


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"files": {"a": "9", "c": "3"}}, ["file a changed", "file b is gone", "file c is new"]),
        ({"arguments": {"V": "2"}}, ["argument V changed from '1' to '2'"]),
        ({"instruction": "COPY x /"}, ["instruction changed (was: COPY . /)"]),
        ({"parent": "q"}, ["an earlier step changed"]),
        ({"user": "me"}, ["user changed from None to 'me'"]),
        ({}, ["its layer was removed"]),
    ],
)
def test_differences(changes: dict[str, Any], reasons: list[str]) -> None:
    assert differences(FACTS, {**FACTS, **changes}) == reasons


def test_cache_remembers_and_explains(tmp_path: Any) -> None:
    path = str(tmp_path / "state.db")
    db = StateDB(path)
    cache = StepCache(db)
    key = step_key(FACTS)
    assert cache.explain("here", FACTS) == ["never built before"]
    cache.store(
        key,
        "here",
        FACTS,
        kind="layer",
        layer="sha256:x",
        created="t",
        size=5,
        seconds=0.5,
        description="d",
    )
    db.close()
    reopened = StepCache(StateDB(path))
    found = reopened.find(key, lambda layer: layer == "sha256:x")
    assert found is not None
    assert (found.layer, found.created, found.size) == ("sha256:x", "t", 5)
    assert reopened.find(key, lambda layer: False) is None
    assert reopened.explain("here", {**FACTS, "parent": "q"}) == ["an earlier step changed"]
    reopened.remove([key])
    assert list(reopened.all()) == []


def test_an_image_does_not_describe_itself_without_end() -> None:
    """Each instruction is short, and what it stands for long."""
    state = StageState.empty(Scope({}, {}, env={"A": "a" * 100_000}), AMD)
    with pytest.raises(SyntaxProblem, match="too long"):
        for number in range(40):
            changed = apply(f"LABEL l{number}=$A", state)
            state = changed.state.recorded(changed.text, "")
    state = StageState.empty(Scope({}, {}), AMD)
    with pytest.raises(SyntaxProblem, match="too long"):
        for _ in range(20):
            state = state.recorded("a" * 500_000, "")


def test_variables_do_not_grow_without_end() -> None:
    state = StageState.empty(Scope({}, {}, env={"A": "a" * 100_000}), AMD)
    with pytest.raises(SyntaxProblem, match="characters in all"):
        for number in range(20):
            state = apply(f"ENV E{number}=$A", state).state
    state = StageState.empty(Scope({}, {}, env={"A": "a" * 100_000}), AMD)
    with pytest.raises(SyntaxProblem, match="characters in all"):
        for number in range(20):
            state = apply(f"ARG E{number}=$A", state).state
