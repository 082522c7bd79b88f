"""BuildKit's clients: gRPC on a connection taken over, and ``POST /build?version=2``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from wherry.api.call import Call
from wherry.api.hijack import Hijack
from wherry.api.progress import Emit, stream_progress
from wherry.api.replies import nothing
from wherry.api.router import Route
from wherry.engine.config.build import BuildOutput
from wherry.engine.config.codec import decode
from wherry.errors import InvalidParameter
from wherry.images import reference

_GRPC = "application/grpc"
_H2C = "h2c"
_METHODS = "X-Docker-Expose-Session-Grpc-Method"
_UPLOAD = "upload-request"
_RENAMED = {
    "target": "target",
    "dockerfile": "filename",
    "platform": "platform",
    "cgroupparent": "cgroup-parent",
}
"""Parameters of the query, and the attributes that say the same."""


async def grpc(call: Call) -> web.StreamResponse:
    """Serve gRPC on this connection from now on."""
    _check_upgrade(call)
    with Hijack(call) as hijack:
        sock, initial = await hijack.take(_GRPC, _H2C)
        await call.engine.builds.buildkit.serve(sock, initial)
    return hijack.answer()


async def session(call: Call) -> web.StreamResponse:
    """Call the client on this connection from now on."""
    _check_upgrade(call)
    headers = call.request.headers
    offer = call.engine.builds.buildkit.read_offer(headers, headers.getall(_METHODS, []))
    with Hijack(call) as hijack:
        sock, initial = await hijack.take(_GRPC, _H2C)
        await call.engine.builds.buildkit.open_session(offer, sock, initial)
    return hijack.answer()


async def build(call: Call) -> web.StreamResponse:
    """``docker build`` of a client whose files are in its session."""
    buildkit = call.engine.builds.buildkit
    build_id = call.text("buildid")
    if build_id.startswith(f"{_UPLOAD}:"):
        await buildkit.upload(build_id.partition(":")[2], call.body())
        return nothing(200)
    attributes = frontend_attributes(call)
    kind, exporter_attributes = exporter(call)
    remote = call.text("remote")
    body = call.body() if not remote and call.has_body else None

    async def work(emit: Emit) -> None:
        await buildkit.build(
            build_id=build_id,
            session=call.text("session"),
            attributes=attributes,
            exporter=(kind, exporter_attributes),
            context=body,
            awaits_upload=remote == _UPLOAD,
            quiet=call.flag("q"),
            emit=emit,
        )

    return await stream_progress(call, work)


async def cancel(call: Call) -> web.StreamResponse:
    """Stop a build by the id that its client gave it."""
    if not call.text("id"):
        raise InvalidParameter("build ID not provided")
    call.engine.builds.buildkit.cancel(call.text("id"))
    return nothing(200)


def frontend_attributes(call: Call) -> dict[str, str]:
    """The query of ``POST /build`` as attributes of the Dockerfile front end."""
    attributes = {
        attribute: value for name, attribute in _RENAMED.items() if (value := call.text(name))
    }
    remote = call.text("remote")
    if remote not in ("", "client-session", _UPLOAD):
        attributes["context"] = remote
    for name, prefix in (("buildargs", "build-arg:"), ("labels", "label:")):
        for key, value in _object(call, name).items():
            if value is not None:
                attributes[f"{prefix}{key}"] = str(value)
    if call.flag("nocache"):
        attributes["no-cache"] = ""
    if call.flag("pull"):
        attributes["image-resolve-mode"] = "pull"
    if size := call.number("shmsize"):
        attributes["shm-size"] = str(size)
    lists = {
        "add-hosts": _hosts(call),
        "ulimit": _limits(call),
        "cache-from": [str(name) for name in _array(call, "cachefrom")],
    }
    attributes |= {name: ",".join(values) for name, values in lists.items() if values}
    return attributes | _network(call)


def _network(call: Call) -> dict[str, str]:
    mode = call.text("networkmode")
    if mode in ("host", "none"):
        return {"force-network-mode": mode}
    if mode not in ("", "default"):
        raise InvalidParameter(f'network mode "{mode}" not supported by buildkit')
    return {}


def _hosts(call: Call) -> list[str]:
    """``NAME=ADDRESS`` of each ``NAME:ADDRESS``; several may stand in one value."""
    words = (word for text in call.texts("extrahosts") for word in text.split(",") if word)
    return ["=".join(word.split(":", 1)) for word in words]


def _limits(call: Call) -> list[str]:
    return [
        f"{limit.get('Name')}={limit.get('Soft')}:{limit.get('Hard')}"
        for limit in _array(call, "ulimits")
        if isinstance(limit, dict)
    ]


def exporter(call: Call) -> tuple[str, dict[str, str]]:
    """The output, with the tags as names; the type is empty for none at all."""
    outputs = _array(call, "outputs")
    if len(outputs) > 1:
        raise InvalidParameter("multiple outputs not supported")
    kind, attributes = "moby", {}
    if outputs:
        output = decode(BuildOutput, outputs[0])
        kind, attributes = output.type, dict(output.attrs or {})
    if kind == "cacheonly":
        return "", {}
    names = dict.fromkeys(tag for tag in call.texts("t") if tag)
    if names and kind in ("moby", "image"):
        attributes["name"] = ",".join(str(reference.parse(name).tagged()) for name in names)
    return kind, attributes


def _check_upgrade(call: Call) -> None:
    """Raises InvalidParameter unless the client is about to speak HTTP/2 in plain text."""
    protocol = call.request.headers.get("Upgrade")
    if not protocol:
        raise InvalidParameter("no upgrade proto in request")
    if protocol.lower() != _H2C:
        raise InvalidParameter(f"protocol {protocol} not supported")


def _object(call: Call, name: str) -> Mapping[str, Any]:
    value = _json(call, name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidParameter(f"error reading {name}: not a JSON object")
    return value


def _array(call: Call, name: str) -> list[Any]:
    value = _json(call, name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidParameter(f"error reading {name}: not a JSON array")
    return value


def _json(call: Call, name: str) -> Any:
    text = call.text(name)
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"error reading {name}: {error}") from None


ROUTES = (
    Route("POST", "/grpc", grpc),
    Route("POST", "/session", session),
    Route("POST", "/build/cancel", cancel),
)
