# ruff: noqa: E501  (the tables read better in single lines)
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.builder.trees import File, tree

from wherry.builder.copying import CopyError, Item, LayerPlan, Options, find_sources
from wherry.builder.errors import SyntaxProblem
from wherry.builder.modes import parse_chmod, parse_chown
from wherry.builder.trees import Kind, TreeError, entry_digest, resolve, walk

CONTEXT: dict[str, File] = {
    "a.txt": "A",
    "b.txt": "B",
    "c.md": "C",
    "dir/x": "X",
    "dir/sub/y.txt": "Y",
    "empty": None,
    "link": ("->", "a.txt"),
    "dirlink": ("->", "dir"),
    "out": ("->", "/../../../etc/passwd"),
}


def plan(
    sources: list[str],
    destination: str,
    target: dict[str, File] | None = None,
    *,
    parents: bool = False,
    context: dict[str, File] | None = None,
    **options: Any,
) -> list[Item]:
    context_tree = tree(CONTEXT if context is None else context)
    layer = LayerPlan(tree(target or {}), Options(**options))
    origins = [o for source in sources for o in find_sources(context_tree, source, parents=parents)]
    layer.copy(origins, destination)
    return layer.items()


def shown(items: list[Item]) -> list[str]:
    return [item.path + ("/" if item.entry.is_directory else "") for item in items]


@pytest.mark.parametrize(
    ("sources", "destination", "target", "expected"),
    [
        (["a.txt"], "/new", {}, ["new"]),
        (["a.txt"], "/new/", {}, ["new/", "new/a.txt"]),
        (["a.txt"], "/have", {"have": None}, ["have/", "have/a.txt"]),
        (["a.txt"], "/have", {"have": "old"}, ["have"]),
        (["a.txt"], "/p/q/r", {"p": None}, ["p/", "p/q/", "p/q/r"]),
        (["a.txt", "b.txt"], "/d/", {}, ["d/", "d/a.txt", "d/b.txt"]),
        (["*.txt"], "/d/", {}, ["d/", "d/a.txt", "d/b.txt"]),
        (["dir"], "/d", {}, ["d/", "d/sub/", "d/sub/y.txt", "d/x"]),
        (["dir/"], "/d/", {"d": None}, ["d/", "d/sub/", "d/sub/y.txt", "d/x"]),
        (["dir/*"], "/d/", {}, ["d/", "d/x", "d/y.txt"]),
        (["."], "/", {}, ["a.txt", "b.txt", "c.md", "dir/", "dir/sub/", "dir/sub/y.txt", "dir/x", "dirlink", "empty/", "link", "out"]),
        (["link"], "/d/", {}, ["d/", "d/link"]),
        (["dirlink"], "/d", {}, ["d/", "d/sub/", "d/sub/y.txt", "d/x"]),
        (["dirlink/x"], "/d", {}, ["d"]),
        (["../../a.txt"], "/d", {}, ["d"]),
        (["/a.txt"], "/d", {}, ["d"]),
        (["a.txt"], "/l/f", {"l": ("->", "real"), "real": None}, ["real/", "real/f"]),
        (["a.txt"], "/l/f", {"l": ("->", "/../../real"), "real": None}, ["real/", "real/f"]),
        (["a.txt"], "/l/f", {"l": ("->", "nowhere")}, ["nowhere/", "nowhere/f"]),
        (["empty"], "/d", {}, ["d/"]),
        (["[ab].txt"], "/d/", {}, ["d/", "d/a.txt", "d/b.txt"]),
        (["?.md"], "/d", {}, ["d"]),
    ],
)  # fmt: skip
def test_where_files_arrive(
    sources: list[str], destination: str, target: dict[str, File], expected: list[str]
) -> None:
    assert shown(plan(sources, destination, target)) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("dir/sub/y.txt", ["d/", "d/dir/", "d/dir/sub/", "d/dir/sub/y.txt"]),
        ("dir/./sub/y.txt", ["d/", "d/sub/", "d/sub/y.txt"]),
        ("./dir/x", ["d/", "d/dir/", "d/dir/x"]),
        ("**/*.txt", ["d/", "d/a.txt", "d/b.txt", "d/dir/", "d/dir/sub/", "d/dir/sub/y.txt"]),
        ("dir/**/y.txt", ["d/", "d/dir/", "d/dir/sub/", "d/dir/sub/y.txt"]),
        ("dir", ["d/", "d/dir/", "d/dir/sub/", "d/dir/sub/y.txt", "d/dir/x"]),
    ],
)
def test_parents_keeps_paths(source: str, expected: list[str]) -> None:
    assert shown(plan([source], "/d/", parents=True)) == expected


