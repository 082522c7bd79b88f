# ruff: noqa: E501  (the tables read better in single lines)
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.builder.dockerfile import parse, parse_triggers
from wherry.builder.errors import DockerfileError, SyntaxProblem, suggestion
from wherry.builder.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from wherry.builder.instructions.files import expanded
from wherry.builder.instructions.mounts import Mount, parse_mount


def one(text: str) -> Any:
    (stage,) = parse(f"FROM base\n{text}\n".encode()).stages
    (instruction,) = stage.instructions
    return instruction


def fields(instruction: Instruction, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(instruction, name) for name in names)


@pytest.mark.parametrize(
    ("text", "base", "name", "platform"),
    [
        ("FROM a", "a", "", ""),
        ("from a as Build", "a", "build", ""),
        ("FROM --platform=linux/arm64 a:1 AS x-1_.y", "a:1", "x-1_.y", "linux/arm64"),
        ("FROM --platform=$BUILDPLATFORM ${X:-scratch}", "${X:-scratch}", "", "$BUILDPLATFORM"),
    ],
)
def test_from(text: str, base: str, name: str, platform: str) -> None:
    origin = parse(text.encode()).stages[0].origin
    assert (origin.base, origin.name, origin.platform) == (base, name, platform)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("ENV a=b", [("a", "b")]),
        ("ENV a=b c=d", [("a", "b"), ("c", "d")]),
        ("ENV a b c", [("a", "b c")]),
        ("ENV a  'x y'", [("a", "'x y'")]),
        ('ENV a="x y" b=\\ c', [("a", '"x y"'), ("b", "\\ c")]),
        ("ENV a=b=c", [("a", "b=c")]),
        ("ENV a=", [("a", "")]),
        ("ENV a='' b=\"'\"", [("a", "''"), ("b", '"\'"')]),
        ("ENV a=x\\\n  b=y", [("a", "x"), ("b", "y")]),
        ("env A=1", [("A", "1")]),
    ],
)
def test_env_and_label(text: str, pairs: list[tuple[str, str]]) -> None:
    env = one(text)
    assert isinstance(env, Env)
    assert list(env.pairs) == pairs
    label = one("LABEL" + text[3:])
    assert isinstance(label, Label)
    assert list(label.pairs) == pairs


@pytest.mark.parametrize(
    ("text", "declarations"),
    [
        ("ARG a", [("a", None)]),
        ("ARG a=", [("a", "")]),
        ("ARG a=b c d=$e", [("a", "b"), ("c", None), ("d", "$e")]),
        ('ARG a="x y"', [("a", '"x y"')]),
    ],
)
def test_arg(text: str, declarations: list[tuple[str, str | None]]) -> None:
    arg = one(text)
    assert isinstance(arg, Arg)
    assert list(arg.declarations) == declarations


@pytest.mark.parametrize(
    ("text", "arguments", "shell_form"),
    [
        ("CMD echo hi", ("echo hi",), True),
        ('CMD ["echo", "a b"]', ("echo", "a b"), False),
        ("CMD [ ]", (), False),
        ("CMD ['a']", ("['a']",), True),
        ('CMD ["a"] b', ('["a"] b',), True),
        ("CMD [NaN]", ("[NaN]",), True),
        ("CMD", (), True),
        ('CMD ["\\u00e9"]', ("é",), False),
        ("CMD " + "[" * 5000, ("[" * 5000,), True),
    ],
)
def test_command_forms(text: str, arguments: tuple[str, ...], shell_form: bool) -> None:
    for word, kind in (("CMD", Cmd), ("ENTRYPOINT", Entrypoint)):
        instruction = one(word + text[3:])
        assert isinstance(instruction, kind)
        assert instruction.command.arguments == arguments
        assert instruction.command.shell_form is shell_form


def test_run_flags() -> None:
    run = one(
        "RUN --network=none --security=insecure --device=gpu --mount=target=/a --mount=type=tmpfs,target=/t x"
    )
    assert isinstance(run, Run)
    assert fields(run, "network", "security", "devices") == ("none", "insecure", ("gpu",))
    assert run.mounts == ("target=/a", "type=tmpfs,target=/t")
    assert run.command.arguments == ("x",)


