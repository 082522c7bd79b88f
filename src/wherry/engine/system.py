"""What the engine tells about itself and its host."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import tempfile
from collections.abc import Collection, Mapping
from typing import Any

from wherry.engine.builds import Builds
from wherry.engine.containers.services import Services, log
from wherry.engine.containers.views import DRIVER_NAMES
from wherry.engine.info import EngineFacts, info_view, version_view
from wherry.engine.registries import Registries
from wherry.engine.usage import disk_usage
from wherry.linux import cgroups, probe
from wherry.runtime.logdrivers.options import DRIVER_OPTIONS
from wherry.storage.driver import status_of

View = dict[str, Any]


class System:
    """``GET /info``, ``/version`` and ``/system/df``."""

    def __init__(self, services: Services, builds: Builds, registries: Registries) -> None:
        self._services = services
        self._registries = registries
        self._builds = builds

    async def version(self) -> View:
        """Versions of the engine and its parts."""
        return version_view(experimental=self._services.config.experimental)

    async def info(self) -> View:
        """Everything about engine and host."""
        return await asyncio.to_thread(lambda: info_view(self._facts()))

    def _facts(self) -> EngineFacts:
        services = self._services
        config = services.config
        statuses = [container.state.status for container in services]
        layout = cgroups.discover()
        names = {name for name, _ in layout.v1} | set(layout.controllers)
        driver = services.layers.driver
        return EngineFacts(
            engine_id=engine_id(config.data_root),
            data_root=config.data_root,
            containers_running=statuses.count("running") + statuses.count("restarting"),
            containers_paused=statuses.count("paused"),
            containers_stopped=len(statuses)
            - sum(statuses.count(one) for one in ("running", "restarting", "paused")),
            images=services.images.count(),
            storage_driver=DRIVER_NAMES.get(driver.name, driver.name),
            storage_status=status_of(driver, config.storage_driver),
            volume_drivers=services.volumes.drivers(),
            network_drivers=services.networks.drivers(),
            log_drivers=sorted(DRIVER_OPTIONS),
            log_driver=config.log_driver,
            cgroup_version=str(layout.version),
            cgroup_controllers=frozenset(names),
            swap_limit=services.facts.limits.swap_limit,
            oom_kill_disable=probe.oom_kill_disable(),
            security_options=self._security_options(),
            registry_mirrors=config.registry_mirrors,
            insecure_registries=config.insecure_registries,
            labels=config.labels,
            debug=config.debug,
            experimental=config.experimental,
            warnings=self._warnings(),
        )

    def _security_options(self) -> list[str]:
        options = []
        if self._services.facts.apparmor:
            options.append("name=apparmor")
        if probe.seccomp():
            options.append("name=seccomp,profile=builtin")
        if self._services.facts.user_namespaces and not self._services.config.userns_host:
            options.append("name=userns")
        options.append("name=cgroupns")
        return options

    def _warnings(self) -> list[str]:
        found = []
        if self._services.repaired:
            found.append(f"WARNING: {self._services.repaired}")
        if not self._services.facts.user_namespaces:
            found.append(
                "WARNING: No user namespaces: this kernel or file system cannot map ids,"
                " so root in a container is root on this machine"
            )
        if not self._services.facts.limits.swap_limit:
            found.append("WARNING: No swap limit support")
        if not probe.has_capability("CAP_SYS_RESOURCE"):
            found.append("WARNING: No CAP_SYS_RESOURCE: ulimits cannot exceed the host's")
        return found

    async def auth(self, body: Mapping[str, Any]) -> View:
        """Check credentials at a registry; raises Unauthorized."""
        return await self._registries.check_account(body)

    async def df(self, kinds: Collection[str]) -> View:
        """What takes how much room."""
        view = await disk_usage(self._services, kinds)
        if "build-cache" in kinds:
            view["BuildCache"] = await self._builds.usage()
        return view


def engine_id(data_root: str) -> str:
    """The engine's own id, made once and kept in the data root.

    A disk that takes nothing leaves it without: then it is "".
    """
    path = os.path.join(data_root, "engine-id")
    if not os.path.exists(path):
        try:
            _make_engine_id(data_root, path)
        except OSError as error:
            log.warning("make the engine's id %s: %s", path, error.strerror)
            return ""
    with open(path, encoding="ascii") as made:
        return made.read().strip()


def _make_engine_id(data_root: str, path: str) -> None:
    text = secrets.token_hex(16)
    with tempfile.NamedTemporaryFile("w", encoding="ascii", dir=data_root) as file:
        file.write("-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])))
        file.flush()
        with contextlib.suppress(FileExistsError):  # another request was first
            os.link(file.name, path)
