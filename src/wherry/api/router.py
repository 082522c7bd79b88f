"""Which handler serves a method and a path.

A path's variables may span slashes (image names do), as in dockerd's own router; a route that is
listed first wins.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from aiohttp import web

from wherry.api.call import Call
from wherry.api.versions import Version

Handler = Callable[[Call], Awaitable[web.StreamResponse]]
_VARIABLE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """``{name}`` in ``path`` stands for one or more characters; ``since`` is the first version.

    A handler with ``follows_client`` is cancelled when its client goes away (streams, pulls);
    others finish what they have begun.
    """

    method: str
    path: str
    handler: Handler
    since: Version | None = None
    follows_client: bool = False


class Match(NamedTuple):
    """A route that fits, and what its variables stand for."""

    route: Route
    parts: Mapping[str, str]


class Router:
    """Routes by their first path segment, then in the order given."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[str, list[tuple[re.Pattern[str], Route]]] = {}
        for route in routes:
            literal = [re.escape(part) for part in _VARIABLE.split(route.path)]
            literal[1::2] = [f"(?P<{name}>.+)" for name in _VARIABLE.findall(route.path)]
            pattern = re.compile("".join(literal), re.DOTALL)
            self._routes.setdefault(_first(route.path), []).append((pattern, route))

    def find(self, method: str, path: str, version: Version) -> Match | None:
        """The route for ``method`` and ``path`` in ``version``, or None."""
        for pattern, route in self._routes.get(_first(path), ()):
            if (
                route.method == method
                and (route.since is None or version >= route.since)
                and (match := pattern.fullmatch(path))
            ):
                return Match(route, match.groupdict())
        return None


def _first(path: str) -> str:
    return path[1:].partition("/")[0]
