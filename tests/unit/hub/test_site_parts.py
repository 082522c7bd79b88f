"""Markdown, plots, words for times and sizes, comparison of images."""

from __future__ import annotations

import pytest

from wherry.hub.records.images import LayerView, clean_command, layers, settings
from wherry.hub.web import plot
from wherry.hub.web.compare import compare_images
from wherry.hub.web.markdown import render
from wherry.hub.web.page import safe_next
from wherry.hub.web.render import ago, human_count, human_size


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
    html = render(source).lower()
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
    html = render(
        "# T\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```sh\nls\n```\n[l](https://e.example)"
    )
    assert "<h2>T</h2>" in html
    assert "<td>1</td>" in html
    assert '<code class="language-sh">ls' in html
    assert 'rel="nofollow noopener ugc"' in html


def test_images_in_markdown_become_links() -> None:
    assert render("![logo](https://e.example/l.png)").count("<a href=") == 1


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
