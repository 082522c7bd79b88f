"""Flags behave as Docker's do: names, values, order, refusals."""

from __future__ import annotations

import pytest

from wherry.cli import kinds
from wherry.cli.errors import UsageError
from wherry.cli.flags import Flag, FlagSet, HelpRequested, Options

FLAGS = (
    Flag("all", "a", kinds.BOOL, ""),
    Flag("interactive", "i", kinds.BOOL, ""),
    Flag("tty", "t", kinds.BOOL, ""),
    Flag("sig-proxy", "", kinds.BOOL, "", default=True),
    Flag("publish", "p", kinds.LIST, ""),
    Flag("memory", "m", kinds.BYTES, ""),
    Flag("name", "", kinds.STRING, "", default="none"),
    Flag("last", "n", kinds.INT, "", default=-1),
    Flag("opt", "o", kinds.MAP, ""),
    Flag("old", "", kinds.STRING, "", deprecated="use --name"),
    Flag("label", "", kinds.STRING, "", alias_of="name"),
)


def parse(*words: str, interspersed: bool = True) -> tuple[Options, list[str]]:
    return FlagSet(FLAGS, interspersed=interspersed).parse(list(words))


@pytest.mark.parametrize(
    ("words", "flag", "value"),
    [
        (("-it",), "tty", True),
        (("-it",), "interactive", True),
        (("-itp80",), "publish", ["80"]),
        (
            ("-p=80", "-p", "81", "--publish=82", "--publish", "83"),
            "publish",
            ["80", "81", "82", "83"],
        ),
        (("--sig-proxy=false",), "sig-proxy", False),
        (("--sig-proxy=F",), "sig-proxy", False),
        ((), "sig-proxy", True),
        (("--name=",), "name", ""),
        (("--name", "--odd"), "name", "--odd"),
        (("-m", "1.5g"), "memory", 1610612736),
        (("-n", "-5"), "last", -5),
        (("-n0x10",), "last", 16),
        (("-o", "a=b", "-o", "c", "-o", "a=d=e"), "opt", {"a": "d=e", "c": ""}),
        (("--label", "x"), "name", "x"),
    ],
)
def test_values(words: tuple[str, ...], flag: str, value: object) -> None:
    assert parse(*words)[0][flag] == value


def test_flags_stand_anywhere_unless_the_command_says_otherwise() -> None:
    assert parse("x", "-a", "y")[1] == ["x", "y"]
    options, arguments = parse("-t", "image", "-a", interspersed=False)
    assert (options["all"], arguments) == (False, ["image", "-a"])
    assert parse("-a", "--", "-t", "x")[1] == ["-t", "x"]
    assert parse("-", "x")[1] == ["-", "x"]


def test_what_was_given_is_known() -> None:
    options, _ = parse("--name", "none")
    assert options.given("name")
    assert not options.given("last")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--nope",), "unknown flag: --nope"),
        (("--nope=1",), "unknown flag: --nope"),
        (("-x",), "unknown shorthand flag: 'x' in -x"),
        (("-axt",), "unknown shorthand flag: 'x' in -xt"),
        (("--name",), "flag needs an argument: --name"),
        (("-p",), "flag needs an argument: 'p' in -p"),
        (("--=x",), "bad flag syntax: --=x"),
        (
            ("--all=maybe",),
            'invalid argument "maybe" for "-a, --all" flag: strconv.ParseBool: parsing "maybe": '
            "invalid syntax",
        ),
        (("-m", "x"), 'invalid argument "x" for "-m, --memory" flag: invalid size: \'x\''),
        (
            ("-n", "99999999999999999999"),
            'invalid argument "99999999999999999999" for "-n, --last" flag: strconv.ParseInt: '
            'parsing "99999999999999999999": value out of range',
        ),
    ],
)
def test_refusals(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as failure:
        parse(*words)
    assert (str(failure.value), failure.value.code) == (message, 125)


def test_help_and_warnings() -> None:
    with pytest.raises(HelpRequested):
        parse("x", "--help")
    with pytest.raises(HelpRequested) as request:
        parse("-ah")
    assert request.value.shorthand
    warnings: list[str] = []
    FlagSet(FLAGS).parse(["--old", "x"], warnings.append)
    assert warnings == ["Flag --old has been deprecated, use --name"]
