"""Markdown, plots, words for times and sizes, comparison of images."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.hub.distribution.manifest import MOST_STEPS, read_config
from wherry.hub.records.images import LayerView, clean_command, layers, notes, settings
from wherry.hub.registry.manifests import creation_time
from wherry.hub.web import plot
from wherry.hub.web.compare import compare_images
from wherry.hub.web.markdown import render as render_markdown
from wherry.hub.web.page import safe_next
from wherry.hub.web.render import ago, human_count, human_size, iso_time, render


@pytest.mark.parametrize(
    "source",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "![x](javascript:alert(1))",
        '[x](https://e.example "onmouseover=alert(1)")',
        "<a href='javascript:alert(1)'>x</a>",
        '<style>*{display:none}</style><iframe src="//e.example"></iframe>',
        "[x](vbscript:x) <svg/onload=alert(1)>",
        "&#60;script&#62;alert(1)&#60;/script&#62;",
    ],
)
def test_markdown_lets_no_script_through(source: str) -> None:
    html = render_markdown(source).lower()
    for bad in (
        "<script",
        "<img",
        "<style",
        "<iframe",
        "<svg",
        'href="javascript',
        'href="data',
        'href="vbscript',
    ):
        assert bad not in html


def test_markdown_renders_what_readmes_use() -> None:
    html = render_markdown(
        "# T\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```sh\nls\n```\n[l](https://e.example)"
    )
    assert "<h2>T</h2>" in html
    assert "<td>1</td>" in html
    assert '<code class="language-sh">ls' in html
    assert 'rel="nofollow noopener ugc"' in html


def test_images_in_markdown_become_links() -> None:
    assert render_markdown("![logo](https://e.example/l.png)").count("<a href=") == 1


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (5_300_000, "5.3 MB"), (250_400_000, "250 MB")],
)
def test_sizes(size: int, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (999, "999"), (1200, "1.2k"), (34_000_000, "34M")]
)
def test_counts(count: int, text: str) -> None:
    assert human_count(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "just now"), (60, "1 minute ago"), (7200, "2 hours ago"), (86_400 * 400, "1 year ago")],
)
def test_ago(seconds: int, text: str) -> None:
    assert ago(1_000_000_000 - seconds, now=1_000_000_000) == text


def test_plot_has_a_bar_for_each_day_and_scales_to_the_peak() -> None:
    drawn = plot.pulls([0, 5, 10], width=300, height=60)
    assert [bar.count for bar in drawn.bars] == [0, 5, 10]
    assert [bar.height for bar in drawn.bars] == [1.0, 30.0, 60.0]
    assert drawn.bars[-1].days_ago == 0
    assert plot.pulls([0, 0]).peak == 0


def test_history_is_matched_with_layers() -> None:
    document = {"layers": [{"digest": "sha256:a", "size": 1}, {"digest": "sha256:b", "size": 2}]}
    config = {
        "history": [
            {"created_by": "/bin/sh -c #(nop) ADD file:x in / "},
            {"created_by": "/bin/sh -c #(nop)  ENV A=1", "empty_layer": True},
            {"created_by": "RUN make # buildkit"},
        ]
    }
    assert [(view.command, view.digest) for view in layers(document, config)] == [
        ("ADD file:x in /", "sha256:a"),
        ("ENV A=1", ""),
        ("RUN make", "sha256:b"),
    ]
    assert [view.digest for view in layers(document, {})] == ["sha256:a", "sha256:b"]


def test_shell_form_is_shown_as_run() -> None:
    assert clean_command("/bin/sh -c apt-get update") == "RUN apt-get update"


def test_settings_survive_odd_configs() -> None:
    assert settings({"Cmd": ["a"], "ExposedPorts": [], "Env": None, "Labels": 3}) == [
        ("Cmd", '["a"]')
    ]


def test_comparison_of_images() -> None:
    base, old, new = (
        LayerView("ADD", "a", 100, ""),
        LayerView("RUN 1", "b", 10, ""),
        LayerView("RUN 2", "c", 20, ""),
    )
    found = compare_images(
        {"layers": [base, old], "settings": [("Cmd", "x")]},
        {"layers": [base, new], "settings": [("Cmd", "y")]},
    )
    assert [(step.sign, step.layer.command) for step in found.steps] == [
        ("=", "ADD"),
        ("-", "RUN 1"),
        ("+", "RUN 2"),
    ]
    assert (found.shared, found.removed, found.added) == (100, 10, 20)
    assert found.settings == [("-", "Cmd", "x"), ("+", "Cmd", "y")]


def image_of(*digests: str) -> dict[str, Any]:
    return {"layers": [LayerView("", digest, 1, "") for digest in digests], "settings": []}


def signs(old: str, new: str) -> str:
    found = compare_images(image_of(*old), image_of(*new))
    assert "".join(step.layer.digest for step in found.steps if step.sign != "+") == old
    assert "".join(step.layer.digest for step in found.steps if step.sign != "-") == new
    return "".join(step.sign for step in found.steps)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", ""),
        ("ab", "ab", "=="),
        ("abc", "axc", "=-+="),
        ("abcd", "bcd", "-==="),
        ("bcd", "abcd", "+==="),
        ("axbyc", "apbqc", "=-+=-+="),
        ("pabq", "rbas", None),
        ("aaaa", "aaa", "===-"),
        ("xx", "", "--"),
    ],
)
def test_layers_are_compared_in_order(old: str, new: str, expected: str | None) -> None:
    found = signs(old, new)
    assert expected is None or found == expected
    if expected is None:
        assert found.count("=") == 1


@given(st.text("abcdef", max_size=12), st.text("abcdef", max_size=12))
def test_any_two_images_are_told_apart_completely(old: str, new: str) -> None:
    signs(old, new)


def test_comparing_thousands_of_layers_looks_at_each_a_few_times() -> None:
    looks = 0

    class Counted(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            nonlocal looks
            looks += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    count = 2000
    for old, new in (
        (["x"] * count, ["x"] * (count + 1)),
        (["a", *["x"] * count, "b"], ["c", *["x"] * count, "d"]),
        ([f"{n}" for n in range(count)], [f"{n}" for n in reversed(range(count))]),
    ):
        looks = 0
        compare_images(image_of(*map(Counted, old)), image_of(*map(Counted, new)))
        assert 0 < looks < 20 * count


def test_images_with_very_many_layers_are_shown_in_part() -> None:
    many = {"layers": [{"digest": "sha256:a", "size": 1}] * 30_000}
    assert len(layers(many, {})) == MOST_STEPS
    steps = {"history": [{"created_by": "RUN x"}] * 30_000}
    assert len(layers(many, steps)) == MOST_STEPS


def test_texts_of_images_can_be_stored_and_shown() -> None:
    odd = "\ud800\0x"
    config = json.dumps(
        {
            "os": ["linux"],
            "architecture": odd,
            "created": "9999-12-31T23:59:59-14:00",
            "history": [{"created_by": odd, "empty_layer": 3}, 7, {"created_by": {"a": 1}}],
            "config": {"Env": "A=1", "Cmd": [odd, 3], "User": 5, "Labels": {odd: odd, "n": None}},
        }
    )
    facts = read_config(config.encode())
    assert facts is not None
    assert facts.platform == "\N{REPLACEMENT CHARACTER}" * 2 + "x"
    assert facts.config["history"][0] == {
        "created_by": "\N{REPLACEMENT CHARACTER}" * 2 + "x",
        "empty_layer": False,
    }
    json.dumps(facts.config, ensure_ascii=False).encode()
    shown = dict(settings(facts.config["config"]))
    assert set(shown) == {"Cmd", "Label"}
    assert settings({"Env": 3, "Cmd": {"a": 1}, "Volumes": "x"}) == []
    assert creation_time(facts.created) is None
    assert creation_time("9999-12-31T23:59:59Z") == 253_402_300_799
    assert creation_time("0001-01-01T00:00:00+23:59") is None
    assert iso_time(253_402_350_000) == "" == iso_time(None)
    assert notes({"annotations": {"a": odd, "b": [1]}})["b"] == "[1]"
    render("error.html", message=odd, code=404).encode()


@pytest.mark.parametrize(
    ("target", "safe"),
    [
        ("/r/a/b", "/r/a/b"),
        ("//e.example", "/"),
        ("https://e.example", "/"),
        ("/\\e", "/"),
        ("", "/"),
    ],
)
def test_login_leads_back_to_this_site_only(target: str, safe: str) -> None:
    assert safe_next(target) == safe
