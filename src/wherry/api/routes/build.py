"""Building images, and the build cache."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from wherry.api.call import Call
from wherry.api.progress import Emit, stream_progress
from wherry.api.replies import reply
from wherry.api.router import Route
from wherry.api.routes import buildkit
from wherry.builder.agents import agents_at
from wherry.builder.backend import CommandFailed, Resources
from wherry.builder.imagecache import CacheTarget, parse_target
from wherry.builder.request import BuildRequest, credentials_in, secrets_in
from wherry.errors import InvalidParameter
from wherry.images import reference
from wherry.images.platforms import parse_platform
from wherry.numbers import whole_number

_BUILDKIT = "2"
_EPOCH = "SOURCE_DATE_EPOCH"


async def build(call: Call) -> web.StreamResponse:
    """``docker build``: the context is the body, or at ``remote``."""
    if call.text("version") == _BUILDKIT:
        return await buildkit.build(call)
    request = build_request(call)
    remote = call.text("remote")
    body = call.body() if call.has_body else None

    async def work(emit: Emit) -> None:
        try:
            await call.engine.builds.build(request, body, remote=remote, emit=emit)
        except CommandFailed as failed:
            detail = {"code": failed.code, "message": str(failed)}
            emit({"errorDetail": detail, "error": str(failed)})

    return await stream_progress(call, work)


async def prune(call: Call) -> web.StreamResponse:
    """Forget what the builder keeps."""
    keep = 0
    for name in ("reserved-space", "keep-storage", "max-used-space"):
        keep = keep or call.number(name) or 0
    return reply(await call.engine.builds.prune(keep_bytes=keep, filters=call.filters))


def build_request(call: Call) -> BuildRequest:
    """The query and headers of ``POST /build``. Raises InvalidParameter."""
    version = call.text("version")
    if version not in ("", "1"):
        raise InvalidParameter(f"invalid version: {version}")
    if call.text("outputs") not in ("", "[]", "null"):
        raise InvalidParameter("custom outputs are not offered by this route")
    isolation = call.text("isolation")
    if isolation not in ("", "default"):
        raise InvalidParameter(f'Unsupported isolation: "{isolation}"')
    network = call.text("networkmode") or "default"
    granted = call.text("allow").split(",")
    arguments = _arguments(call)
    cache = [_cache_source(entry) for entry in _list(call, "cachefrom")]
    return BuildRequest(
        dockerfile=call.text("dockerfile"),
        tags=_tags(call),
        arguments=arguments,
        labels=_texts_by_name(call, "labels"),
        target=call.text("target"),
        platform=parse_platform(platform) if (platform := call.text("platform")) else None,
        no_cache=call.flag("nocache"),
        no_cache_stages=tuple(filter(None, call.text("nocachefilter").split(","))),
        pull=call.flag("pull"),
        quiet=call.flag("q"),
        squash=call.flag("squash"),
        network=network,
        cache_from=tuple(name for name, _ in cache),
        cache_pulled=tuple(name for name, pulled in cache if pulled),
        cache_to=_cache_targets(call),
        contexts=_texts_by_name(call, "contexts"),
        secrets=secrets_in(_secrets(call)),
        agents=agents_at(_agents(call)),
        resources=_resources(call),
        credentials=credentials_in(call.header_json("X-Registry-Config")),
        epoch=_epoch(arguments),
        explain=call.flag("explain"),
        check=call.flag("check"),
        allow_insecure="security.insecure" in granted,
        allow_host_network="network.host" in granted or network == "host",
    )


def _tags(call: Call) -> tuple[str, ...]:
    tags = tuple(dict.fromkeys(tag for tag in call.texts("t") if tag))
    for tag in tags:
        if reference.parse(tag).digest is not None:
            raise InvalidParameter(f"invalid tag {tag}: a build cannot be tagged with a digest")
    return tags


def _cache_source(text: str) -> tuple[str, bool]:
    """An image, or ``type=registry,ref=IMAGE``, which is fetched when it is not here."""
    if "=" not in text:
        return text, False
    options = _options(text)
    if options.get("type", "registry") != "registry" or not options.get("ref"):
        raise InvalidParameter(f"unknown cache source: {text}")
    return options["ref"], True


def _cache_targets(call: Call) -> tuple[CacheTarget, ...]:
    targets = (parse_target(_options(text)) for text in _list(call, "cacheto"))
    return tuple(target for target in targets if target is not None)


def _options(text: str) -> dict[str, str]:
    """``a=b,c=d``. Raises InvalidParameter."""
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(equals for _, equals, _ in pairs):
        raise InvalidParameter(f"invalid value {text!r}: it is not key=value,key=value")
    return {key.strip().lower(): value for key, _, value in pairs}


def _arguments(call: Call) -> dict[str, str]:
    """``--build-arg``; a null takes the value of the client's environment, which it lacked."""
    given = _json(call, "buildargs", {}, "build args")
    if not isinstance(given, dict):
        raise InvalidParameter("error reading build args: not a JSON object")
    return {name: str(value) for name, value in given.items() if value is not None}


