"""Malicious images and racing containers against the making of the root file system."""

from __future__ import annotations

import ctypes
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.containers import make_spec
from tests.integration.runtime.conftest import Runner

from wherry.linux.root import OverlayRoot
from wherry.runtime.bundle import StartFailed

CORE_PATTERN = "/proc/sys/kernel/core_pattern"


def image(runner: Runner, name: str) -> Path:
    """A copy of the busybox layer to be spoiled."""
    layer = runner.shop.folder / name
    shutil.copytree(runner.shop.lower, layer, symlinks=True)
    return layer


def on(runner: Runner, layer: Path, spec: dict[str, Any], **values: Any) -> Any:
    bundle = runner.shop.bundle(spec, **values)
    root = bundle.root
    assert isinstance(root, OverlayRoot)
    return runner.shop.bundle(
        spec, root=OverlayRoot((str(layer),), root.upper, root.work), **values
    )


async def run(runner: Runner, bundle: Any) -> str:
    shim = await runner.launcher.create(bundle)
    try:
        await shim.start()
        await shim.wait()
        with open(bundle.log.path) as log:
            return log.read()
    finally:
        await shim.delete()


@pytest.mark.parametrize("user_namespace", [True, False])
@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
@pytest.mark.parametrize("target", ["/", "/tmp", "../../../.."])
async def test_cve_2026_41579_and_2019_19921_fixed_places_are_no_links(
    runner: Runner, name: str, target: str, user_namespace: bool
) -> None:
    layer = image(runner, "spoiled")
    (layer / name).rmdir()
    (layer / name).symlink_to(target)
    bundle = on(runner, layer, make_spec(["true"], user_namespace=user_namespace))
    with pytest.raises(StartFailed, match=f"symbolic link /{name}"):
        await run(runner, bundle)
    shutil.rmtree(layer)


@pytest.mark.parametrize("user_namespace", [True, False])
async def test_cve_2025_31133_masks_do_not_use_the_images_null(
    runner: Runner, user_namespace: bool
) -> None:
    layer = image(runner, "spoiled")
    (layer / "dev/null").symlink_to(CORE_PATTERN)
    script = "cat /proc/keys /proc/timer_list; echo pwned > /proc/timer_list; cat /dev/null"
    spec = make_spec(["sh", "-c", script], user_namespace=user_namespace)
    assert await run(runner, on(runner, layer, spec)) == ""


async def test_cve_2025_31133_without_a_dev_of_its_own(runner: Runner) -> None:
    layer = image(runner, "spoiled")
    (layer / "dev/null").symlink_to(CORE_PATTERN)
    spec = make_spec(["sh", "-c", "cat /proc/keys; echo end"])
    spec["mounts"] = [m for m in spec["mounts"] if not m["destination"].startswith("/dev")]
    try:
        output = await run(runner, on(runner, layer, spec))
    except StartFailed:
        return
    assert output.count("log") == 1 and "end" in output


@pytest.mark.parametrize("where", ["dev/console", "dev/pts", "dev/ptmx"])
async def test_cve_2025_52565_the_console_is_the_containers_own(runner: Runner, where: str) -> None:
    layer = image(runner, "spoiled")
    (layer / where).symlink_to(CORE_PATTERN if where != "dev/pts" else "/proc")
    spec = make_spec(["sh", "-c", "tty; ls -la /dev/console; cat /proc/sys/kernel/core_pattern"])
    output = await run(runner, on(runner, layer, spec, tty=True))
    assert "/dev/pts/0" in output
    assert Path(CORE_PATTERN).read_text().strip() in output


