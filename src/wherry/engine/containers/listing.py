"""Which containers ``docker ps`` shows, and in which order."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from wherry.engine.containers import views
from wherry.engine.containers.container import Container
from wherry.engine.containers.services import Services
from wherry.engine.filters import Filters
from wherry.engine.slices import slices
from wherry.errors import InvalidParameter, NotFound, WherryError
from wherry.numbers import whole_number

FILTERS = frozenset(
    {
        *("ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation"),
        *("label", "name", "network", "publish", "since", "status", "volume"),
    }
)
_OF_NETWORKS = ("network", "expose", "publish")
_NOWHERE: Mapping[str, Any] = {"Networks": {}, "Ports": {}}
_STATUSES = frozenset({"created", "dead", "exited", "paused", "removing", "restarting", "running"})
_HEALTHS = frozenset({"none", "starting", "healthy", "unhealthy"})
_PATIENCE = 2.0
"""Seconds that a list waits for an engine that has just opened to look at its containers."""


async def select(services: Services, filters: Filters, *, all: bool, limit: int) -> list[Container]:
    """The wanted containers, newest first; raises InvalidParameter and NotFound for filters."""
    filters = _checked(filters)
    await services.adoption.most(_PATIENCE)
    everything = all or "status" in filters or limit > 0
    ordered = sorted(services, key=lambda one: one.record.created, reverse=True)
    ordered = _between(services, ordered, filters)
    ancestors = _ancestors(services, filters)
    networked = any(filters.get(name) for name in _OF_NETWORKS)
    chosen: list[Container] = []
    async for some in slices(ordered):
        some = [
            container
            for container in some
            if (everything or container.state.running)
            and (ancestors is None or container.record.image in ancestors)
        ]
        ids = [container.id for container in some]
        settings = services.networks.settings_of(ids) if networked else {}
        chosen += [
            one
            for one in some
            if _matches(one, filters)
            and (not networked or _on_networks(settings.get(one.id, _NOWHERE), filters))
        ]
        if 0 < limit <= len(chosen):
            break
    return chosen[:limit] if limit > 0 else chosen


def _checked(filters: Filters) -> Filters:
    """Filters that have a meaning; raises InvalidParameter."""
    filters.allow(FILTERS)
    for value in filters.get("status"):
        if value not in _STATUSES:
            raise InvalidParameter(f"invalid filter 'status={value}'")
    for value in filters.get("health"):
        if value not in _HEALTHS:
            raise InvalidParameter(f"invalid filter 'health={value}'")
    for value in filters.get("exited"):
        _number(value)
    if not filters.flag("is-task", False) and "is-task" in filters:
        filters = filters.without("is-task")
    return filters


def _between(services: Services, ordered: list[Container], filters: Filters) -> list[Container]:
    for reference in filters.get("before"):
        border = services.find(reference).record.created
        ordered = [one for one in ordered if one.record.created < border]
    for reference in filters.get("since"):
        border = services.find(reference).record.created
        ordered = [one for one in ordered if one.record.created > border]
    return ordered


def _ancestors(services: Services, filters: Filters) -> set[str] | None:
    """Ids of the images that are meant by ``ancestor`` and of those built on them."""
    if "ancestor" not in filters:
        return None
    wanted = set()
    for reference in filters.get("ancestor"):
        try:
            wanted.add(services.images.resolve_id(reference))
        except (NotFound, InvalidParameter):
            continue
    layers = []
    for image_id in wanted:
        try:
            layers.append(services.images.get(image_id).layers)
        except WherryError:
            continue
    for container in services:
        record = container.record
        if any(record.layers[: len(stack)] == stack for stack in layers if stack):
            wanted.add(record.image)
    return wanted


def _matches(container: Container, filters: Filters) -> bool:
    record, state = container.record, container.state
    if "is-task" in filters:
        return False
    exits = filters.get("exited")
    if exits and not (
        state.status == "exited" and str(state.exit_code) in {_number(value) for value in exits}
    ):
        return False
    health = views.health_status(container) or "none"
    names = (record.name, f"/{record.name}")
    return (
        filters.exact("status", state.status)
        and filters.exact("health", health)
        and filters.prefix("id", record.id)
        and filters.pairs("label", record.config.labels or {})
        and any(filters.pattern("name", name) for name in names)
        and _on_volume(container, filters.get("volume"))
    )


def _on_networks(settings: Mapping[str, Any], filters: Filters) -> bool:
    """Whether a container with these ``NetworkSettings`` passes the filters on them."""
    return (
        _on_network(settings["Networks"], filters.get("network"))
        and _has_port(settings["Ports"], "expose", filters.get("expose"))
        and _has_port(settings["Ports"], "publish", filters.get("publish"))
    )


def _number(text: str) -> str:
    try:
        return str(int(text))
    except ValueError:
        raise InvalidParameter(f"invalid filter 'exited={text}'") from None


def _on_volume(container: Container, wanted: Sequence[str]) -> bool:
    if not wanted:
        return True
    held = {value for point in container.record.mounts for value in (point.name, point.destination)}
    return any(value in held or posixpath.normpath(value) in held for value in wanted)


def _on_network(networks: Mapping[str, Any], wanted: Sequence[str]) -> bool:
    if not wanted:
        return True
    held = set(networks) | {one["NetworkID"] for one in networks.values() if one["NetworkID"]}
    return any(
        value in held or any(len(value) >= 12 and one.startswith(value) for one in held)
        for value in wanted
    )


def _has_port(shown: Mapping[str, Any], kind: str, wanted: Sequence[str]) -> bool:
    if not wanted:
        return True
    ports: set[tuple[int, str]] = set()
    for key, places in shown.items():
        number, protocol = _port(key)
        if kind == "expose":
            ports.add((number, protocol))
        else:
            ports |= {(int(place["HostPort"]), protocol) for place in places or ()}
    for value in wanted:
        numbers, _, protocol = value.partition("/")
        low, _, high = numbers.partition("-")
        first, last = whole_number(low), whole_number(high or low)
        if first is None or last is None:
            raise InvalidParameter(f"invalid filter '{kind}={value}'")
        if any(first <= number <= last and name == (protocol or "tcp") for number, name in ports):
            return True
    return False


def _port(key: str) -> tuple[int, str]:
    number, _, protocol = key.partition("/")
    return whole_number(number) or 0, protocol or "tcp"
