# ruff: noqa: E501  (the tables read better in single lines)
import pytest

from wherry.builder.dockerfile import parse
from wherry.builder.lint import RULES, lint, violation
from wherry.dockerignore import Matcher

CASES = [
    ("FROM a AS Builder", "StageNameCasing", "Stage name 'Builder' should be lowercase"),
    ("FROM a as b", "FromAsCasing", "'as' and 'FROM' keywords' casing do not match"),
    ("FROM a\nRUN x \\\n\n y", "NoEmptyContinuation", "Empty continuation line"),
    ("FROM a\nrun x\nUSER y", "ConsistentInstructionCasing", "Command 'run' should match the case of the command majority (uppercase)"),
    ("FROM a AS b\nFROM c AS b", "DuplicateStageName", 'Duplicate stage name "b", stage names should be unique'),
    ("FROM a AS scratch", "ReservedStageName", 'Stage name should not use the same name as reserved stage "scratch"'),
    ("FROM a\nCMD x y", "JSONArgsRecommended", "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals"),
    ("FROM a\nMAINTAINER me", "MaintainerDeprecated", "Maintainer instruction is deprecated in favor of using label"),
    ("ARG VERSION=1\nFROM a:${VERSIO}", "UndefinedArgInFrom", "FROM argument 'VERSIO' is not declared (did you mean VERSION?)"),
    ("FROM a\nWORKDIR app", "WorkdirRelativePath", 'Relative workdir "app" can have unexpected results if the base image changes'),
    ("FROM a\nARG foo\nCOPY $fooo .", "UndefinedVar", "Usage of undefined variable '$fooo' (did you mean $foo?)"),
    ("FROM a\nCMD [\"x\"]\nCMD [\"y\"]", "MultipleInstructionsDisallowed", "Multiple CMD instructions should not be used in the same stage because only the last one will be used"),
    ("FROM a\nENV b c", "LegacyKeyValueFormat", '"ENV key=value" should be used instead of legacy "ENV key value" format'),
    ("FROM --platform=$TARGETPLATFORM a", "RedundantTargetPlatform", "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior"),
    ("FROM a\nARG AWS_SECRET", "SecretsUsedInArgOrEnv", 'Do not use ARG or ENV instructions for sensitive data (ARG "AWS_SECRET")'),
    ("ARG TAG\nFROM a:${TAG}", "InvalidDefaultArgInFrom", "Default value for ARG a:${TAG} results in empty or invalid base image name"),
    ("FROM --platform=linux/amd64 a", "FromPlatformFlagConstDisallowed", 'FROM --platform flag should not use constant value "linux/amd64"'),
    ("FROM a\nEXPOSE 80/TcP", "ExposeProtoCasing", "Defined protocol '80/TcP' in EXPOSE instruction should be lowercase"),
    ("FROM a\nEXPOSE 80:80", "ExposeInvalidFormat", "EXPOSE instruction should not define an IP address or host-port mapping, found '80:80'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "rule", "message"), CASES)
def test_rules(text: str, rule: str, message: str) -> None:
    findings = lint(parse(text.encode()))
    assert (rule, message) in [(finding.rule, finding.message) for finding in findings]


def test_ignored_file() -> None:
    findings = lint(parse(b"FROM a\nCOPY secret.txt /"), ignored=Matcher(["*.txt"]))
    assert [f.message for f in findings] == [
        'Attempting to Copy file "secret.txt" that is excluded by .dockerignore'
    ]


def test_descriptions_are_checked_on_demand() -> None:
    text = "# check=experimental=all\n# other text\nARG foo=1\nFROM a"
    assert [f.rule for f in lint(parse(text.encode()))] == ["InvalidDefinitionDescription"]
    assert lint(parse(text.replace("=all", "=none").encode())) == []


@pytest.mark.parametrize(
    "text",
    [
        'FROM a AS b\nWORKDIR /x\nWORKDIR y\nCMD ["z"]',
        "from a as b\nrun x",
        "ARG TAG=1\nFROM a:${TAG}\nENV PATH=/x:$PATH\nENV A=${B:-c}",
        'FROM a\nSHELL ["bash", "-c"]\nCMD x',
        "FROM a\nARG PUBLIC_KEY\nENV KEYBOARD=1",
        "FROM --platform=$BUILDPLATFORM a\nARG TARGETARCH\nRUN x",
        "FROM --platform=linux/amd64 a AS build_amd64",
    ],
)
def test_nothing_to_say(text: str) -> None:
    assert lint(parse(text.encode())) == []


def test_rules_can_be_skipped() -> None:
    text = "# check=skip=JSONArgsRecommended,StageNameCasing\nFROM a AS B\nCMD x"
    assert lint(parse(text.encode())) == []
    assert lint(parse(b"# check=skip=all\nFROM a as B\nCMD x")) == []


def test_error_directive() -> None:
    asked = parse(b"# check=error=true\nFROM a AS B\nCMD x\nFROM a AS C")
    rules = "StageNameCasing, JSONArgsRecommended"
    assert violation(asked, lint(asked)) == f"lint violation found for rules: {rules}"
    for text in (b"# check=error=true\nFROM a", b"FROM a AS B"):
        fine = parse(text)
        assert violation(fine, lint(fine)) == ""


def test_addresses_and_descriptions() -> None:
    (finding,) = lint(parse(b"FROM a\nCMD x"))
    assert finding.url == "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"
    assert finding.description == RULES["JSONArgsRecommended"]
    assert finding.line == 2


def test_known_environment() -> None:
    file = parse(b"FROM golang\nCOPY x $GOPATH")
    assert [f.rule for f in lint(file)] == ["UndefinedVar"]
    assert lint(file, environments={"golang": ["GOPATH"]}) == []
