"""Daemons in network namespaces of their own: Wherry, and Debian's dockerd as a second opinion."""

from __future__ import annotations

import os
import shutil
import subprocess

from tests.daemon import Daemon


class Apart(Daemon):
    """Wherry where no other daemon's networks are; what it makes there goes with it."""

    def start(self) -> None:
        if not os.path.exists(f"/run/netns/{self.folder.name}"):
            subprocess.run(["ip", "netns", "add", self.folder.name], check=True)
            inside = ["ip", "-n", self.folder.name, "link", "set", "lo", "up"]
            subprocess.run(inside, check=True)
        super().start()

    def close(self) -> None:
        try:
            super().close()
        finally:
            subprocess.run(["ip", "netns", "delete", self.folder.name], check=True)

    @property
    def command(self) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.folder.name}", *self.program]

    @property
    def program(self) -> list[str]:
        """The daemon's own command line."""
        return super().command


class Dockerd(Apart):
    """Starts and stops one dockerd as `Daemon` does with Wherry."""

    @property
    def program(self) -> list[str]:
        return [
            *("dockerd", "-H", f"unix://{self.socket}"),
            *("--data-root", str(self.data_root), "--exec-root", str(self.exec_root)),
            *("--pidfile", str(self.folder / "pid"), *self.flags),
        ]


def installed() -> bool:
    """Whether this machine has dockerd."""
    return shutil.which("dockerd") is not None