def test_names_of_one_file_stay_names_of_one_file() -> None:
    files: dict[str, File] = {"d/a": "1", "d/b": ("=", "d/a"), "d/c": "1", "e/a": "2"}
    links = {item.path: item.hard_link for item in plan(["d"], "/to", context=files)}
    assert links == {"to": "", "to/a": "", "to/b": "to/a", "to/c": ""}
    links = {item.path: item.hard_link for item in plan(["d", "e"], "/to/", context=files)}
    assert links == {"to": "", "to/a": "", "to/b": "", "to/c": ""}  # a is another file now


@pytest.mark.parametrize(
    ("sources", "exclude", "expected"),
    [
        (["."], ("dir", "*link", "out", "empty"), ["d/", "d/a.txt", "d/b.txt", "d/c.md"]),
        (["*"], ("*.txt", "sub", "link"), ["d/", "d/c.md", "d/x"]),
        (["dir"], ("sub",), ["d/", "d/x"]),
        (["dir"], ("**/*.txt",), ["d/", "d/sub/", "d/x"]),
        (["dir"], ("*", "!x"), ["d/", "d/x"]),
    ],
)
def test_exclude(sources: list[str], exclude: tuple[str, ...], expected: list[str]) -> None:
    assert shown(plan(sources, "/d/", exclude=exclude)) == expected


@pytest.mark.parametrize(
    ("sources", "destination", "target", "problem"),
    [
        (["nope"], "/d", {}, "file not found in build context or excluded by .dockerignore: stat nope: file does not exist"),
        (["out"], "/d", {}, "file does not exist"),
        (["*.nope"], "/d/", {}, "no source files were specified"),
        (["[a.txt"], "/d/", {}, "syntax error in pattern"),
        (["dir"], "/f", {"f": "file"}, "cannot copy to non-directory: /f"),
        (["a.txt"], "/f/", {"f": "file"}, "cannot copy to non-directory: /f"),
        (["a.txt"], "/f/g", {"f": "file"}, "cannot copy to non-directory: /f"),
        (["a.txt"], "/d/", {"d/a.txt": None}, "cannot replace directory /d/a.txt with a file"),
    ],
)  # fmt: skip
def test_problems(
    sources: list[str], destination: str, target: dict[str, File], problem: str
) -> None:
    with pytest.raises(CopyError) as caught:
        plan(sources, destination, target)
    assert problem in str(caught.value)


def test_link_loops_end() -> None:
    loop = tree({"a": ("->", "b"), "b": ("->", "a")})
    with pytest.raises(TreeError, match="too many levels of symbolic links"):
        resolve(loop, "a")


def test_owner_mode_and_time() -> None:
    items = plan(["a.txt"], "/d/", owner=(5, 6), chmod=parse_chmod("0600"), clamp=7, now=3)
    directory, file = items
    assert (directory.entry.uid, directory.entry.gid, directory.entry.mode) == (5, 6, 0o755)
    assert (file.entry.uid, file.entry.gid, file.entry.mode, file.entry.mtime) == (5, 6, 0o600, 7)


def test_existing_directories_stay_as_they_are() -> None:
    target = tree({"p": None}, uid=42, mode=0o700)
    layer = LayerPlan(target, Options(owner=(5, 6)))
    layer.copy(find_sources(tree(CONTEXT), "a.txt"), "/p/new/f")
    assert [(i.path, i.entry.uid, i.entry.mode) for i in layer.items()] == [
        ("p", 42, 0o700),
        ("p/new", 5, 0o755),
        ("p/new/f", 5, 0o644),
    ]


def test_owners_can_be_kept() -> None:
    layer = LayerPlan(tree({}), Options(owner=None))
    layer.copy(find_sources(tree({"f": "x"}, uid=7, gid=8), "f"), "/f")
    assert (layer.items()[0].entry.uid, layer.items()[0].entry.gid) == (7, 8)


