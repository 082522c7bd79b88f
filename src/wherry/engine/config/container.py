# ruff: noqa: RUF009 (api() makes a dataclass field)
"""ContainerConfig: what runs, in the image's terms (API 1.51, definition ContainerConfig)."""

from __future__ import annotations

from dataclasses import dataclass

from wherry.engine.config.codec import (
    FLAG,
    INTEGER,
    OPTIONAL_INTEGER,
    TEXT,
    TEXT_MAP,
    TEXT_SET,
    TEXTS,
    WORDS,
    api,
    one,
)


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """How a container's health is checked; durations in nanoseconds, 0 means inherit."""

    test: tuple[str, ...] | None = api("Test", TEXTS, omit=True)
    interval: int = api("Interval", INTEGER, omit=True)
    timeout: int = api("Timeout", INTEGER, omit=True)
    start_period: int = api("StartPeriod", INTEGER, omit=True)
    start_interval: int = api("StartInterval", INTEGER, omit=True)
    retries: int = api("Retries", INTEGER, omit=True)


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """The portable part of a container's configuration; ``stop_timeout`` in seconds."""

    hostname: str = api("Hostname", TEXT)
    domainname: str = api("Domainname", TEXT)
    user: str = api("User", TEXT)
    attach_stdin: bool = api("AttachStdin", FLAG)
    attach_stdout: bool = api("AttachStdout", FLAG)
    attach_stderr: bool = api("AttachStderr", FLAG)
    exposed_ports: tuple[str, ...] | None = api("ExposedPorts", TEXT_SET, omit=True)
    tty: bool = api("Tty", FLAG)
    open_stdin: bool = api("OpenStdin", FLAG)
    stdin_once: bool = api("StdinOnce", FLAG)
    env: tuple[str, ...] | None = api("Env", TEXTS)
    cmd: tuple[str, ...] | None = api("Cmd", WORDS)
    healthcheck: HealthConfig | None = api("Healthcheck", one(HealthConfig), omit=True)
    args_escaped: bool = api("ArgsEscaped", FLAG, omit=True)
    image: str = api("Image", TEXT)
    volumes: tuple[str, ...] | None = api("Volumes", TEXT_SET)
    working_dir: str = api("WorkingDir", TEXT)
    entrypoint: tuple[str, ...] | None = api("Entrypoint", WORDS)
    network_disabled: bool = api("NetworkDisabled", FLAG, omit=True)
    mac_address: str = api("MacAddress", TEXT, omit=True)
    on_build: tuple[str, ...] | None = api("OnBuild", TEXTS)
    labels: dict[str, str] | None = api("Labels", TEXT_MAP)
    stop_signal: str = api("StopSignal", TEXT, omit=True)
    stop_timeout: int | None = api("StopTimeout", OPTIONAL_INTEGER, omit=True)
    shell: tuple[str, ...] | None = api("Shell", WORDS, omit=True)
