"""AppArmor: whether the host has it, which profiles the kernel knows, and loading one.

The kernel takes compiled policy only; `apparmor_parser` compiles and loads it, apparmor_parser(8).
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

from wherry.errors import KernelError, Unavailable

PARSER = "apparmor_parser"
_FOLDER = "/sys/kernel/security/apparmor"
_SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@functools.cache
def enabled() -> bool:
    """Whether the kernel confines by AppArmor, here and not only outside of this container."""
    try:
        with open("/sys/module/apparmor/parameters/enabled") as file:
            return file.read().strip() == "Y" and os.path.isdir(_FOLDER)
    except OSError:
        return False


@functools.cache
def parser() -> str:
    """The path of the parser, "" when it is not installed."""
    return shutil.which(PARSER, path=_SYSTEM_PATH) or ""


def loaded(name: str) -> bool:
    """Whether the kernel knows the profile."""
    try:
        with open(f"{_FOLDER}/profiles") as file:
            return any(line.rsplit(" ", 1)[0] == name for line in file)
    except OSError:
        return False


def load(policy: str) -> None:
    """Compile policy text and give it to the kernel in place of what it had of these names.

    Raises KernelError without a parser, Unavailable for what the parser or the kernel refuses.
    """
    command = [parser() or PARSER, "--replace", "--skip-cache", "--quiet"]
    try:
        done = subprocess.run(command, input=policy, capture_output=True, text=True)
    except OSError as error:
        raise KernelError("load AppArmor profile", command[0], error.errno or 0) from error
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines() or [f"exit {done.returncode}"]
        raise Unavailable(f"load AppArmor profile with {command[0]}: {reason[-1]}")