PASSWD = {
    "etc/passwd": "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n",
    "etc/group": "root:x:0:\nstaff:x:50:web\n",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", (0, 0)),
        ("55", (55, 55)),
        ("55:66", (55, 66)),
        ("web", (33, 34)),
        ("web:staff", (33, 50)),
        ("1:staff", (1, 50)),
        ("web:0", (33, 0)),
    ],
)
def test_chown(text: str, expected: tuple[int, int]) -> None:
    assert parse_chown(text, tree(PASSWD)) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nobody", "can't find uid for user nobody: no such user: nobody"),
        ("web:none", "can't find gid for group none: no such group: none"),
        ("a:b:c", "invalid chown string format: a:b:c"),
        (":5", "invalid chown string format"),
        ("5:", "invalid chown string format"),
        ("4294967296", "uids and gids must be in range 0-2147483647"),
        ("2147483648", "uids and gids must be in range 0-2147483647"),
        ("-1", "can't find uid for user -1"),
        ("٣", "can't find uid"),
        ("1" * 40, "uids and gids must be in range"),
    ],
)
def test_chown_problems(text: str, problem: str) -> None:
    with pytest.raises(SyntaxProblem) as caught:
        parse_chown(text, tree(PASSWD))
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("text", "mode", "is_directory", "expected"),
    [
        ("0644", 0o777, False, 0o644),
        ("755", 0o600, True, 0o755),
        ("4755", 0, False, 0o4755),
        ("u+x", 0o644, False, 0o744),
        ("+x", 0o644, False, 0o755),
        ("a=r", 0o777, False, 0o444),
        ("go-rwx", 0o777, False, 0o700),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o600, True, 0o755),
        ("u+s", 0o755, False, 0o4755),
        ("+t", 0o755, True, 0o1755),
        ("u=rw,g+w-x", 0o711, False, 0o621),
    ],
)
def test_chmod(text: str, mode: int, is_directory: bool, expected: int) -> None:
    assert oct(parse_chmod(text)(mode, is_directory)) == oct(expected)


@pytest.mark.parametrize("text", ["", "9", "77777", "rwx", "u+q", "u", "0o7"])
def test_bad_chmod(text: str) -> None:
    with pytest.raises(SyntaxProblem, match="invalid chmod parameter"):
        parse_chmod(text)


def test_digest_of_an_entry() -> None:
    first, later, other = tree({"f": "x"}), tree({"f": "x"}, mtime=5), tree({"f": "y"})
    owned = tree({"f": "x"}, uid=1)

    def digest(which: Any, ownership: bool = False) -> bytes:
        return entry_digest(which, "f", which.entry("f"), ownership=ownership)

    assert digest(first) == digest(later)
    assert digest(first) != digest(other)
    assert digest(first) == digest(owned)
    assert digest(first, True) != digest(owned, True)


NAMES = st.from_regex(r"[ab]{1,2}(/[ab]{1,2}){0,2}", fullmatch=True)
FILES = st.dictionaries(
    NAMES,
    st.one_of(st.just("x"), st.none(), st.tuples(st.just("->"), st.sampled_from(["a", "/", "..", "b/a", "../../x"]))),
    max_size=6,
)  # fmt: skip


@given(
    FILES,
    FILES,
    st.sampled_from(["a", "b", ".", "a/b", "*", "../a"]),
    st.sampled_from(["/", "/a", "/b/", "/a/b/a"]),
)
def test_a_plan_is_sound_or_refused(
    context: dict[str, File], target: dict[str, File], source: str, destination: str
) -> None:
    try:
        items = plan([source], destination, target, context=context)
    except TreeError:
        return
    paths = [item.path for item in items]
    assert len(set(paths)) == len(paths)
    kinds = {item.path: item.entry.kind for item in items}
    for path in paths:
        assert ".." not in path.split("/")
        parent = path.rpartition("/")[0]
        assert not parent or kinds[parent] is Kind.DIRECTORY
        assert not parent or paths.index(parent) < paths.index(path)


def test_walk_is_sorted_with_parents_first() -> None:
    assert list(walk(tree({"b/z": "", "b/a/c": "", "a": ""}), "")) == [
        "a",
        "b",
        "b/a",
        "b/a/c",
        "b/z",
    ]


@pytest.mark.parametrize("pattern", ["*/" * 40 + "a", "**/" * 40 + "a", "*/" * 40 + "*"])
def test_many_ways_to_one_file_are_one(pattern: str) -> None:
    links: dict[str, File] = {f"l{number}": ("->", ".") for number in range(10)}
    found = find_sources(tree({"a": "A", **links}), pattern, parents="**" in pattern)
    assert len(found) <= 2 + len(links)
    assert "a" in {origin.path for origin in found}


def test_a_pattern_of_too_many_parts_is_refused() -> None:
    with pytest.raises(CopyError, match="too many parts"):
        find_sources(tree({"l": ("->", "."), "a": "A"}), "*/" * 5_000 + "a")
