"""The machine is what the tier is for: cgroup v2 alone, systemd as pid 1, device-mapper."""

import subprocess
from pathlib import Path


def test_only_cgroup_v2_is_mounted() -> None:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    kinds = {line.split(" - ")[1].split()[0] for line in lines if "/sys/fs/cgroup" in line}
    assert kinds == {"cgroup2"}


def test_systemd_is_pid_1() -> None:
    assert Path("/proc/1/comm").read_text().strip() == "systemd"


def test_device_mapper_can_be_loaded() -> None:
    subprocess.run(["modprobe", "dm_thin_pool"], check=True)
    targets = subprocess.run(["dmsetup", "targets"], check=True, capture_output=True, text=True)
    assert "thin-pool" in targets.stdout
