import os
from pathlib import Path

import pytest
from tests.unit.builder.trees import tree

from wherry.builder.copying import LayerPlan, Options, find_sources
from wherry.builder.layertar import layer_tar
from wherry.builder.layertree import LayerTree
from wherry.builder.trees import Kind, TreeError, resolve

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="whiteouts need root")


@pytest.fixture
def stack(tmp_path: Path) -> LayerTree:
    base, upper = tmp_path / "base", tmp_path / "upper"
    for directory in (base / "d" / "inner", base / "hidden", upper / "d", upper / "hidden"):
        directory.mkdir(parents=True)
    (base / "d" / "old").write_text("old")
    (base / "d" / "gone").write_text("gone")
    (base / "hidden" / "below").write_text("below")
    (base / "was-link").symlink_to("/etc")
    (base / "link").symlink_to("/d/../../../d/inner")
    (upper / "d" / "new").write_text("new")
    os.mknod(upper / "d" / "gone", 0o20600, 0)
    os.setxattr(upper / "hidden", "user.overlay.opaque", b"y")
    (upper / "was-link").mkdir()
    (upper / "was-link" / "passwd").write_text("ours")
    return LayerTree([str(base), str(upper)])


def test_layers_are_seen_as_one(stack: LayerTree) -> None:
    assert stack.children("d") == ["inner", "new", "old"]
    assert stack.entry("d/gone") is None
    assert stack.children("hidden") == []
    assert stack.entry("hidden/below") is None
    assert stack.open("d/old").read() == b"old"
    assert stack.children("d/old") == []


def test_a_link_of_a_lower_layer_is_never_entered(stack: LayerTree) -> None:
    assert stack.children("was-link") == ["passwd"]
    assert stack.open("was-link/passwd").read() == b"ours"
    assert stack.entry("was-link/hostname") is None


def test_links_are_resolved_inside(stack: LayerTree) -> None:
    assert resolve(stack, "link") == "d/inner"
    entry = stack.entry("link")
    assert entry is not None
    assert entry.kind is Kind.SYMLINK
    with pytest.raises(TreeError, match="no such file"):
        stack.open("nowhere")


def test_nothing_is_an_empty_tree() -> None:
    nothing = LayerTree(())
    assert nothing.children("") == []
    assert nothing.entry("x") is None
    root = nothing.entry("")
    assert root is not None
    assert root.is_directory


def test_the_same_plan_gives_the_same_bytes() -> None:
    def stream() -> bytes:
        plan = LayerPlan(LayerTree(()), Options(clamp=5, now=5))
        plan.copy(find_sources(tree({"b": "2", "a/x": "1", "l": ("->", "b")}), "."), "/out/")
        return b"".join(layer_tar(plan.items()))

    assert stream() == stream()
    assert len(stream()) % 512 == 0


def test_what_one_layer_holds_alone_can_be_used_where_it_lies(
    stack: LayerTree, tmp_path: Path
) -> None:
    assert stack.plain_path("d/inner") == str(tmp_path / "base" / "d" / "inner")
    assert stack.plain_path("hidden") == str(tmp_path / "upper" / "hidden")
    assert stack.plain_path("d/new") == str(tmp_path / "upper" / "d" / "new")
    for path in ("", "d", "d/gone", "nothing"):  # merged, removed, never there
        assert stack.plain_path(path) is None
