import os
from pathlib import Path

from wherry.builder.layertree import LayerTree
from wherry.engine.buildstubs import Stubs


def layers(tmp_path: Path) -> tuple[LayerTree, Path]:
    base, upper = tmp_path / "base", tmp_path / "upper"
    for path in (base / "etc", base / "proc", upper):
        path.mkdir(parents=True)
    (base / "etc" / "hosts").write_text("kept")
    (base / "alias").symlink_to("/real")
    return LayerTree([str(base)]), upper


def test_only_what_was_missing_is_a_stub(tmp_path: Path) -> None:
    tree, _ = layers(tmp_path)
    stubs = Stubs.before(tree, ["/run/secrets/token", "/alias/inside", "/etc/hosts"])
    assert set(stubs.paths) == {
        *("sys", "dev", "etc/hostname", "etc/resolv.conf"),
        *("run", "run/secrets", "run/secrets/token", "real", "real/inside"),
    }
    depths = [path.count("/") for path in stubs.paths]
    assert depths == sorted(depths, reverse=True)


def test_empty_stubs_go_and_content_stays(tmp_path: Path) -> None:
    tree, upper = layers(tmp_path)
    stubs = Stubs.before(tree, ["/run/secrets/token", "/made/dir"])
    (upper / "run" / "secrets").mkdir(parents=True)
    (upper / "run" / "secrets" / "token").touch()
    (upper / "made" / "dir").mkdir(parents=True)
    (upper / "made" / "dir" / "file").write_text("the command wrote this")
    (upper / "etc").mkdir()
    (upper / "etc" / "hostname").write_text("written")
    stubs.remove(str(upper))
    left = sorted(str(path.relative_to(upper)) for path in upper.rglob("*"))
    assert left == ["etc", "etc/hostname", "made", "made/dir", "made/dir/file"]


def test_links_that_a_command_planted_are_not_followed(tmp_path: Path) -> None:
    tree, upper = layers(tmp_path)
    stubs = Stubs.before(tree, ["/run/secrets/token"])
    outside = tmp_path / "outside"
    (outside / "secrets").mkdir(parents=True)
    (outside / "secrets" / "token").touch()
    (upper / "run").symlink_to(outside)
    stubs.remove(str(upper))
    assert (outside / "secrets" / "token").exists()


def test_a_directory_that_only_stubs_were_made_in_leaves_the_layer(tmp_path: Path) -> None:
    tree, upper = layers(tmp_path)
    stubs = Stubs.before(tree, [])
    (upper / "etc").mkdir()
    (upper / "etc" / "resolv.conf").touch()
    stubs.remove(str(upper))
    assert list(upper.iterdir()) == []


def test_a_directory_that_the_command_changed_stays(tmp_path: Path) -> None:
    tree, upper = layers(tmp_path)
    stubs = Stubs.before(tree, [])
    (upper / "etc").mkdir()
    (upper / "etc").chmod(0o700)
    stubs.remove(str(upper))
    assert [path.name for path in upper.iterdir()] == ["etc"]


def test_its_time_is_that_of_before_unless_names_came_or_went(tmp_path: Path) -> None:
    tree, upper = layers(tmp_path)
    before = (tmp_path / "base" / "etc").stat().st_mtime_ns
    stubs = Stubs.before(tree, [])
    (upper / "etc").mkdir()
    (upper / "etc" / "hosts").write_text("changed")
    os.utime(upper / "etc", ns=(1, 1))
    stubs.remove(str(upper))
    assert (upper / "etc").stat().st_mtime_ns == before
    (upper / "etc" / "new").write_text("new")
    os.utime(upper / "etc", ns=(1, 1))
    stubs.remove(str(upper))
    assert (upper / "etc").stat().st_mtime_ns == 1


def test_a_whole_copy_keeps_the_directory_and_its_time(tmp_path: Path) -> None:
    tree, upper = layers(tmp_path)
    before = (tmp_path / "base" / "etc").stat().st_mtime_ns
    stubs = Stubs.before(tree, [])
    (upper / "etc").mkdir()
    (upper / "etc" / "hosts").write_text("kept")
    (upper / "etc" / "hostname").touch()
    stubs.remove(str(upper), copy=True)
    assert [path.name for path in (upper / "etc").iterdir()] == ["hosts"]
    assert (upper / "etc").stat().st_mtime_ns == before
