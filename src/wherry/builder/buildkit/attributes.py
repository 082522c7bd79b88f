"""The attributes of BuildKit's Dockerfile front end, read into what the builder is asked to do.

Source: https://github.com/moby/buildkit/blob/master/frontend/dockerfile/docs/reference.md and the
options that Docker's clients send. Unknown attributes are left alone, as BuildKit does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from wherry.builder.backend import Resources
from wherry.builder.imagecache import CacheTarget, parse_target
from wherry.builder.request import BuildRequest
from wherry.errors import InvalidParameter, NotImplementedHere
from wherry.images.platforms import parse_platform
from wherry.numbers import whole_number

FRONTENDS = ("dockerfile.v0", "gateway.v0")
CacheEntry = tuple[str, Mapping[str, str]]
"""A cache's type and attributes."""
_LOCAL = "local:"
_TRUE = ("1", "t", "T", "true", "TRUE", "True")


@dataclass(frozen=True, slots=True)
class Frontend:
    """What a client asks the Dockerfile front end.

    ``context`` is an address, empty for the client's directory ``context_key``; the Dockerfile
    is ``filename`` in the client's directory ``dockerfile_key``, or in a context from elsewhere
    when that is empty. ``local_contexts`` are named contexts: name → directory of the client.
    """

    request: BuildRequest
    filename: str = "Dockerfile"
    context: str = ""
    context_key: str = "context"
    dockerfile_key: str = "dockerfile"
    local_contexts: Mapping[str, str] = field(default_factory=dict)
    subrequest: str = ""


def read_attributes(attributes: Mapping[str, str], entitlements: frozenset[str]) -> Frontend:
    """Raises InvalidParameter, and NotImplementedHere for what this builder does not do."""
    _refuse(attributes)
    context = attributes.get("context", "")
    arguments = _prefixed(attributes, "build-arg:")
    network = attributes.get("force-network-mode", "")
    if network not in ("", "default", "sandbox", "host", "none"):
        raise InvalidParameter(f"invalid network mode {network!r}")
    contexts, local_contexts = _contexts(attributes)
    no_cache = attributes.get("no-cache")
    request = BuildRequest(
        dockerfile=attributes.get("filename", ""),
        arguments=arguments,
        labels=_prefixed(attributes, "label:"),
        target=attributes.get("target", ""),
        platform=parse_platform(platform) if (platform := attributes.get("platform")) else None,
        no_cache=no_cache == "",
        no_cache_stages=tuple(filter(None, (no_cache or "").split(","))),
        pull=attributes.get("image-resolve-mode") == "pull",
        network="default" if network in ("", "sandbox") else network,
        cache_from=(caches := _cache_images(attributes)),
        cache_pulled=caches,
        contexts=contexts,
        resources=_resources(attributes),
        epoch=_epoch(arguments.get("SOURCE_DATE_EPOCH", "")),
        allow_insecure="security.insecure" in entitlements,
        allow_host_network="network.host" in entitlements,
    )
    remote_file = bool(context) and "dockerfilekey" not in attributes
    return Frontend(
        request,
        attributes.get("filename") or "Dockerfile",
        context,
        attributes.get("contextkey") or "context",
        "" if remote_file else attributes.get("dockerfilekey") or "dockerfile",
        local_contexts,
        attributes.get("requestid", ""),
    )


def _refuse(attributes: Mapping[str, str]) -> None:
    if "," in attributes.get("platform", ""):
        raise NotImplementedHere(
            "multi-platform builds are not offered: build one platform at a time"
        )
    if attributes.get("multi-platform") in _TRUE:
        raise NotImplementedHere("manifest lists of one platform are not offered")
    for name, value in attributes.items():
        if not name.startswith("attest:"):
            continue
        options = value.split(",")
        if "disabled=true" not in options and "inline-only=true" not in options:
            raise NotImplementedHere(f"attestations are not offered ({name.partition(':')[2]})")
    syntax = attributes.get("source") or attributes.get("build-arg:BUILDKIT_SYNTAX", "")
    name = syntax.rpartition("/")[2].partition(":")[0].partition("@")[0]
    if syntax and not name.startswith("dockerfile"):
        raise NotImplementedHere(f"unsupported front end {syntax}: only docker/dockerfile is known")


