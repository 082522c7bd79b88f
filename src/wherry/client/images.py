"""Images as objects."""

from __future__ import annotations

from wherry.client.api import quote
from wherry.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from wherry.client.api import ApiClient
    from wherry.client.http import Response


class Image:
    """One image; ``attributes`` is what the engine said of it."""

    def __init__(self, api: ApiClient, attributes: dict[str, Any]) -> None:
        self._api = api
        self.attributes = attributes

    def __repr__(self) -> str:
        return f"<Image {', '.join(self.tags) or self.id[:19]}>"

    @property
    def id(self) -> str:
        """``sha256:…``"""
        return str(self.attributes["Id"])

    @property
    def tags(self) -> list[str]:
        """Its names."""
        return list(self.attributes.get("RepoTags") or [])

    def tag(self, repository: str, tag: str = "latest") -> None:
        """Give it another name."""
        self._api.call("POST", f"/images/{self.id}/tag", query={"repo": repository, "tag": tag})

    def history(self) -> list[dict[str, Any]]:
        """The steps that made it, the newest first."""
        steps: list[dict[str, Any]] = self._api.call("GET", f"/images/{self.id}/history")
        return steps

    def save(self) -> Response:
        """Its archive as a stream; iterate over the answer."""
        names = self.tags or [self.id]
        return self._api.request("GET", "/images/get", query={"names": names})


class Images:
    """All images of an engine."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    def get(self, reference: str) -> Image:
        """The image of that name or id; raises NotFoundError."""
        path = f"/images/{quote(reference, '/:@')}/json"
        return Image(self._api, self._api.call("GET", path))

    def pull(
        self, reference: str, *, platform: str | None = None, auth: dict[str, str] | None = None
    ) -> Image:
        """Fetch an image from its registry; raises ApiError when that fails.

        ``auth`` is an AuthConfig: username, password, serveraddress.
        """
        name, _, tag = reference.rpartition(":")
        if not name or "/" in tag:
            name, tag = reference, "latest"
        if "@" in reference:
            name, _, tag = reference.partition("@")
        query = {"fromImage": name, "tag": tag, "platform": platform}
        self._progress(self._api.stream("POST", "/images/create", query=query, headers=_auth(auth)))
        return self.get(reference)

    def push(self, reference: str, *, auth: dict[str, str] | None = None) -> None:
        """Send an image to its registry; raises ApiError when that fails."""
        name, _, tag = reference.rpartition(":")
        if not name or "/" in tag:
            name, tag = reference, "latest"
        path = f"/images/{quote(name, '/:')}/push"
        self._progress(self._api.stream("POST", path, query={"tag": tag}, headers=_auth(auth)))

    def load(self, archive: bytes | Iterable[bytes]) -> list[str]:
        """Load an archive of ``save``; returns the names and ids that the engine reports."""
        messages = self._progress(self._api.stream("POST", "/images/load", body=archive))
        prefixes = ("Loaded image: ", "Loaded image ID: ")
        return [
            line.removeprefix(prefix).strip()
            for line in messages
            for prefix in prefixes
            if line.startswith(prefix)
        ]

    def build(
        self, context: bytes | Iterable[bytes], *, tag: str | None = None, **query: Any
    ) -> str:
        """Build a tar archive with a Dockerfile; returns the image's id.

        Further keywords are parameters of ``POST /build`` under the API's names.
        """
        headers = {"Content-Type": "application/x-tar"}
        identity = ""
        for message in self._api.stream(
            "POST", "/build", query={"t": tag, **query}, body=context, headers=headers
        ):
            _check(message)
            identity = (message.get("aux") or {}).get("ID", identity)
        return identity

    def remove(self, reference: str, *, force: bool = False) -> list[dict[str, str]]:
        """Remove a name, and the image when it was its last; returns what was done."""
        path = f"/images/{quote(reference, '/:@')}"
        done: list[dict[str, str]] = self._api.call("DELETE", path, query={"force": force or None})
        return done

    def prune(self, *, all: bool = False) -> dict[str, Any]:
        """Remove images without a name, or all that no container uses."""
        query = {"filters": {"dangling": ["false" if all else "true"]}}
        answer: dict[str, Any] = self._api.call("POST", "/images/prune", query=query)
        return answer

    def _progress(self, messages: Iterable[dict[str, Any]]) -> list[str]:
        lines = []
        for message in messages:
            _check(message)
            lines.append(str(message.get("stream") or message.get("status") or ""))
        return lines

    def list(
        self, *, all: bool = False, filters: Mapping[str, Sequence[str]] | None = None
    ) -> list[Image]:
        """The images that are stored."""
        chosen = {key: list(values) for key, values in (filters or {}).items()}
        query = {"all": all or None, "filters": chosen or None}
        entries = self._api.call("GET", "/images/json", query=query)
        return [Image(self._api, entry) for entry in entries]


def _check(message: dict[str, Any]) -> None:
    if error := message.get("error") or (message.get("errorDetail") or {}).get("message"):
        raise ApiError(500, str(error))


def _auth(auth: dict[str, str] | None) -> dict[str, str]:
    import base64
    import json

    text = base64.urlsafe_b64encode(json.dumps(auth or {}).encode()).decode()
    return {"X-Registry-Auth": text}
