"""What `wherry build` reads and draws."""

import io
from pathlib import Path

import pytest

from wherry.cli.build_options import (
    CachePlaces,
    Export,
    read_agent,
    read_caches,
    read_contexts,
    read_output,
    read_secret,
)
from wherry.cli.build_view import BuildView
from wherry.cli.errors import CliError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id=a,src={file}", ("a", b"in file")),
        ("id=a,source={file}", ("a", b"in file")),
        ("type=file,id=a,src={file}", ("a", b"in file")),
        ("id=a,env=TOKEN", ("a", b"in variable")),
        ("type=env,id=a,src=TOKEN", ("a", b"in variable")),
        ("type=env,id=TOKEN", ("TOKEN", b"in variable")),
        ("id=TOKEN", ("TOKEN", b"in variable")),
        ('"id=a","src={file}"', ("a", b"in file")),
    ],
)
def test_secrets(tmp_path: Path, text: str, expected: tuple[str, bytes]) -> None:
    (tmp_path / "secret").write_text("in file")
    given = text.replace("{file}", str(tmp_path / "secret"))
    assert read_secret(given, {"TOKEN": "in variable"}) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("src=x", "id is missing"),
        ("id=x,src=/nowhere", "No such file"),
        ("id=x,env=NONE", "no variable NONE"),
        ("id=x,mode=4", "unexpected key"),
        ("x", "must be key=value"),
        ("type=vault,id=x", "unexpected key"),
    ],
)
def test_bad_secrets(text: str, problem: str) -> None:
    with pytest.raises(CliError, match=problem):
        read_secret(text, {})


def test_agents(tmp_path: Path) -> None:
    environment = {"SSH_AUTH_SOCK": str(tmp_path)}
    assert read_agent("default", environment) == ("default", str(tmp_path))
    assert read_agent(f"work={tmp_path}", {}) == ("work", str(tmp_path))
    with pytest.raises(CliError, match="SSH_AUTH_SOCK is not set"):
        read_agent("default", {})
    with pytest.raises(CliError, match="no socket of an agent"):
        read_agent("k=/etc/passwd", {})


def test_contexts(tmp_path: Path) -> None:
    entries = [f"files={tmp_path}", "base=docker-image://alpine:3", "code=git@host:x.git"]
    addresses, directories = read_contexts(entries)
    assert addresses == {"base": "docker-image://alpine:3", "code": "git@host:x.git"}
    assert directories == {"files": str(tmp_path)}
    for entry in ("x", "=y", "x=", "x=/nowhere", "x=oci-layout://y"):
        with pytest.raises(CliError):
            read_contexts([entry])


def test_caches() -> None:
    assert read_caches(
        ["app", "type=registry,ref=r/c", "type=local,src=/in"],
        ["r/c", "type=registry,ref=r/d,mode=max", "type=local,dest=/out,mode=max", "type=inline"],
    ) == CachePlaces(
        ("type=registry,ref=app", "type=registry,ref=r/c"),
        ("type=registry,ref=r/c,mode=min", "type=registry,ref=r/d,mode=max", "type=inline"),
        ("/in",),
        (("/out", "max"),),
    )
    for sources, targets in (["type=gha"], []), ([], ["type=s3"]), (["type=local"], []):
        with pytest.raises(CliError):
            read_caches(sources, targets)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("out", Export("local", "out")),
        ("-", Export("tar", "-")),
        ("type=tar", Export("tar", "-")),
        ("type=local,dest=d", Export("local", "d")),
        ("type=oci,dest=f.tar", Export("oci", "f.tar")),
        ("type=docker", Export("docker")),
        ('type=image,"name=a,b",push=true', Export("image", "", ("a", "b"), True)),
        ("type=registry,name=r/x", Export("registry", "", ("r/x",), True)),
    ],
)
def test_outputs(text: str, expected: Export) -> None:
    assert read_output(text) == expected


@pytest.mark.parametrize("text", ["type=local", "type=zip,dest=x", "dest=x"])
def test_bad_outputs(text: str) -> None:
    with pytest.raises(CliError):
        read_output(text)


def drawn(*messages: dict[str, object], columns: int = 40, explain: bool = False) -> str:
    """What remains on the screen: every line that was drawn and not taken back."""
    out = io.StringIO()
    view = BuildView(out, columns, explain=explain, now=lambda: 1.0)
    for message in messages:
        if "explain" in message:
            view.explained(message["explain"])  # type: ignore[arg-type]
        else:
            view.show(message)
    view.finish()
    screen: list[str] = []
    for piece in out.getvalue().split("\x1b["):
        if piece[1:2] == "A":
            screen = screen[: len(screen) - int(piece[0])]
        lines = piece.partition("J")[2] if piece.startswith("J") else piece
        screen += [line for line in lines.split("\n")[:-1] if line.startswith((" =>", "    ", "S"))]
    return "\n".join(screen)


def said(text: str) -> dict[str, object]:
    return {"stream": text}


def test_a_build_is_a_line_for_each_step() -> None:
    text = drawn(
        said("Step 1/2 : FROM busybox"),
        said("\n"),
        said(" ---> 0123456789ab\n"),
        said("Step 2/2 : RUN make"),
        said("\n"),
        said("compiling\nlinking\n"),
        {"explain": {"cached": False, "seconds": 12.34, "reasons": ["never built before"]}},
        said(" ---> 0123456789ab\n"),
        said("Successfully built 0123456789ab\n"),
    )
    assert text.splitlines() == [
        f"{' => [1/2] FROM busybox':<34} 0.0s",
        f"{' => [2/2] RUN make':<33} 12.3s",
        "Successfully built 0123456789ab",
    ]


def test_cached_steps_say_so_and_reasons_are_told_when_asked() -> None:
    step = [said("Step 1/1 : RUN make\n"), {"explain": {"cached": True, "seconds": 5}}]
    assert drawn(*step).endswith("CACHED")
    changed = {"cached": False, "seconds": 1, "reasons": ["file a changed"]}
    told = drawn(said("Step 1/1 : RUN make\n"), {"explain": changed}, explain=True)
    assert told.splitlines()[-1] == " => => not cached: file a changed"


def test_long_and_hostile_titles_stay_on_their_line() -> None:
    text = drawn(said(f"Step 1/1 : RUN echo \x1b[31m{'x' * 200}\n"))
    assert len(text) < 41
    assert "\x1b[31m" not in text


def test_a_failure_shows_what_the_step_printed() -> None:
    out = io.StringIO()
    view = BuildView(out, 40, explain=False, now=lambda: 1.0)
    view.show(said("Step 1/1 : RUN make\n"))
    view.show(said("".join(f"line {number}\n" for number in range(20))))
    with pytest.raises(CliError, match="returned a non-zero code: 2") as caught:
        view.show({"errorDetail": {"code": 2, "message": "returned a non-zero code: 2"}})
    assert caught.value.code == 2
    assert all(f"    line {number}\n" in out.getvalue() for number in range(20))