def _cache_images(attributes: Mapping[str, str]) -> tuple[str, ...]:
    """Images to take steps from; caches of other kinds are none of this builder's."""
    names = [name for name in attributes.get("cache-from", "").split(",") if name]
    try:
        entries = json.loads(attributes.get("cache-imports") or "[]")
        given = [(entry.get("Type"), entry.get("Attrs") or {}) for entry in entries]
        names += [options["ref"] for kind, options in given if kind == "registry"]
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise InvalidParameter(f"failed to parse cache-imports: {error!r}") from None
    return tuple(dict.fromkeys(names))


def with_caches(
    frontend: Frontend, imports: Iterable[CacheEntry], exports: Sequence[CacheTarget]
) -> Frontend:
    """The same with caches that the request itself names."""
    found = [attributes["ref"] for kind, attributes in imports if kind == "registry"]
    names = tuple(dict.fromkeys((*frontend.request.cache_from, *found)))
    request = replace(
        frontend.request, cache_from=names, cache_pulled=names, cache_to=tuple(exports)
    )
    return replace(frontend, request=request)


def cache_targets(entries: Iterable[CacheEntry]) -> tuple[CacheTarget, ...]:
    """Where the steps of a build go. Raises InvalidParameter for other kinds than images."""
    targets = (parse_target({**attributes, "type": kind}) for kind, attributes in entries)
    return tuple(target for target in targets if target is not None)


def _contexts(attributes: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Named contexts: by address, and by the client's directory."""
    addresses: dict[str, str] = {}
    directories: dict[str, str] = {}
    for full, value in attributes.items():
        if not full.startswith("context:"):
            continue
        name = full.removeprefix("context:").partition("::")[0].lower()
        scheme = value.partition(":")[0]
        if value.startswith(_LOCAL):
            directories[name] = value.removeprefix(_LOCAL)
        elif scheme in ("input", "oci-layout"):
            raise NotImplementedHere(f"named context {name}: {scheme}: is not offered")
        else:
            addresses[name] = value
    return addresses, directories


def _prefixed(attributes: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix): value
        for name, value in attributes.items()
        if name.startswith(prefix)
    }


def _resources(attributes: Mapping[str, str]) -> Resources:
    shm_size = attributes.get("shm-size", "")
    if shm_size and whole_number(shm_size) is None:
        raise InvalidParameter(f"failed to parse shm size: {shm_size!r} is not a number")
    hosts = []
    for pair in filter(None, attributes.get("add-hosts", "").split(",")):
        name, equals, address = pair.partition("=")
        if not (name and equals and address):
            raise InvalidParameter(f"invalid value {pair}, expecting HOST=IP")
        hosts.append(f"{name}:{address}")
    return Resources(
        shm_size=int(shm_size or 0),
        cgroup_parent=attributes.get("cgroup-parent", ""),
        ulimits=_ulimits(attributes.get("ulimit", "")),
        extra_hosts=tuple(hosts),
    )


def _ulimits(text: str) -> tuple[Mapping[str, Any], ...]:
    """``name=soft[:hard]``, comma between."""
    limits = []
    for pair in filter(None, text.split(",")):
        name, _, values = pair.partition("=")
        soft, colon, hard = values.partition(":")
        try:
            limits.append({"Name": name, "Soft": int(soft), "Hard": int(hard if colon else soft)})
        except ValueError:
            raise InvalidParameter(f"failed to parse ulimits: {pair}") from None
    return tuple(limits)


def _epoch(text: str) -> int | None:
    if not text:
        return None
    number = whole_number(text)
    if number is None or number >= 1 << 36:
        raise InvalidParameter(f"invalid SOURCE_DATE_EPOCH: {text}")
    return number