async def test_cve_2025_52881_sysctls_reach_real_procfs_only(
    runner: Runner, tmp_path: Path
) -> None:
    """A volume, or a link of the image, that covers /proc/sys and what is written there."""
    layer = image(runner, "spoiled")
    (layer / "way").symlink_to("/proc/sys")
    (tmp_path / "net/ipv4").mkdir(parents=True)
    decoy = tmp_path / "net/ipv4/ip_unprivileged_port_start"
    decoy.symlink_to("/proc/sysrq-trigger")
    for destination in ("/proc/sys", "/way", "/way/net", "/proc/thread-self/attr"):
        spec = make_spec(["true"])
        spec["linux"]["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "80"}
        spec["mounts"].append(bound(tmp_path, destination))
        with pytest.raises(StartFailed, match="inside /proc"):
            await run(runner, on(runner, layer, spec))


def bound(source: object, destination: str) -> dict[str, Any]:
    """The entry of a bind mount."""
    return {
        "destination": destination,
        "type": "bind",
        "source": str(source),
        "options": ["rbind"],
    }


async def test_cve_2023_28642_and_2019_16884_nothing_but_procfs_lies_on_proc(
    runner: Runner, tmp_path: Path
) -> None:
    layer = image(runner, "spoiled")
    (layer / "way").symlink_to("proc")
    (layer / "a").mkdir()
    (layer / "a/way").symlink_to("../proc/./")
    for destination in ("/proc", "/way", "/a/way", "/x/../proc"):
        for source in (tmp_path, "/proc/sys"):
            spec = make_spec(["true"])
            spec["mounts"].append(bound(source, destination))
            with pytest.raises(StartFailed, match="not of type proc"):
                await run(runner, on(runner, layer, spec))
        spec = make_spec(["true"])
        spec["mounts"].insert(0, bound(tmp_path, destination))  # before there is a procfs
        with pytest.raises(StartFailed, match="not of type proc"):
            await run(runner, on(runner, layer, spec))


async def test_what_lxcfs_covers_and_the_hosts_procfs_elsewhere(
    runner: Runner, tmp_path: Path
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 7 kB\n")
    spec = make_spec(["cat", "/proc/meminfo", "/host/proc/uptime"])
    spec["mounts"] += [
        bound(tmp_path / "meminfo", "/proc/meminfo"),
        bound("/proc", "/host/proc"),
        bound(tmp_path / "meminfo", "/host/proc/uptime"),
    ]
    _, output = await runner.run(spec)
    assert output == "MemTotal: 7 kB\n" * 2


async def test_the_hosts_procfs_is_a_procfs(runner: Runner) -> None:
    spec = make_spec(["cat", "/proc/1/comm"], user_namespace=False)
    spec["linux"]["namespaces"].remove({"type": "pid"})
    spec["mounts"][0] = bound("/proc", "/proc")
    _, output = await runner.run(spec)
    assert output == Path("/proc/1/comm").read_text()


@pytest.mark.parametrize(
    "name", ["net/../../../sysrq-trigger", "kernel/../../sysrq-trigger", "../self/oom_score_adj"]
)
async def test_sysctl_names_stay_in_proc_sys(runner: Runner, name: str) -> None:
    spec = make_spec(["true"])
    spec["linux"]["sysctl"] = {name: "h"}
    with pytest.raises(StartFailed, match="invalid sysctl name"):
        await runner.create(spec)


_EXCHANGE = 2


def _exchange(first: Path, second: Path, stop: threading.Event) -> None:
    libc = ctypes.CDLL(None)
    while not stop.is_set():
        libc.renameat2(-100, bytes(first), -100, bytes(second), _EXCHANGE)


async def test_cve_2021_30465_and_2024_45310_racing_a_shared_volume(
    runner: Runner, tmp_path: Path
) -> None:
    """One container turns a mount's parent into a link and back while others start."""
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    volume.mkdir()
    outside.mkdir()
    (volume / "dir").mkdir()
    (volume / "link").symlink_to("/../../../../../../.." + str(outside))
    stop = threading.Event()
    racer = threading.Thread(target=_exchange, args=(volume / "dir", volume / "link", stop))
    racer.start()
    try:
        for number in range(40):
            spec = make_spec(["true"])
            spec["mounts"] += [
                {
                    "destination": "/vol",
                    "type": "bind",
                    "source": str(volume),
                    "options": ["rbind"],
                },
                {
                    "destination": f"/vol/dir/deep{number}",
                    "type": "tmpfs",
                    "source": "tmpfs",
                    "options": [],
                },
            ]
            try:
                await runner.run(spec)
            except StartFailed:
                continue
    finally:
        stop.set()
        racer.join()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("destination", ["/../../../../wherry-escape", "/link/wherry-escape"])
async def test_mount_targets_stay_inside(runner: Runner, destination: str, tmp_path: Path) -> None:
    layer = image(runner, "spoiled")
    (layer / "link").symlink_to(f"../../../../../..{tmp_path}")
    spec = make_spec(["true"])
    spec["mounts"].append({"destination": destination, "type": "tmpfs", "source": "tmpfs"})
    await run(runner, on(runner, layer, spec))
    assert list(tmp_path.iterdir()) == []
    assert not os.path.exists("/wherry-escape")


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "device"])
async def test_cve_2024_9676_odd_passwd_files_do_no_harm(runner: Runner, kind: str) -> None:
    layer = image(runner, "spoiled")
    passwd = layer / "etc/passwd"
    passwd.unlink()
    match kind:
        case "fifo":
            os.mkfifo(passwd)
        case "link":
            passwd.symlink_to("/proc/self/mem")
        case "folder":
            passwd.mkdir()
        case "device":
            os.mknod(passwd, 0o020666, os.makedev(1, 5))
    spec = make_spec(["echo", "ran"])
    spec["process"]["user"] = {"username": "1000:1000"}
    assert "ran" in await run(runner, on(runner, layer, spec))