def _texts_by_name(call: Call, name: str) -> dict[str, str]:
    given = _json(call, name, {})
    if not isinstance(given, dict):
        raise InvalidParameter(f"error reading {name}: not a JSON object")
    return {str(key): str(value) for key, value in given.items()}


def _list(call: Call, name: str) -> tuple[str, ...]:
    given = _json(call, name, [])
    if not isinstance(given, list):
        raise InvalidParameter(f"error reading {name}: not a JSON array")
    return tuple(map(str, given))


def _json(call: Call, name: str, default: Any, what: str = "") -> Any:
    text = call.text(name)
    if not text:
        return default
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"error reading {what or name}: {error}") from None
    return default if value is None else value


def _secrets(call: Call) -> dict[str, bytes]:
    """Values by id, in base64, from a header: they are in no log of addresses."""
    given = call.header_json("X-Build-Secrets")
    try:
        return {name: base64.b64decode(value, validate=True) for name, value in given.items()}
    except (binascii.Error, TypeError, ValueError):
        raise InvalidParameter("invalid X-Build-Secrets header: values are not base64") from None


def _agents(call: Call) -> dict[str, str]:
    """Sockets of SSH agents on this host by id."""
    given = call.header_json("X-Build-SSH")
    if not all(isinstance(path, str) and path.startswith("/") for path in given.values()):
        raise InvalidParameter("invalid X-Build-SSH header: values are absolute paths")
    return dict(given)


def _epoch(arguments: Mapping[str, str]) -> int | None:
    text = arguments.get(_EPOCH, "")
    if not text:
        return None
    number = whole_number(text)
    if number is None or number >= 1 << 36:
        raise InvalidParameter(f"invalid {_EPOCH}: {text} is not a number of seconds")
    return number


def _resources(call: Call) -> Resources:
    ulimits = _json(call, "ulimits", [], "ulimit settings")
    if not isinstance(ulimits, list) or not all(isinstance(item, dict) for item in ulimits):
        raise InvalidParameter("error reading ulimits: not a JSON array of objects")
    hosts = [word for text in call.texts("extrahosts") for word in text.split(",") if word]
    return Resources(
        memory=call.number("memory") or 0,
        memory_swap=call.number("memswap") or 0,
        cpu_shares=call.number("cpushares") or 0,
        cpu_period=call.number("cpuperiod") or 0,
        cpu_quota=call.number("cpuquota") or 0,
        cpuset_cpus=call.text("cpusetcpus"),
        cpuset_mems=call.text("cpusetmems"),
        shm_size=call.number("shmsize") or 0,
        cgroup_parent=call.text("cgroupparent"),
        ulimits=tuple(ulimits),
        extra_hosts=tuple(hosts),
        security_options=tuple(filter(None, call.texts("securityopt"))),
    )


ROUTES: tuple[Route, ...] = (
    Route("POST", "/build", build, follows_client=True),
    Route("POST", "/build/prune", prune),
)
