"""Markdown of READMEs and comments to HTML that is safe to show.

Raw HTML in the source is shown as text; what the renderer makes goes through an allow-list
all the same. Images become links: nothing is loaded from other hosts.
"""

from __future__ import annotations

from typing import Any

import nh3
from markdown_it import MarkdownIt

_TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li",
    "ol", "p", "pre", "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_ATTRIBUTES = {"a": {"href", "title"}, "code": {"class"}, "ol": {"start"}}
_SCHEMES = {"http", "https", "mailto"}
_MAX_NESTING = 20


def _image_as_link(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    target = nh3.clean_text(str(token.attrs.get("src", "")))
    label = nh3.clean_text(token.content or "image")
    return f'<a href="{target}">{label}</a>'


_parser = MarkdownIt("commonmark", {"html": False, "maxNesting": _MAX_NESTING})
_parser.enable(["table", "strikethrough"])
_parser.add_render_rule("image", _image_as_link)


def render(source: str) -> str:
    """HTML of the Markdown ``source``."""
    html = nh3.clean(
        _shift_headings(_parser.render(source)),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        link_rel="nofollow noopener ugc",
    )
    # What may be too wide scrolls, so the keyboard must reach it.
    for tag in ("pre", "table"):
        html = html.replace(f"<{tag}>", f'<{tag} tabindex="0">')
    return html


def _shift_headings(html: str) -> str:
    """Makes the source's h1 an h2 and so on: the page has its own h1."""
    for level in range(5, 0, -1):
        html = html.replace(f"<h{level}>", f"<h{level + 1}>")
        html = html.replace(f"</h{level}>", f"</h{level + 1}>")
    return html
