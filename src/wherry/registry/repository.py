"""One repository of a registry: manifests, tags, blobs (OCI distribution-spec 1.1)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from wherry.errors import InvalidParameter, NotFound, WherryError
from wherry.mediatypes import INDEXES, MANIFESTS, SCHEMA_1
from wherry.numbers import whole_number
from wherry.registry.failures import joined, parse_answer
from wherry.registry.session import RegistrySession

MAX_MANIFEST_BYTES = 4 << 20
WRONG_ANSWERS = 3
"""How often a manifest may come with another digest than the registry named for it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or index as the registry sent it; ``digest`` is that of ``data``."""

    media_type: str
    digest: str
    data: bytes


_MAX_TAG_PAGES = 1_000
_MAX_TAG_BYTES = 64 << 20


class Repository:
    """The repository ``path`` (such as ``library/busybox``) behind a session."""

    def __init__(self, session: RegistrySession, path: str, *, push: bool = False) -> None:
        self.session = session
        self.path = path
        self._push = push

    def __str__(self) -> str:
        return f"{self.session.host}/{self.path}"

    def _scope(self, *more: str) -> str:
        actions = "pull,push" if self._push else "pull"
        return " ".join((f"repository:{self.path}:{actions}", *more))

    def _url(self, *parts: str) -> str:
        return "/v2/" + quote(self.path, safe="/") + "/" + "/".join(parts)

    async def manifest(self, reference: str) -> Manifest:
        """The manifest of a tag or digest, its digest checked.

        Content that is not what the registry says it is gets asked for again. Raises NotFound,
        and InvalidParameter when the content stays wrong.
        """
        what = f"get manifest {self}:{reference}"
        headers = {"Accept": ", ".join((*INDEXES, *MANIFESTS, *SCHEMA_1))}
        for _ in range(WRONG_ANSWERS):
            response, data = await self.session.document(
                self._url("manifests", reference),
                MAX_MANIFEST_BYTES,
                what=what,
                scope=self._scope(),
                headers=headers,
            )
            said = response.headers.get("Docker-Content-Digest") or None
            wanted = reference if ":" in reference else said
            digest = digest_of(data, wanted)
            if wanted in (None, digest):
                media_type = response.headers.get("Content-Type", "").split(";")[0].strip()
                return Manifest(media_type, digest, data)
        raise InvalidParameter(f"{what}: the content does not have digest {wanted} but {digest}")

    async def resolve(self, reference: str) -> tuple[str, str, int] | None:
        """Digest, media type and size of a tag without its content; None when it is not there."""
        try:
            async with self.session.request(
                "HEAD",
                self._url("manifests", reference),
                what=f"look up manifest {self}:{reference}",
                scope=self._scope(),
                headers={"Accept": ", ".join((*INDEXES, *MANIFESTS))},
            ) as response:
                digest = response.headers.get("Docker-Content-Digest", "")
                kind = response.headers.get("Content-Type", "").split(";")[0].strip()
                return digest, kind, int(response.headers.get("Content-Length") or 0)
        except NotFound:
            return None

    async def put_manifest(self, reference: str, media_type: str, data: bytes) -> str:
        """Store a manifest under a tag or its digest; returns the digest.

        Raises InvalidParameter when the registry says that it stored something else.
        """
        digest = digest_of(data)
        async with self.session.request(
            "PUT",
            self._url("manifests", reference),
            what=f"put manifest {self}:{reference}",
            scope=self._scope(),
            headers={"Content-Type": media_type},
            data=data,
        ) as response:
            said = response.headers.get("Docker-Content-Digest") or digest
        if said.startswith("sha256:") and said != digest:
            raise InvalidParameter(
                f"put manifest {self}:{reference}: it has digest {digest},"
                f" but the registry took it for {said}"
            )
        return digest

    async def tags(self) -> list[str]:
        """All tags, however many pages the registry makes of them."""
        found: list[str] = []
        path: str | None = self._url("tags", "list")
        pages = size = 0
        while path:
            response, data = await self.session.document(
                path, MAX_MANIFEST_BYTES, what=f"list tags of {self}", scope=self._scope()
            )
            pages, size = pages + 1, size + len(data)
            if pages > _MAX_TAG_PAGES or size > _MAX_TAG_BYTES:
                raise InvalidParameter(f"list tags of {self}: the registry has no end of them")
            tags = parse_answer(data, f"list tags of {self}").get("tags") or []
            if not isinstance(tags, list):
                raise WherryError(f"list tags of {self}: the answer has no list of tags")
            found += [str(tag) for tag in tags]
            following = response.links.get("next")
            before = path
            path = str(following["url"]) if following else None
            if path and urlsplit(path).netloc != urlsplit(self.session.endpoint.url).netloc:
                raise WherryError(f"list tags of {self}: the next page is at another host")
            if path == before:
                raise WherryError(f"list tags of {self}: the registry's pages go in a circle")
        return found

    async def has_blob(self, digest: str) -> bool:
        """Whether the repository already holds a blob."""
        try:
            async with self.session.request(
                "HEAD",
                self._url("blobs", digest),
                what=f"look up blob {digest} in {self}",
                scope=self._scope(),
            ):
                return True
        except NotFound:
            return False

    async def read_blob(
        self, digest: str, offset: int, urls: Sequence[str] = ()
    ) -> AsyncIterator[tuple[int, bytes]]:
        """Pieces of a blob from ``offset`` on, each with the offset at which it lies.

        One request, without retries beyond the first answer: a registry that ignores the range
        starts again at 0, which the offsets tell. ``urls`` are a foreign layer's own places; they
        are asked when the registry does not have the blob.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        places = [self._url("blobs", digest), *(u for u in urls if u.startswith("https://"))]
        for number, place in enumerate(places):
            try:
                async with self.session.request(
                    "GET",
                    place,
                    what=f"download {digest} from {self}",
                    scope=self._scope() if number == 0 else "",
                    headers=headers,
                    accept=frozenset({416}),
                ) as response:
                    if response.status == 416:
                        return
                    at = _first_byte(response.headers.get("Content-Range")) or 0
                    if response.status != 206:
                        at = 0
                    async for piece in response.content.iter_any():
                        yield at, piece
                        at += len(piece)
                return
            except NotFound:
                if number == len(places) - 1:
                    raise

    async def small_blob(self, digest: str, size: int) -> bytes:
        """A config or another small blob in whole, its digest checked."""
        what = f"get blob {digest} of {self}"
        if size > MAX_MANIFEST_BYTES:
            raise InvalidParameter(f"{what}: it has more than {MAX_MANIFEST_BYTES >> 20} MiB")
        _, data = await self.session.document(
            self._url("blobs", digest), MAX_MANIFEST_BYTES, what=what, scope=self._scope()
        )
        if digest_of(data, digest) != digest:
            raise InvalidParameter(f"{what}: the content does not have this digest")
        return data

    async def mount_blob(self, digest: str, source: str) -> str | None:
        """Take a blob over from the repository ``source`` of the same registry.

        Returns None when that is done, or else the location of an upload to be filled.
        """
        path = self._url("blobs", f"uploads/?mount={quote(digest, safe=':')}&from={quote(source)}")
        async with self.session.request(
            "POST",
            path,
            what=f"mount blob {digest} from {source} into {self}",
            scope=self._scope(f"repository:{source}:pull"),
            data=b"",
        ) as response:
            if response.status == 201:
                return None
            return self._location(str(response.url), response.headers.get("Location", ""))

    async def start_upload(self) -> str:
        """Begin an upload; returns its location."""
        async with self.session.request(
            "POST",
            self._url("blobs", "uploads/"),
            what=f"start upload to {self}",
            scope=self._scope(),
            data=b"",
        ) as response:
            return self._location(str(response.url), response.headers.get("Location", ""))

    async def send_chunk(self, location: str, offset: int, data: bytes) -> tuple[str, int]:
        """Send bytes at ``offset``; returns the next location and the offset reached.

        A registry that holds another offset says so (416) and is believed.
        """
        last = offset + len(data) - 1
        async with self.session.request(
            "PATCH",
            location,
            what=f"upload to {self}",
            scope=self._scope(),
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{offset}-{last}",
            },
            data=data,
            accept=frozenset({416}),
            attempts=1,
        ) as response:
            held = _last_byte(response.headers.get("Range"))
            following = response.headers.get("Location", "")
            next_location = self._location(str(response.url), following) if following else location
            if held is not None:
                return next_location, held + 1
            return next_location, offset if response.status == 416 else last + 1

    async def upload_status(self, location: str) -> tuple[str, int]:
        """Where an interrupted upload stands: its location and offset."""
        async with self.session.request(
            "GET", location, what=f"look up upload to {self}", scope=self._scope()
        ) as response:
            held = _last_byte(response.headers.get("Range"))
            following = response.headers.get("Location", "")
            place = self._location(str(response.url), following) if following else location
            return place, 0 if held is None else held + 1

    async def finish_upload(self, location: str, digest: str) -> None:
        """Close an upload: the registry checks the digest.

        When the answer gets lost and is asked for again, the upload has gone and the blob is there.
        """
        separator = "&" if "?" in location else "?"
        try:
            async with self.session.request(
                "PUT",
                f"{location}{separator}digest={quote(digest, safe=':')}",
                what=f"finish upload of {digest} to {self}",
                scope=self._scope(),
                headers={"Content-Type": "application/octet-stream"},
                data=b"",
            ):
                return
        except NotFound:
            if not await self.has_blob(digest):
                raise

    def _location(self, base: str, location: str) -> str:
        if not location:
            raise WherryError(f"upload to {self}: the registry names no location")
        return joined(base, location)


def digest_of(data: bytes, like: str | None = None) -> str:
    """The digest of ``data`` by the algorithm of ``like`` (default sha256)."""
    algorithm = like.partition(":")[0] if like else "sha256"
    if algorithm not in ("sha256", "sha512"):
        raise InvalidParameter(f"digest algorithm {algorithm!r} is not supported")
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def _first_byte(content_range: str | None) -> int | None:
    """Start of ``bytes 100-199/200``."""
    words = (content_range or "").removeprefix("bytes ").partition("-")[0]
    return whole_number(words)


def _last_byte(held: str | None) -> int | None:
    """End of an upload's ``Range: 0-99``; None when it says nothing. ``0-0`` means empty or one
    byte, which registries do not tell apart: it is taken as empty."""
    words = (held or "").removeprefix("bytes=").partition("-")[2]
    number = whole_number(words)
    return -1 if number == 0 else number
