"""Names by which legacy links call a container: ``/web/db`` is what ``web`` calls ``db``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from wherry.engine.containers.container import Container
from wherry.engine.containers.services import Services
from wherry.errors import Conflict, NotFound, WherryError
from wherry.network.links import parse_link

Aliases = Mapping[str, Sequence[str]]
"""By id, what others call a container: ``/web/db``."""


Find = Callable[[str], Container]
"""The container that a reference means; raises NotFound and InvalidParameter."""


def aliases(containers: Iterable[Container], find: Find) -> Aliases:
    """What links call containers: one pass over all of them, for as many rows as are shown."""
    found: dict[str, list[str]] = {}
    for other in containers:
        for target, alias in _links(other):
            container = _found(find, target)
            if container is not None:
                found.setdefault(container.id, []).append(f"/{other.record.name}/{alias}")
    return found


def names(container: Container, aliases: Aliases) -> list[str]:
    """All names of a container, its own first."""
    return [f"/{container.record.name}", *aliases.get(container.id, ())]


def shown(services: Services, container: Container) -> list[str] | None:
    """The links of a container as ``docker inspect`` shows them: ``/db:/web/alias``."""
    found = [
        f"/{other.record.name}:/{container.record.name}/{alias}"
        for target, alias in _links(container)
        if (other := _found(services.find, target)) is not None
    ]
    return found or None


def targets(services: Services, container: Container) -> list[Container]:
    """The containers that a container knows by its links, as far as they are there."""
    found = [_found(services.find, target) for target, _ in _links(container)]
    return [one for one in found if one is not None]


def _found(find: Find, target: str) -> Container | None:
    """The container of that name, or of that id: a name such as ``db`` may begin an id, too."""
    try:
        return find(target)
    except WherryError:
        return None


def _links(container: Container) -> Iterator[tuple[str, str]]:
    return (parse_link(text) for text in container.record.host.links or ())


def remove(services: Services, name: str) -> None:
    """``DELETE /containers/{parent}/{alias}?link=1``: the parent knows the other no more.

    Raises Conflict for a container's own name, NotFound for a link that there is not.
    """
    parent_name, slash, alias = name.strip("/").rpartition("/")
    if not slash:
        services.find(name)
        raise Conflict("Conflict, cannot remove the default link name of the container")
    try:
        parent = services.find(parent_name)
    except NotFound:
        raise NotFound(f"No such container: {name}") from None
    kept = [text for text in parent.record.host.links or () if parse_link(text)[1] != alias]
    if len(kept) == len(parent.record.host.links or ()):
        raise NotFound(f"No such container: {name}")
    with services.store.transaction():
        services.networks.unlink(parent.id, alias)
        services.set_record(
            parent, replace(parent.record, host=replace(parent.record.host, links=tuple(kept)))
        )
