"""What an engine is opened with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wherry.network.options import NetworkOptions

DEFAULT_DATA_ROOT = "/var/lib/wherry"
DEFAULT_EXEC_ROOT = "/run/wherry"


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Places, defaults for containers, registries. Sizes in bytes.

    ``network`` holds what was configured of the networks; the engine fills in its directories.
    ``default_registry`` (``host[:port]``) stands in for Docker's own where a name has no host.
    ``userns_host`` turns user namespaces off for all containers. ``seccomp_profile`` is a path,
    ``unconfined`` or "" for the built-in one. ``stop_containers_on_close`` kills and removes all
    containers when the engine closes, for engines that leave nothing behind. Without
    ``live_restore`` containers are stopped when the engine closes, within ``shutdown_timeout``
    seconds (-1: as long as it takes). ``init_path`` is an init instead of the built-in one. With
    ``reset`` an engine whose state store is lost sets aside what lies in its data root, and begins
    anew.
    """

    data_root: str = DEFAULT_DATA_ROOT
    exec_root: str = DEFAULT_EXEC_ROOT
    storage_driver: str = ""
    storage_options: Sequence[str] = ()
    network: NetworkOptions = field(default_factory=lambda: NetworkOptions("", ""))
    cgroup_parent: str = ""
    cgroupns_mode: str = "private"
    ipc_mode: str = "private"
    shm_size: int = 64 << 20
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    log_driver: str = "json-file"
    log_options: Mapping[str, str] = field(default_factory=dict)
    init: bool = False
    init_path: str = ""
    reset: bool = False
    live_restore: bool = True
    shutdown_timeout: int = 15
    features: Mapping[str, bool] = field(default_factory=dict)
    no_new_privileges: bool = False
    seccomp_profile: str = ""
    userns_host: bool = False
    default_runtime: str = "wherry"
    runtimes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    default_registry: str = ""
    registry_mirrors: Sequence[str] = ()
    insecure_registries: Sequence[str] = ()
    max_concurrent_downloads: int = 3
    max_concurrent_uploads: int = 5
    max_download_attempts: int = 5
    labels: Sequence[str] = ()
    debug: bool = False
    experimental: bool = False
    stop_containers_on_close: bool = False
