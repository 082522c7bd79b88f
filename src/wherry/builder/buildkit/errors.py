"""Failures of builds in BuildKit's words, with what its clients show beside them."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from wherry.builder.backend import CommandFailed
from wherry.errors import NotImplementedHere, WherryError


@dataclass(frozen=True, slots=True)
class Location:
    """Lines of a Dockerfile, 1-based, that clients print around an error."""

    file: str
    content: bytes
    first: int
    last: int


def message_of(error: BaseException) -> str:
    """What went wrong, as BuildKit says it."""
    if isinstance(error, CommandFailed):
        return f'process "{error.command}" did not complete successfully: exit code: {error.code}'
    if isinstance(error, asyncio.CancelledError):
        return "context canceled"
    if isinstance(error, GRPCError):
        return error.message or error.status.name
    if isinstance(error, WherryError):
        return str(error)
    return "internal error: the daemon's log has the reason"


def status_of(error: BaseException) -> Status:
    """The gRPC status of an error; clients write its name before all texts but UNKNOWN's."""
    if isinstance(error, asyncio.CancelledError):
        return Status.CANCELLED
    if isinstance(error, NotImplementedHere):
        return Status.UNIMPLEMENTED
    return Status.UNKNOWN


def grpc_error(
    error: BaseException, location: Location | None = None, vertex: str = ""
) -> GRPCError:
    """The error as it goes to the client, with the lines of the file and the vertex it is of."""
    if isinstance(error, GRPCError):
        return error
    details = []
    if vertex:
        details.append(_detail("errdefs.Vertex+json", {"digest": vertex}))
    if location is not None:
        details.append(_detail("errdefs.Source+json", _source(location)))
    return GRPCError(status_of(error), message_of(error), details)


def _source(location: Location) -> dict[str, Any]:
    return {
        "info": {
            "filename": location.file,
            "data": base64.b64encode(location.content).decode(),
        },
        "ranges": [{"start": {"line": location.first}, "end": {"line": location.last}}],
    }


def _detail(name: str, value: dict[str, Any]) -> AnyMessage:
    return AnyMessage(type_url=f"github.com/moby/buildkit/{name}", value=json.dumps(value).encode())
