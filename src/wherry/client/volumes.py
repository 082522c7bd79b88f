"""Volumes as objects."""

from __future__ import annotations

from wherry.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.client.api import ApiClient


class Volume:
    """One volume; ``attributes`` is what the engine said of it."""

    def __init__(self, api: ApiClient, attributes: dict[str, Any]) -> None:
        self._api = api
        self.attributes = attributes

    def __repr__(self) -> str:
        return f"<Volume {self.name}>"

    @property
    def name(self) -> str:
        """The name."""
        return str(self.attributes["Name"])

    @property
    def path(self) -> str:
        """Where the engine keeps its files."""
        return str(self.attributes["Mountpoint"])

    def remove(self, *, force: bool = False) -> None:
        """Remove the volume; raises ConflictError while a container uses it."""
        query = {"force": force or None}
        self._api.call("DELETE", f"/volumes/{quote(self.name)}", query=query)


class Volumes:
    """All volumes of an engine."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        options: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
    ) -> Volume:
        """Create a volume, or find the one of that name."""
        body = {"Name": name, "Driver": driver, "DriverOpts": options, "Labels": labels}
        return Volume(self._api, self._api.call("POST", "/volumes/create", body=body))

    def get(self, name: str) -> Volume:
        """The volume of that name; raises NotFoundError."""
        return Volume(self._api, self._api.call("GET", f"/volumes/{quote(name)}"))

    def prune(self, *, all: bool = False) -> list[str]:
        """Remove anonymous volumes, or all, that nothing uses; returns their names."""
        query = {"filters": {"all": ["true"]}} if all else {}
        answer = self._api.call("POST", "/volumes/prune", query=query)
        return list(answer.get("VolumesDeleted") or [])

    def list(self) -> list[Volume]:
        """All volumes."""
        entries = self._api.call("GET", "/volumes").get("Volumes") or []
        return [Volume(self._api, entry) for entry in entries]
