"""``connect`` and the object that it returns."""

from __future__ import annotations

import os

from wherry.client.api import ApiClient
from wherry.client.endpoint import DEFAULT_ADDRESS, Endpoint, TlsFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from wherry.client.containers import Containers
    from wherry.client.images import Images
    from wherry.client.networks import Networks
    from wherry.client.volumes import Volumes


def connect(
    address: str | None = None,
    *,
    tls: TlsFiles | None = None,
    version: str | None = None,
    timeout: float | None = None,
) -> Client:
    """A client of the engine at ``address``.

    Without one, ``DOCKER_HOST`` counts, then Wherry's own socket. ``version`` fixes the API
    version (otherwise it is agreed on), ``timeout`` (seconds) holds for each wait on the socket.
    Nothing is sent yet: a missing daemon shows at the first call, as ConnectionFailed.
    """
    chosen = address or os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS
    endpoint = Endpoint(chosen, tls)
    return Client(ApiClient(endpoint, version=version, timeout=timeout))


class Client:
    """An engine: its containers, images, networks and volumes. A context manager."""

    def __init__(self, api: ApiClient) -> None:
        self.api = api

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections."""
        self.api.close()

    @property
    def containers(self) -> Containers:
        """The engine's containers."""
        from wherry.client.containers import Containers

        return Containers(self.api)

    @property
    def images(self) -> Images:
        """The engine's images."""
        from wherry.client.images import Images

        return Images(self.api)

    @property
    def networks(self) -> Networks:
        """The engine's networks."""
        from wherry.client.networks import Networks

        return Networks(self.api)

    @property
    def volumes(self) -> Volumes:
        """The engine's volumes."""
        from wherry.client.volumes import Volumes

        return Volumes(self.api)

    def ping(self) -> bool:
        """The engine answers; raises ConnectionFailed when it does not."""
        self.api.ping()
        return True

    def version(self) -> dict[str, Any]:
        """Versions of the engine and its parts."""
        answer: dict[str, Any] = self.api.call("GET", "/version")
        return answer

    def info(self) -> dict[str, Any]:
        """What the engine says of itself and of its machine."""
        answer: dict[str, Any] = self.api.call("GET", "/info")
        return answer

    def events(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        filters: dict[str, list[str]] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """What happens, as it happens; Unix times bound it."""
        query = {"since": since, "until": until, "filters": filters}
        return self.api.stream("GET", "/events", query=query)
