"""The template language: what Go's text/template and Docker's functions make of the same text."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.cli.gotemplate import Template, TemplateError
from wherry.cli.gotemplate.evaluator import Record

DATA = {
    "Name": "boat",
    "Count": 3,
    "Ratio": 1.5,
    "On": True,
    "Off": False,
    "Nothing": None,
    "Empty": "",
    "List": ["a", "b", "c"],
    "Map": {"k": "v", "a": "z"},
    "Deep": {"Er": {"Est": "found"}},
    "Id": "abc",
}

RENDERED = [
    ('{{define "row"}}<{{.}}>{{end}}{{range .List}}{{template "row" .}}{{end}}', "<a><b><c>"),
    ('{{template "later" .Name}}{{define "later"}}{{upper .}}{{end}}', "BOAT"),
    ('{{block "b" .Deep}}{{.Er.Est}}{{end}}', "found"),
    ('{{define "x"}}{{$.Er.Est}}{{end}}{{with .Deep}}{{template "x" .}}{{end}}', "found"),
    ('{{define "x"}}{{.}}{{end}}{{template "x"}}', "<no value>"),
    ('{{define "x"}} {{end}}{{define "x"}}second{{end}}{{template "x"}}', "second"),
    ('{{define "down"}}{{.}}{{if gt . 1}}{{template "less" .}}{{end}}{{end}}'
     '{{define "less"}}-{{end}}{{template "down" 2}}', "2-"),
    ("plain", "plain"),
    ("{{.Name}}", "boat"),
    ("{{ .Name }}!", "boat!"),
    ("{{.Deep.Er.Est}}", "found"),
    ("{{(.Deep).Er.Est}}", "found"),
    ("{{.ID}}", "abc"),
    ("{{$.Name}}", "boat"),
    ("{{.Count}} {{.Ratio}} {{.On}}", "3 1.5 true"),
    ("{{.List}} {{.Map}}", "[a b c] map[a:z k:v]"),
    ("{{.Nothing}}", "<no value>"),
    ("{{print nil}}", "<nil>"),
    ("{{if .On}}yes{{else}}no{{end}}", "yes"),
    ("{{if .Off}}yes{{else if .Name}}named{{else}}no{{end}}", "named"),
    ("{{if not .Empty}}empty{{end}}", "empty"),
    ("{{with .Deep}}{{.Er.Est}}{{end}}", "found"),
    ("{{with .Empty}}x{{else}}none{{end}}", "none"),
    ("{{with .Empty}}x{{else with .Name}}{{.}}{{end}}", "boat"),
    ("{{range .List}}<{{.}}>{{end}}", "<a><b><c>"),
    ("{{range $i, $e := .List}}{{$i}}{{$e}}{{end}}", "0a1b2c"),
    ("{{range $e := .List}}{{$e}}{{end}}", "abc"),
    ("{{range $k, $v := .Map}}{{$k}}={{$v}};{{end}}", "a=z;k=v;"),
    ("{{range .Nothing}}x{{else}}nothing{{end}}", "nothing"),
    ("{{range .List}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}", "a"),
    ("{{range .List}}{{if eq . \"b\"}}{{continue}}{{end}}{{.}}{{end}}", "ac"),
    ("{{range 3}}{{.}}{{end}}", "012"),
    ("{{$x := 1}}{{range .List}}{{$x = .}}{{end}}{{$x}}", "c"),
    ("a {{- .Name -}} b", "aboatb"),
    ("a {{/* a comment */}}b", "a b"),
    ("a {{- /* a comment */ -}} b", "ab"),
    ("{{index .List 1}}{{index .Map \"k\"}}", "bv"),
    ("{{index .Deep \"Er\" \"Est\"}}", "found"),
    ("{{slice .Name 1 3}}{{slice .List 1}}", "oa[b c]"),
    ("{{len .Name}}{{len .List}}{{len .Map}}", "432"),
    ("{{and 1 0}}{{or 0 \"x\"}}{{and .On .Name}}", "0xboat"),
    ("{{eq 1 2 1}}{{ne 1 2}}{{lt 1 2}}{{le 2 2}}{{gt 2 1}}{{ge 1 2}}",
     "truetruetruetruetruefalse"),
    ("{{print 1 2 \"a\" \"b\" 3}}", "1 2ab3"),
    ("{{println 1 \"x\"}}", "1 x\n"),
    ("{{printf \"%s-%5d|%-5s|%05.2f|%x|%t|%q|%v\" \"a\" 3 \"c\" 1.5 255 true \"q\" .List}}",
     "a-    3|c    |01.50|ff|true|\"q\"|[a b c]"),
    ("{{printf \"%d%%\" 5}}", "5%"),
    ("{{printf \"%d\" \"x\"}}{{printf \"%s\"}}{{printf \"x\" 1}}",
     "%!d(string=x)%!s(MISSING)x%!(EXTRA int=1)"),
    ("{{.Name | printf \"%s-%s\" \"a\"}}", "a-boat"),
    ("{{json .Map}}{{json .List}}{{json .Name}}{{json .Nothing}}",
     '{"k":"v","a":"z"}["a","b","c"]"boat"null'),
    ("{{upper .Name}} {{title \"hello big world\"}} {{lower \"ABC\"}}", "BOAT Hello Big World abc"),
    ("{{join .List \"-\"}}{{split \"x,y\" \",\"}}", "a-b-c[x y]"),
    ("[{{pad .Name 1 2}}][{{pad .Empty 1 2}}][{{truncate .Name 2}}]", "[ boat  ][][bo]"),
    ("{{html \"<a>\"}}{{urlquery \"a b&c\"}}{{js \"it's\"}}", "&lt;a&gt;a+b%26cit\\'s"),
    ("{{`raw \\n`}}{{\"tab\\t\\x41\\u00e9\"}}{{'a'}}", "raw \\ntab\tAé97"),
    ("{{0x10}} {{1e3}} {{-3}} {{1_000}} {{0b11}}", "16 1000 -3 1000 3"),
    ("{{(len .List) | printf \"%03d\"}}", "003"),
    ("{{.Call \"x\"}}", "called with x"),
]  # fmt: skip

REFUSED = [
    ("{{.Foo", "unclosed action"),
    ("{{foo .}}", 'function "foo" not defined'),
    ("{{if .X}}", "unexpected EOF"),
    ("{{end}}", "unexpected {{end}}"),
    ("{{else}}", "unexpected {{else}}"),
    ('{{"abc}}', "unterminated quoted string"),
    ("{{.A | }}", "missing value for command"),
    ('{{.A | "x"}}', "non executable command in pipeline stage 2"),
    ("{{$x}}", 'undefined variable "$x"'),
    ("{{)}}", "unexpected right paren"),
    ("{{(.A}}", "unclosed left paren"),
    ("{{ .A}B }}", "bad character U+007D '}'"),
    ("{{}}", "missing value for command"),
    ("{{if}}{{end}}", "missing value for if"),
    ("{{range .X}}{{else}}{{else}}{{end}}", "expected end; found {{else}}"),
    ("{{true.X}}", 'unexpected . after term "true"'),
    ("{{break}}", "{{break}} outside {{range}}"),
    ("{{/* x", "unclosed comment"),
    (
        '{{define "a"}}1{{end}}{{define "a"}}2{{end}}',
        'template: multiple definition of template "a"',
    ),
    ('{{if true}}{{define "a"}}{{end}}{{end}}', "unexpected <define> in command"),
    ("{{template x}}", 'unexpected "x" in template clause'),
    ('{{define "a" .}}{{end}}', "unexpected <.> in define clause"),
    ('{{define "a"}}x', "unexpected EOF"),
    ('{{define "a"}}{{else}}{{end}}', "unexpected {{else}} in define clause"),
    ('{{$x := 1}}{{define "a"}}{{$x}}{{end}}', 'undefined variable "$x"'),
    ('{{block "a"}}{{end}}', "missing value for block clause"),
]

FAILED = [
    ("{{.Foo}}", ':1:2: executing "" at <.Foo>: map has no entry for key "Foo"'),
    ("{{.Deep.Foo}}", ':1:7: executing "" at <.Deep.Foo>: map has no entry for key "Foo"'),
    ("{{.Deep.Er.Foo}}", ':1:7: executing "" at <.Deep.Er.Foo>: map has no entry for key "Foo"'),
    ("{{.Name.X}}", ':1:7: executing "" at <.Name.X>: can\'t evaluate field X in type string'),
    ("x\n {{len 3}}", ':2:3: executing "" at <len 3>: error calling len: len of type int'),
    ("{{1 | len}}", ':1:6: executing "" at <len>: error calling len: len of type int'),
    ('{{eq 1 "x"}}', "error calling eq: incompatible types for comparison"),
    ("{{gt 2 1 3}}", ':1:2: executing "" at <gt>: wrong number of args for gt: want 2 got 3'),
    ("{{not}}", "wrong number of args for not: want 1 got 0"),
    ("{{nil}}", "nil is not a command"),
    ("{{call 1}}", "error calling call: non-function 1 of type int"),
    ("{{index .List 9}}", "error calling index: index out of range: 9"),
    ("{{range .Name}}{{end}}", "range can't iterate over boat"),
    ('{{template "x"}}', ':1:11: executing "" at <{{template "x"}}>: template "x" not defined'),
    ('{{define "a"}}{{.X}}{{end}}{{template "a" .}}', ':1:16: executing "a" at <.X>: map has no'),
    ('{{define "a"}}{{template "a"}}{{end}}{{template "a"}}', "exceeded maximum template depth"),
    ("{{.Row.Nope}}", "can't evaluate field Nope in type *formatter.RowContext"),
]


class Row(Record):
    type_name = "*formatter.RowContext"


def data() -> dict[str, object]:
    return {**DATA, "Call": lambda word: f"called with {word}", "Row": Row()}


@pytest.mark.parametrize(("source", "expected"), RENDERED)
def test_renders(source: str, expected: str) -> None:
    assert Template(source).render(data()) == expected


@pytest.mark.parametrize(("source", "words"), REFUSED)
def test_does_not_parse(source: str, words: str) -> None:
    with pytest.raises(TemplateError) as failure:
        Template(source)
    assert str(failure.value) == f"template: :1: {words}"


@pytest.mark.parametrize(("source", "words"), FAILED)
def test_does_not_execute(source: str, words: str) -> None:
    with pytest.raises(TemplateError) as failure:
        Template(source).render(data())
    assert words in str(failure.value)


@given(st.text(alphabet=st.characters(blacklist_characters="{")))
def test_text_without_actions_is_itself(text: str) -> None:
    assert Template(text).render({}) == text


@given(st.text())
def test_any_string_survives_quoting(text: str) -> None:
    from wherry.golang import quote

    assert Template("{{" + quote(text) + "}}").render({}) == text


@given(st.text(alphabet="{}.$|()\"'`-+= /*ABCifendrangewith019\n\\", max_size=40))
def test_any_text_parses_or_is_refused(text: str) -> None:
    with contextlib.suppress(TemplateError):
        Template(text).render({"A": {"B": [1, "x"]}, "C": 2})


@given(st.lists(st.integers()), st.integers(-5, 5))
def test_join_and_range_agree(numbers: list[int], start: int) -> None:
    ranged = Template("{{range $i, $e := .}}{{if $i}},{{end}}{{$e}}{{end}}").render(numbers)
    assert ranged == Template('{{join . ","}}').render(numbers)
