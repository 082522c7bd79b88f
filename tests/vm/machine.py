"""Boots the virtual machine with a payload and brings back what it wrote.

The payload is a tar that the guest reads from its second disk: the installed wheel, the test
files, the images they need and a ``run`` script. The guest writes a tar of results onto its third
disk and powers off; its console goes to a file.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from .image import VmImage

RESULT_BYTES = 64 * 1024 * 1024
MEMORY = "1536M"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished machine left: its console text and the folder of results."""

    console: str
    results: Path


def make_payload(project: Path, archive: Path, scratch: Path, extra: dict[str, Path]) -> None:
    """Pack the built wheel, the tests and ``extra`` files (name in the payload → source)."""
    wheels, site = scratch / "wheels", scratch / "site"
    pip = (sys.executable, "-m", "pip", "--quiet")
    build = ("wheel", "--no-deps", "--wheel-dir", str(wheels), str(project))
    subprocess.run([*pip, *build], check=True)
    wheel = str(next(wheels.glob("wherry-*.whl")))
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), wheel], check=True)
    with tarfile.open(archive, "w") as tar:
        tar.add(site, "site")
        tar.add(project / "tests", "tests", filter=_without_caches)
        tar.add(project / "contrib", "contrib", filter=_without_caches)
        tar.add(project / "pyproject.toml", "pyproject.toml")
        tar.add(project / "tests/vm/guest/run", "run")
        for name, source in extra.items():
            tar.add(source, name)


def _without_caches(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in member.name else member


def run(image: VmImage, payload: Path, scratch: Path, timeout: float) -> Outcome:
    """Boot, wait for the power-off (at most ``timeout`` seconds), unpack the results.

    Raises subprocess.TimeoutExpired with the machine killed when it does not end in time.
    """
    result_disk, console = scratch / "results.raw", scratch / "console.log"
    with result_disk.open("wb") as file:
        file.truncate(RESULT_BYTES)
    drives = (
        f"file={image.disk},format=raw,if=virtio,snapshot=on",
        f"file={payload},format=raw,if=virtio,readonly=on",
        f"file={result_disk},format=raw,if=virtio",
    )
    command = [
        "qemu-system-x86_64",
        *("-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "2", "-m", MEMORY),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd)),
        *("-append", "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=0 panic=-1"),
        *("-display", "none", "-no-reboot", "-serial", f"file:{console}", "-monitor", "none"),
        *("-nic", "none"),
        *(part for drive in drives for part in ("-drive", drive)),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        process.wait(timeout)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    results = scratch / "results"
    results.mkdir()
    subprocess.run(["tar", "-xf", str(result_disk), "-C", str(results)], check=False)
    return Outcome(console.read_text(errors="replace"), results)
