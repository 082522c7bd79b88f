"""The client: talk to an engine from a Python program.

>>> import wherry.client
>>> engine = wherry.client.connect()                      # doctest: +SKIP
>>> engine.containers.run("busybox", ["echo", "hi"])      # doctest: +SKIP
b'hi\\n'

Standard library only, synchronous, quick to import. ``Client`` is the friendly layer;
``Client.api`` is the low one, with every endpoint of the Engine API.
"""

from __future__ import annotations

from wherry.client.api import ApiClient
from wherry.client.client import Client, connect
from wherry.client.endpoint import DEFAULT_ADDRESS, Endpoint, TlsFiles
from wherry.client.errors import (
    ApiError,
    ClientError,
    ConflictError,
    ConnectionFailed,
    ContainerFailed,
    NotFoundError,
)

__all__ = [
    "DEFAULT_ADDRESS",
    "ApiClient",
    "ApiError",
    "Client",
    "ClientError",
    "ConflictError",
    "ConnectionFailed",
    "ContainerFailed",
    "Endpoint",
    "NotFoundError",
    "TlsFiles",
    "connect",
]
