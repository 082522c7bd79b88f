"""A rule over the source: where others can write, no file is changed or opened by path.

Between looking at a path and using it, whoever can write in one of its folders puts a link there.
The rooms below work in roots of containers, volumes, cache mounts and contexts; what they do there
goes through `wherry.fs`. The list says which modules also have folders of the engine's own, that
nobody else can enter, and what these are.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "wherry"
ROOMS = ("fs", "storage", "volumes", "engine", "builder", "runtime")

_PATH_ONLY = {  # calls of os that take no descriptor of a directory
    "makedirs", "removedirs", "renames", "lchown", "lchmod", "chflags", "truncate", "chroot",
    "walk", "setxattr", "removexattr",
}  # fmt: skip
_WITH_DESCRIPTOR = {  # calls of os, and the keywords that make them safe
    "open": {"dir_fd"}, "mkdir": {"dir_fd"}, "chmod": {"dir_fd"}, "chown": {"dir_fd"},
    "symlink": {"dir_fd"}, "unlink": {"dir_fd"}, "remove": {"dir_fd"}, "rmdir": {"dir_fd"},
    "mknod": {"dir_fd"}, "mkfifo": {"dir_fd"}, "utime": {"dir_fd"},
    "link": {"src_dir_fd", "dst_dir_fd"}, "rename": {"src_dir_fd", "dst_dir_fd"},
    "replace": {"src_dir_fd", "dst_dir_fd"},
}  # fmt: skip
_FOLLOWING = {"chmod"}  # follows a link at the last name even with dir_fd
_ON_DESCRIPTORS = {"setxattr", "removexattr", "utime", "chown", "chmod", "truncate"}
"""They take an open descriptor in place of the path, which a name of these says."""
_DESCRIPTORS = {"fd", "descriptor", "directory", "file", "inner", "root"}
_SHUTIL = {"rmtree", "copy", "copy2", "copyfile", "copytree", "copymode", "copystat", "move"}

ALLOWED = {
    "where the way begins: the caller vouches for the path's parents": (
        "fs/measuring.py", "fs/opening.py", "fs/removing.py", "engine/buildstubs.py",
        "engine/containers/inside.py", "volumes/populate.py", "storage/recipe.py",
    ),
    "stored blobs and layers, and the state store: only the engine writes there": (
        "storage/blobs.py", "storage/layers.py", "storage/reserve.py", "storage/salvage.py",
    ),
    "a storage driver's own folder, and roots that no container has yet": (
        "storage/btrfs.py", "storage/devicemapper.py", "storage/driver.py", "storage/overlay.py",
        "storage/fuse_overlayfs.py", "storage/thinpool.py", "storage/vfs.py",
        "engine/containers/furnish.py",
    ),
    "folders of volumes, not what is in them": ("volumes/volumes.py", "volumes/drivers/local.py"),
    "folders of containers and of the engine, and files that its owner names": (
        "engine/building.py", "engine/engine.py", "engine/eventjournal.py", "engine/images.py",
        "engine/info.py", "engine/logfiles.py", "engine/dataroot.py", "engine/registries.py",
        "engine/system.py",
        "engine/spec/devices.py", "engine/containers/adopt.py", "engine/containers/create.py",
        "engine/containers/end.py", "engine/containers/idranges.py",
        "engine/containers/leftovers.py", "engine/containers/lost.py",
        "engine/containers/namespaces.py",
        "engine/containers/remove.py", "engine/containers/start.py",
        "engine/containers/volumes.py",
    ),
    "contexts, clones and files of a build, which no container of it has mounted yet": (
        "builder/agents.py", "builder/cachemounts.py", "builder/context.py",
        "builder/fetch.py", "builder/runstep.py",
    ),
    "run-time folders, sockets, logs and bundles": (
        "runtime/bundle.py", "runtime/control.py", "runtime/foreign.py", "runtime/interpreter.py",
        "runtime/shim.py", "runtime/spawn.py", "runtime/logdrivers/jsonfile.py",
        "runtime/logdrivers/remote.py", "runtime/oci/cli.py", "runtime/oci/create.py",
        "runtime/oci/execute.py", "runtime/oci/lifecycle.py", "runtime/oci/report.py",
        "runtime/oci/state.py", "runtime/reaper/__init__.py",
    ),
    "a private mount namespace, or the container's own root and rights": (
        "runtime/become.py", "runtime/identity.py", "runtime/init.py", "runtime/rootbuild.py",
    ),
}  # fmt: skip
"""Why a module may work by path, and the modules."""
_LISTED = {module for modules in ALLOWED.values() for module in modules}


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def name_of(node: ast.expr) -> str:
    return ast.unparse(node)


def is_descriptor(argument: ast.expr) -> bool:
    """Whether an argument is by its name a descriptor, not a path."""
    return name_of(argument).rsplit(".", 1)[-1].lstrip("_") in _DESCRIPTORS


def of_the_kernel(path: ast.expr) -> bool:
    """Whether a path is written out and leads to where only the kernel puts files."""
    text = name_of(path).lstrip("f").strip("'\"")
    return text.startswith(("/proc/", "/sys/", "/dev/"))


def faults_of(call: ast.Call) -> str:
    """What is wrong with one call; "" when nothing is."""
    name = name_of(call.func)
    keywords = {keyword.arg for keyword in call.keywords}
    if name in ("open", "os.open") and call.args and of_the_kernel(call.args[0]):
        return ""
    if name == "open" and call.args and "opener" not in keywords:
        return "open by path: open a descriptor first"
    if name.startswith("shutil.") and name.removeprefix("shutil.") in _SHUTIL:
        return f"{name} works by path: use wherry.fs"
    if not name.startswith("os."):
        return ""
    name = name.removeprefix("os.")
    if name in _FOLLOWING and "dir_fd" in keywords:
        return f"os.{name} follows a link: use wherry.fs.making.set_mode"
    if name in _ON_DESCRIPTORS and call.args and is_descriptor(call.args[0]):
        return ""
    if name in _PATH_ONLY:
        return f"os.{name} works by path: use wherry.fs"
    if name in _WITH_DESCRIPTOR and not _WITH_DESCRIPTOR[name] & keywords:
        return f"os.{name} without {' or '.join(sorted(_WITH_DESCRIPTOR[name]))}"
    return ""


def violations(source: str) -> list[str]:
    found = [(call.lineno, faults_of(call)) for call in calls(ast.parse(source))]
    return [f"{line}: {fault}" for line, fault in found if fault]


MODULES = sorted(path for room in ROOMS for path in (SOURCE / room).rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_work_by_path(path: Path) -> None:
    if str(path.relative_to(SOURCE)) not in _LISTED:
        assert violations(path.read_text()) == []


def test_the_list_names_modules_that_are_there() -> None:
    assert {str(path.relative_to(SOURCE)) for path in MODULES} >= _LISTED


@pytest.mark.parametrize(
    "fault",
    [
        "os.mkdir(path)", "os.rename(a, b)", "os.chmod(name, 0o755, dir_fd=directory)",
        "os.chmod(path, 0o755)", "os.setxattr(path, key, value)", "os.makedirs(path)",
        "shutil.rmtree(path)", "open(path, 'wb')", "open(f'{root}/etc/passwd')",
        "os.open(path, os.O_RDONLY)", "os.utime(path)", "os.link(a, b)",
    ],
)  # fmt: skip
def test_the_rule_finds(fault: str) -> None:
    assert violations(fault)


@pytest.mark.parametrize(
    "fine",
    [
        "os.mkdir(name, dir_fd=directory)", "os.rename(a, b, src_dir_fd=x, dst_dir_fd=y)",
        "os.fchmod(descriptor, 0o755)", "os.setxattr(descriptor, key, value)",
        "open('/proc/self/stat')", "os.open(name, flags, dir_fd=directory)",
        "os.utime(descriptor, ns=times)", "open(path, 'rb', opener=open_path)",
    ],
)  # fmt: skip
def test_the_rule_lets_pass(fine: str) -> None:
    assert violations(fine) == []
