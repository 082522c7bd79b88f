"""Networks as objects."""

from __future__ import annotations

from wherry.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.client.api import ApiClient


class Network:
    """One network; ``attributes`` is what the engine said of it."""

    def __init__(self, api: ApiClient, attributes: dict[str, Any]) -> None:
        self._api = api
        self.attributes = attributes

    def __repr__(self) -> str:
        return f"<Network {self.name}>"

    @property
    def id(self) -> str:
        """The full id."""
        return str(self.attributes["Id"])

    @property
    def name(self) -> str:
        """The name."""
        return str(self.attributes["Name"])

    def connect(self, container: str, *, aliases: list[str] | None = None, ip: str = "") -> None:
        """Connect a container, by name or id."""
        endpoint: dict[str, Any] = {"Aliases": aliases or []}
        if ip:
            endpoint["IPAMConfig"] = {"IPv4Address": ip}
        body = {"Container": container, "EndpointConfig": endpoint}
        self._api.call("POST", f"/networks/{self.id}/connect", body=body)

    def disconnect(self, container: str, *, force: bool = False) -> None:
        """Disconnect a container."""
        body = {"Container": container, "Force": force}
        self._api.call("POST", f"/networks/{self.id}/disconnect", body=body)

    def remove(self) -> None:
        """Remove the network; raises ConflictError or ForbiddenError while it is in use."""
        self._api.call("DELETE", f"/networks/{self.id}")


class Networks:
    """All networks of an engine."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    def create(
        self, name: str, *, driver: str = "bridge", subnet: str = "", **fields: Any
    ) -> Network:
        """Create a network; further keywords are fields of the API's request."""
        body: dict[str, Any] = {"Name": name, "Driver": driver, **fields}
        if subnet:
            body["IPAM"] = {"Config": [{"Subnet": subnet}]}
        return self.get(str(self._api.call("POST", "/networks/create", body=body)["Id"]))

    def get(self, reference: str) -> Network:
        """The network of that name or id; raises NotFoundError."""
        return Network(self._api, self._api.call("GET", f"/networks/{quote(reference)}"))

    def prune(self) -> list[str]:
        """Remove networks without containers; returns their names."""
        answer = self._api.call("POST", "/networks/prune")
        return list(answer.get("NetworksDeleted") or [])

    def list(self) -> list[Network]:
        """All networks."""
        return [Network(self._api, entry) for entry in self._api.call("GET", "/networks")]
