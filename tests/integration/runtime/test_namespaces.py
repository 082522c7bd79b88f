"""What a container sees: its own names, ids, processes, mounts and devices."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from tests.containers import RANGE, make_spec
from tests.integration.runtime.conftest import Runner


async def out(runner: Runner, script: str, **options: bool) -> str:
    """What a shell script prints."""
    status, output = await runner.run(make_spec(["sh", "-c", script], **options))
    assert status.code == 0, output
    return output


@pytest.mark.parametrize("user_namespace", [True, False])
async def test_ids_are_private_by_default(runner: Runner, user_namespace: bool) -> None:
    output = await out(runner, "cat /proc/self/uid_map", user_namespace=user_namespace)
    assert int(output.split()[1]) == (RANGE if user_namespace else 0)


async def test_files_are_roots_inside_and_on_disk(runner: Runner) -> None:
    status, output = await runner.run(make_spec(["sh", "-c", "touch /mine; stat -c %u /mine"]))
    assert (status.code, output) == (0, "0\n")
    uppers = list(runner.shop.folder.glob("*/upper/mine"))
    assert [os.stat(path).st_uid for path in uppers] == [0]


async def test_process_names_hostname_and_ipc_are_its_own(runner: Runner) -> None:
    output = await out(runner, "echo $$; hostname; ls /proc | grep -c '^[0-9]'; ls /dev/mqueue")
    lines = output.split()
    assert lines[:2] == ["1", "box"]
    assert int(lines[2]) <= 4


async def test_only_stdio_is_open(runner: Runner) -> None:
    output = await out(runner, "ls /proc/1/fd; true")
    assert output.split() == ["0", "1", "2"]


async def test_default_capabilities_and_nothing_inheritable(runner: Runner) -> None:
    output = await out(runner, "grep Cap /proc/self/status")
    sets = dict(line.split(":\t") for line in output.splitlines())
    assert int(sets["CapEff"], 16) == int(sets["CapBnd"], 16) == 0xA80425FB
    assert int(sets["CapInh"], 16) == int(sets["CapAmb"], 16) == 0


@pytest.mark.parametrize("user_namespace", [True, False])
async def test_devices(runner: Runner, user_namespace: bool) -> None:
    script = "cd /dev; ls; for d in null zero tty; do stat -c '%n %t:%T %u' $d; done"
    output = await out(
        runner, script + "; echo x > null; head -c 4 zero | wc -c", user_namespace=user_namespace
    )
    listing = output.split("null 1:3 0\n")[0].split()
    names = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert listing == names.split()
    assert "zero 1:5 0" in output and output.endswith("4\n")


async def test_proc_and_sys_are_masked_and_read_only(runner: Runner) -> None:
    script = (
        "for f in /proc/sys/kernel/printk /proc/sysrq-trigger /sys/power/state; do"
        " (echo 1 > $f) 2>/dev/null && echo wrote $f; done;"
        " cat /proc/keys /proc/timer_list; ls /proc/acpi /sys/firmware; echo end"
    )
    assert (await out(runner, script)).replace("/proc/acpi:", "").replace(
        "/sys/firmware:", ""
    ).split() == ["end"]


@pytest.mark.parametrize("user_namespace", [True, False])
async def test_bind_mount_keeps_owners(
    runner: Runner, user_namespace: bool, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("hello\n")
    os.chown(tmp_path / "file", 1000, 1000)
    script = "cat /data/file; stat -c %u /data/file; touch /data/new"
    spec = make_spec(["sh", "-c", script], user_namespace=user_namespace)
    spec["mounts"].append(
        {"destination": "/data", "type": "bind", "source": str(tmp_path), "options": ["rbind"]}
    )
    _, output = await runner.run(spec)
    assert output == "hello\n1000\n"
    assert os.stat(tmp_path / "new").st_uid == 0


async def test_read_only_bind_of_a_file(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a")
    spec = make_spec(["sh", "-c", "cat /etc/new/file; echo b > /etc/new/file"])
    spec["mounts"].append(
        {
            "destination": "/etc/new/file",
            "type": "bind",
            "source": str(tmp_path / "file"),
            "options": ["rbind", "ro"],
        }
    )
    status, output = await runner.run(spec)
    assert status.code == 1
    assert "Read-only file system" in output
    assert (tmp_path / "file").read_text() == "a"


async def test_read_only_root(runner: Runner) -> None:
    spec = make_spec(["sh", "-c", "touch /x; touch /dev/shm/y && echo shm"])
    spec["root"]["readonly"] = True
    _, output = await runner.run(spec)
    assert "Read-only file system" in output and "shm\n" in output


async def test_tmpfs_with_options(runner: Runner) -> None:
    spec = make_spec(["sh", "-c", "df -k /run | tail -1; stat -c %a /run"])
    options = ["nosuid", "nodev", "noexec", "size=1m", "mode=1770"]
    spec["mounts"].append(
        {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": options}
    )
    _, output = await runner.run(spec)
    assert output.split()[1] == "1024" and output.split()[-1] == "1770"


async def test_added_device_has_its_mode_and_owner(runner: Runner) -> None:
    spec = make_spec(["stat", "-c", "%F %t:%T %a %u:%g", "/dev/mine", "/opt/other"])
    spec["linux"]["devices"] = [
        {"path": path, "type": "c", "major": 1, "minor": 7, "fileMode": 0o640, "uid": 5, "gid": 6}
        for path in ("/dev/mine", "/opt/other")
    ]
    _, output = await runner.run(spec)
    assert output.splitlines() == ["character special file 1:7 640 5:6"] * 2


async def test_sysctls_are_written(runner: Runner) -> None:
    spec = make_spec(["cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"])
    spec["linux"]["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "42"}
    assert (await runner.run(spec))[1] == "42\n"


async def test_joins_another_containers_network_and_user_namespace(runner: Runner) -> None:
    first, _ = await runner.start(make_spec(["sleep", "60"]))
    spec = make_spec(
        ["sh", "-c", "readlink /proc/self/ns/net; cat /proc/self/uid_map; ls /proc/1/fd | wc -l"]
    )
    for entry in spec["linux"]["namespaces"]:
        name = {"network": "net", "user": "user"}.get(entry["type"])
        if name:
            entry["path"] = f"/proc/{first.pid}/ns/{name}"
    _, output = await runner.run(spec)
    assert output.split()[0] == os.readlink(f"/proc/{first.pid}/ns/net")
    assert output.split()[2] == str(RANGE)


async def test_joins_another_containers_processes(runner: Runner) -> None:
    first, _ = await runner.start(make_spec(["sleep", "60"]))
    spec = make_spec(["sh", "-c", "cat /proc/1/cmdline | tr '\\0' ' '"])
    for entry in spec["linux"]["namespaces"]:
        if entry["type"] in ("pid", "user"):
            entry["path"] = f"/proc/{first.pid}/ns/{entry['type']}"
    _, output = await runner.run(spec)
    assert output == "sleep 60 "


async def test_control_socket_is_roots_alone(runner: Runner) -> None:
    _, bundle = await runner.start(make_spec(["sleep", "60"]))
    assert stat.S_IMODE(os.stat(bundle.socket).st_mode) == 0o600