@pytest.mark.parametrize(
    ("text", "effective"),
    [
        ("RUN <<E\nline 1\nline 2\nE", "line 1\nline 2\n"),
        ("RUN <<-E\n\tline\n\tE", "line\n"),
        ("RUN <<E\n#!/bin/sh\nx\nE", "/dev/pipes/E"),
        ("RUN cat <<E\nx\nE", "cat <<E\nx\nE"),
        ("RUN <<A cat <<B\na\nA\nb\nB", "<<A cat <<B\na\nA\nb\nB"),
        ("RUN plain", "plain"),
    ],
)
def test_run_heredoc(text: str, effective: str) -> None:
    run = one(text)
    assert isinstance(run, Run)
    assert run.effective_command.arguments == (effective,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("target=/x", Mount(target="/x")),
        ("type=bind,source=a,dst=/x,from=st,rw", Mount(source="a", target="/x", origin="st", readonly=False)),
        ("type=cache,target=/c", Mount(type="cache", target="/c", readonly=False)),
        (
            "type=cache,id=k,target=/c,sharing=locked,mode=0700,uid=5,gid=6,ro",
            Mount(type="cache", id="k", target="/c", sharing="locked", mode=0o700, uid=5, gid=6),
        ),
        ("type=tmpfs,target=/t,size=1m", Mount(type="tmpfs", target="/t", size=1 << 20, readonly=False)),
        ("type=secret,id=s", Mount(type="secret", id="s")),
        ("type=secret,id=s,env=TOKEN,required", Mount(type="secret", id="s", env="TOKEN", required=True)),
        ("type=ssh", Mount(type="ssh")),
        ("type=ssh,required=true,mode=0666", Mount(type="ssh", required=True, mode=0o666)),
        ("TYPE=Bind,target=/x,readonly=false", Mount(target="/x", readonly=False)),
        ('type=bind,"target=/a,b"', Mount(target="/a,b")),
    ],
)  # fmt: skip
def test_mount(text: str, expected: Mount) -> None:
    assert parse_mount(text, lambda value: value) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("type=bin,target=/x", 'unsupported mount type "bin" (did you mean bind?)'),
        (
            "type=cache,target=/x,sharing=lock",
            'unsupported sharing value "lock" (did you mean locked?)',
        ),
        ("target", "invalid field 'target' must be a key=value pair"),
        ("targt=/x", "unexpected key 'targt' in 'targt=/x' (did you mean target?)"),
        ("target=/x,required=true", "unexpected key 'required' for mount type 'bind'"),
        ("target=/x,size=5", "unexpected key 'size' for mount type 'bind'"),
        ("target=/x,mode=0700", 'mode not allowed for "bind" type mounts'),
        ("type=tmpfs,target=/x,uid=1", 'uid not allowed for "tmpfs" type mounts'),
        ("type=cache,target=/x,mode=9", "invalid value 9 for mode"),
        ("type=cache,target=/x,uid=-1", "invalid value -1 for uid"),
        ("type=cache,target=/x,uid=4294967296", "invalid value 4294967296 for uid"),
        ("type=tmpfs,target=/x,size=x", "invalid value for size: x"),
        ("target=/x,ro=maybe", "invalid value for ro: maybe"),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,id=a,source=b", "both source and id can't be set"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
        ("type=secret,id=a,sharing=shared", "secret mount should not define sharing"),
        ("target=/x,sharing=shared", "invalid cache sharing set for bind mount"),
        (
            "from=$X,target=/x",
            "'from' doesn't support variable expansion, define alias stage instead",
        ),
        ("source=/x", "invalid bind mount: target is required"),
    ],
)
def test_mount_problems(text: str, problem: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        one(f"RUN --mount={text} x")
    assert str(caught.value) == f"dockerfile parse error on line 2: {problem}"


def test_copy() -> None:
    copy = one(
        "COPY --from=Base --chown=1:2 --chmod=0644 --link --parents --exclude=*.o --exclude=x a b/ c/"
    )
    assert isinstance(copy, Copy)
    assert fields(copy, "sources", "destination", "source_name") == (("a", "b/"), "c/", "Base")
    assert fields(copy, "chown", "chmod", "link", "parents") == ("1:2", "0644", True, True)
    assert copy.exclude == ("*.o", "x")
    assert one('COPY ["a b", "c d/"]').sources == ("a b",)
    assert one("COPY --link=false a b").link is False


def test_copy_documents() -> None:
    copy = one("COPY <<one.txt <<-'two' plain /dest/\n$A\none.txt\n\tB\ntwo")
    assert isinstance(copy, Copy)
    assert copy.sources == ("plain",)
    assert [(d.name, d.text, d.expand) for d in copy.documents] == [
        ("one.txt", "$A\n", True),
        ("two", "B\n", False),
    ]


def test_add() -> None:
    digest = "sha256:" + "a" * 64
    add = one(f"ADD --checksum={digest} --keep-git-dir --unpack=false https://x/y /z")
    assert isinstance(add, Add)
    assert fields(add, "checksum", "keep_git_dir", "unpack") == (digest, True, False)
    assert one("ADD a b").unpack is None


def test_expanded_paths() -> None:
    copy = expanded(
        one("COPY --from=$A --chown=$A --chmod=$A --exclude=$A $A/x $A/"),
        lambda t: t.replace("$A", "v"),
    )
    assert fields(copy, "sources", "destination", "chown", "chmod") == (("v/x",), "v/", "v", "v")
    assert fields(copy, "exclude", "source_name") == (("v",), "$A")
    with pytest.raises(SyntaxProblem, match="checksum"):
        expanded(one("ADD --checksum=md5:1 https://x/y /"), str)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HEALTHCHECK NONE", (("NONE",), 0, 0, 0, 0, 0)),
        ("HEALTHCHECK none", (("NONE",), 0, 0, 0, 0, 0)),
        ("HEALTHCHECK CMD a b", (("CMD-SHELL", "a b"), 0, 0, 0, 0, 0)),
        ('HEALTHCHECK cmd ["a", "b"]', (("CMD", "a", "b"), 0, 0, 0, 0, 0)),
        (
            "HEALTHCHECK --interval=5s --timeout=1m30s --start-period=0s --start-interval=10ms --retries=3 CMD x",
            (("CMD-SHELL", "x"), 5 * 10**9, 90 * 10**9, 0, 10**7, 3),
        ),
    ],
)
def test_healthcheck(text: str, expected: tuple[Any, ...]) -> None:
    names = ("test", "interval", "timeout", "start_period", "start_interval", "retries")
    assert fields(one(text), *names) == expected
    assert isinstance(one(text), Healthcheck)


