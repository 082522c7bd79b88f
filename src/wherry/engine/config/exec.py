"""ExecConfig: a further process in a running container (API 1.51, ContainerExec)."""

from __future__ import annotations

from dataclasses import dataclass

from wherry.engine.config.codec import FLAG, TEXT, TEXTS, Kind, api
from wherry.engine.config.host import read_console_size


@dataclass(frozen=True, slots=True)
class ExecConfig:
    """What is to run, and who listens."""

    user: str = api("User", TEXT)
    privileged: bool = api("Privileged", FLAG)
    tty: bool = api("Tty", FLAG)
    console_size: tuple[int, int] | None = api("ConsoleSize", Kind(read_console_size, None))
    attach_stdin: bool = api("AttachStdin", FLAG)
    attach_stderr: bool = api("AttachStderr", FLAG)
    attach_stdout: bool = api("AttachStdout", FLAG)
    detach_keys: str = api("DetachKeys", TEXT)
    env: tuple[str, ...] | None = api("Env", TEXTS)
    working_dir: str = api("WorkingDir", TEXT)
    cmd: tuple[str, ...] | None = api("Cmd", TEXTS)


@dataclass(frozen=True, slots=True)
class ExecStart:
    """How a prepared process is started (ContainerExecStart)."""

    detach: bool = api("Detach", FLAG)
    tty: bool = api("Tty", FLAG)
    console_size: tuple[int, int] | None = api("ConsoleSize", Kind(read_console_size, None))
