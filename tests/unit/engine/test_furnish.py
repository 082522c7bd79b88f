"""What a container's root gets besides its image."""

from __future__ import annotations

import os
from pathlib import Path

from wherry.engine.containers.furnish import furnish


def layers(tmp_path: Path, *names: str) -> list[str]:
    for name in names:
        (tmp_path / name).mkdir()
    return [str(tmp_path / name) for name in names]


def test_a_root_gets_mtab_and_etc_stays_as_it_was(tmp_path: Path) -> None:
    upper, top, bottom = layers(tmp_path, "upper", "top", "bottom")
    for layer, mode in ((top, 0o750), (bottom, 0o777)):
        os.mkdir(f"{layer}/etc")
        os.chmod(f"{layer}/etc", mode)
        os.utime(f"{layer}/etc", ns=(5, 7))
    furnish(upper, [top, bottom])
    made = os.stat(f"{upper}/etc")
    assert (made.st_mode & 0o7777, made.st_mtime_ns) == (0o750, 7)
    assert os.readlink(f"{upper}/etc/mtab") == "/proc/mounts"


def test_what_the_image_has_is_left_alone(tmp_path: Path) -> None:
    upper, top, bottom = layers(tmp_path, "upper", "top", "bottom")
    os.mkdir(f"{top}/etc")
    os.mkdir(f"{bottom}/etc")
    Path(f"{bottom}/etc/mtab").touch()
    furnish(upper, [top, bottom])
    assert os.listdir(upper) == []


def test_no_link_of_the_image_is_followed(tmp_path: Path) -> None:
    upper, layer, outside = layers(tmp_path, "upper", "layer", "outside")
    os.symlink(outside, f"{layer}/etc")
    furnish(upper, [layer])
    whole, target = layers(tmp_path, "whole", "target")
    os.symlink(target, f"{whole}/etc")
    furnish(whole, ())
    assert os.listdir(upper) == []
    assert os.listdir(outside) == os.listdir(target) == []


def test_an_image_without_etc_gets_none(tmp_path: Path) -> None:
    upper, layer = layers(tmp_path, "upper", "layer")
    furnish(upper, [layer])
    assert os.listdir(upper) == []
