"""What of the configuration may change while the engine runs."""

from __future__ import annotations

import json
import os

from wherry.engine.options import EngineConfig

RELOADABLE = (
    "debug",
    "labels",
    "live_restore",
    "shutdown_timeout",
    "max_concurrent_downloads",
    "max_concurrent_uploads",
    "max_download_attempts",
    "registry_mirrors",
    "insecure_registries",
    "runtimes",
    "default_runtime",
    "shm_size",
    "ipc_mode",
    "cgroupns_mode",
    "features",
)
"""Fields of the configuration that a reload takes over: those that dockerd's reload does."""


def reload_attributes(config: EngineConfig) -> dict[str, str]:
    """The attributes of the ``reload`` event, under dockerd's names."""
    runtimes = (f"{name}:{one.get('path') or ''}" for name, one in sorted(config.runtimes.items()))
    return {
        "name": os.uname().nodename,
        "debug": str(config.debug).lower(),
        "labels": json.dumps(list(config.labels)),
        "live-restore": str(config.live_restore).lower(),
        "shutdown-timeout": str(config.shutdown_timeout),
        "max-concurrent-downloads": str(config.max_concurrent_downloads),
        "max-concurrent-uploads": str(config.max_concurrent_uploads),
        "max-download-attempts": str(config.max_download_attempts),
        "registry-mirrors": json.dumps(list(config.registry_mirrors)),
        "insecure-registries": json.dumps(list(config.insecure_registries)),
        "runtimes": " ".join(runtimes),
        "default-runtime": config.default_runtime,
        "default-shm-size": str(config.shm_size),
        "default-ipc-mode": config.ipc_mode,
        "default-cgroupns-mode": config.cgroupns_mode,
        "features": json.dumps(dict(config.features)),
    }
