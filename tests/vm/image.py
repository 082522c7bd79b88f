"""Builds the virtual machine that the vm tier boots.

Debian's cloud kernel with systemd and cgroup v2, made by mmdebstrap from the machine's own
package sources, as an ext4 image that qemu boots read-only (snapshot mode). The Python packages
that Wherry needs are inside; Wherry itself arrives with each run as a payload (machine.py).
The result is cached by a digest of everything that goes into it.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

SUITE = "bookworm"
GUEST_PYTHON = "3.11"
PACKAGES = (
    "systemd-sysv",
    "udev",
    "apparmor",
    "kmod",
    "python3",
    "iproute2",
    "libseccomp2",
    "libnftables1",
    "busybox-static",
    "dmsetup",
    "thin-provisioning-tools",
    "linux-image-cloud-amd64",
)
TEST_REQUIREMENTS = ("pytest", "pytest-asyncio", "pytest-timeout", "hypothesis", "psutil")
UNIT = """\
[Unit]
Description=Run the payload's tests, then power off
After=multi-user.target systemd-udevd.service
[Service]
Type=oneshot
StandardOutput=journal+console
StandardError=journal+console
Delegate=yes
ExecStart=/bin/sh -c 'mkdir -p /payload && tar -xf /dev/vdb -C /payload && sh /payload/run'
ExecStopPost=/bin/systemctl poweroff --force
TimeoutStartSec=infinity
[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, slots=True)
class VmImage:
    """The three files that qemu needs."""

    kernel: Path
    initrd: Path
    disk: Path


def requirements(project: Path) -> list[str]:
    """What the guest's Python must have: the project's own dependencies and the test tools."""
    with (project / "pyproject.toml").open("rb") as file:
        declared: list[str] = tomllib.load(file)["project"]["dependencies"]
    return [*declared, *TEST_REQUIREMENTS]


def build(project: Path, cache: Path) -> VmImage:
    """Return the image, made first when the cache lacks it (about 90 s)."""
    recipe = repr((SUITE, PACKAGES, requirements(project), UNIT, Path(__file__).read_text()))
    target = cache / "vm" / hashlib.sha256(recipe.encode()).hexdigest()[:16]
    image = VmImage(target / "vmlinuz", target / "initrd", target / "root.ext4")
    if target.is_dir():
        return image
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wherry-vm-", dir=target.parent) as scratch:
        made = Path(scratch)
        root = made / "root"
        _bootstrap(root)
        _install_python_packages(root, requirements(project))
        _install_unit(root)
        out = made / "out"
        out.mkdir()
        shutil.copy(next((root / "boot").glob("vmlinuz-*")), out / "vmlinuz")
        shutil.copy(next((root / "boot").glob("initrd.img-*")), out / "initrd")
        shutil.rmtree(root / "boot")
        _run("truncate", "-s", "3G", str(out / "root.ext4"))
        _run("mke2fs", "-q", "-t", "ext4", "-d", str(root), str(out / "root.ext4"))
        for old in target.parent.iterdir():
            if old.is_dir() and old != made:
                shutil.rmtree(old, ignore_errors=True)
        out.rename(target)
    return image


def _bootstrap(root: Path) -> None:
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    mirror = [str(sources)] if sources.exists() else []
    _run(
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        '--aptopt=Acquire::Languages "none"',
        SUITE,
        str(root),
        *mirror,
    )


def _install_python_packages(root: Path, wanted: list[str]) -> None:
    site = root / "opt" / "site"
    _run(
        sys.executable,
        *("-m", "pip", "install", "--quiet", "--only-binary=:all:", "--no-compile"),
        *("--implementation", "cp", "--python-version", GUEST_PYTHON),
        *("--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_28_x86_64"),
        *("--target", str(site)),
        *wanted,
    )
    # `python -I` reads no PYTHONPATH, but it does read .pth files of the site directory.
    packages = root / "usr/local/lib" / f"python{GUEST_PYTHON}" / "dist-packages"
    packages.mkdir(parents=True, exist_ok=True)
    (packages / "wherry-guest.pth").write_text("/opt/site\n/payload/site\n")


def _install_unit(root: Path) -> None:
    (root / "etc/systemd/system/wherry-tests.service").write_text(UNIT)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "wherry-tests.service").symlink_to("/etc/systemd/system/wherry-tests.service")
    (root / "etc/hostname").write_text("wherry-vm\n")
    (root / "etc/fstab").write_text("/dev/vda / ext4 rw 0 1\n")


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr[-4000:]}")