def test_settings() -> None:
    assert fields(one("USER  a:b "), "value") == ("a:b",)
    assert fields(one("WORKDIR /a b"), "value") == ("/a b",)
    assert one("EXPOSE 80 90/udp  100-110/tcp").ports == ("80", "90/udp", "100-110/tcp")
    assert one("VOLUME /a /b").paths == ("/a", "/b")
    assert one('VOLUME ["/a b"]').paths == ("/a b",)
    assert fields(one("STOPSIGNAL SIGKILL"), "value") == ("SIGKILL",)
    assert fields(one("MAINTAINER me <a@b>"), "value") == ("me <a@b>",)
    assert one('SHELL ["a", "-c"]').shell == ("a", "-c")
    kinds = {User: "USER a", Workdir: "WORKDIR a", Expose: "EXPOSE 1", Volume: "VOLUME a"}
    kinds |= {StopSignal: "STOPSIGNAL 9", Maintainer: "MAINTAINER a", Shell: 'SHELL ["a"]'}
    for kind, text in kinds.items():
        assert isinstance(one(text), kind)


def test_onbuild_keeps_its_trigger() -> None:
    trigger = one("ONBUILD  RUN <<E cat\nhello\nE")
    assert isinstance(trigger, OnBuild)
    assert trigger.trigger == "RUN <<E cat\nhello\nE"
    (run,) = parse_triggers([trigger.trigger])
    assert isinstance(run, Run)
    assert run.heredocs[0].content == "hello\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("FORM x", "unknown instruction: FORM (did you mean FROM?)"),
        ("RNU x", "unknown instruction: RNU (did you mean RUN?)"),
        ("XYZZY x", "unknown instruction: XYZZY"),
        ("copyy a b", "unknown instruction: copyy (did you mean COPY?)"),
        ("FROM a b", "FROM requires either one or three arguments"),
        ("FROM a as 1x", 'invalid name for build stage: "1x", name can\'t start with a number or contain symbols'),
        ("ENV", "ENV requires at least one argument"),
        ("ENV a", "ENV must have two arguments"),
        ("ENV a=b c", 'Syntax error - can\'t find = in "c". Must be of the form: name=value'),
        ("ENV =b", "ENV names can not be blank"),
        ("LABEL", "LABEL requires at least one argument"),
        ("ARG", "ARG requires at least one argument"),
        ("ARG =x", "ARG names can not be blank"),
        ("RUN", "RUN requires at least one argument"),
        ("COPY a", "COPY requires at least two arguments, but only one was provided. Destination could not be determined"),
        ("ADD", "ADD requires at least two arguments, but only one was provided. Destination could not be determined"),
        ("COPY a <<E\nE", "COPY cannot accept a heredoc as a destination"),
        ("COPY --fro=x a b", "unknown flag: --fro (did you mean from?)"),
        ("COPY --from=a --from=b c d", "duplicate flag specified: --from"),
        ("COPY --from a b", "missing a value on flag: --from"),
        ("COPY --link=x a b", "expecting boolean value for flag --link, not: x"),
        ("COPY --link= a b", "missing a value on flag: --link"),
        ("ENV --x=1 a=b", "unknown flag: --x"),
        ("RUN --network=lan x", 'network "lan" is not valid, use one of default, none, host'),
        ("CMD [1]", "when using JSON array syntax, arrays must be comprised of strings only"),
        ("SHELL x", "SHELL requires the arguments to be in JSON form"),
        ("SHELL []", "SHELL requires at least one argument"),
        ("USER", "USER requires exactly one argument"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("VOLUME", "VOLUME requires at least one argument"),
        ('VOLUME [" "]', "VOLUME specified can not be an empty string"),
        ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
        ("MAINTAINER", "MAINTAINER requires exactly one argument"),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("ONBUILD maintainer x", "MAINTAINER isn't allowed as an ONBUILD trigger"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK FOO x", 'Unknown type "FOO" in HEALTHCHECK (try CMD)'),
        ("HEALTHCHECK --interval=1us CMD x", 'Interval "interval" cannot be less than 1ms'),
        ("HEALTHCHECK --interval=1 CMD x", 'time: missing unit in duration "1"'),
        ("HEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative (-1)"),
        ("HEALTHCHECK --retries=a CMD x", 'strconv.ParseInt: parsing "a": invalid syntax'),
    ],
)  # fmt: skip
def test_problems(text: str, problem: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        one(text)
    assert str(caught.value) == f"dockerfile parse error on line 2: {problem}"
    assert caught.value.line == 2


def test_instruction_before_from() -> None:
    with pytest.raises(DockerfileError, match="line 2: no build stage in current context"):
        parse(b"ARG x\nRUN y\nFROM z")


def test_a_bad_duration_of_a_health_check_is_told_with_its_line() -> None:
    with pytest.raises(DockerfileError, match='line 2: time: unknown unit "x"'):
        parse(b"FROM y\nHEALTHCHECK --interval=1x CMD z")


def test_suggestions_are_near() -> None:
    assert suggestion("from", ["FROM"]) == " (did you mean FROM?)"
    assert suggestion("FROM", ["FROM"]) == ""
    assert suggestion("zzz", ["FROM"]) == ""


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
WORDS = st.text(st.characters(blacklist_categories=["C", "Z"]), min_size=1, max_size=10)


@given(st.dictionaries(NAMES, WORDS, min_size=1, max_size=4))
def test_env_round_trip(values: dict[str, str]) -> None:
    from wherry.builder.words import Expander

    body = " ".join("{}={}".format(k, "".join(f"\\{c}" for c in v)) for k, v in values.items())
    env = one(f"ENV {body}")
    expand = Expander({}).word
    assert {expand(k): expand(v) for k, v in env.pairs} == values
