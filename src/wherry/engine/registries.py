"""What an engine does with registries: pull, push, search, log in, look at."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from wherry.engine.config.account import AuthConfig
from wherry.engine.config.codec import decode, encode
from wherry.engine.filters import Filters
from wherry.errors import InvalidParameter, NotFound, Unauthorized
from wherry.images import config as configs
from wherry.images import manifest as manifests
from wherry.images import reference as references
from wherry.images.manifest import Index
from wherry.images.platforms import Platform, parse_platform
from wherry.images.reference import Reference
from wherry.images.store import Image, ImageStore
from wherry.numbers import whole_number
from wherry.registry.credentials import Credentials
from wherry.registry.failures import login_refused
from wherry.registry.hosts import DOCKER_DOMAIN, DOCKER_INDEX, RegistryOptions
from wherry.registry.pull import Puller
from wherry.registry.push import Pusher
from wherry.registry.repository import Repository
from wherry.registry.search import MAX_RESULTS, search
from wherry.registry.session import open_sessions
from wherry.registry.transfer import LayerBlobs, Partials
from wherry.storage.statedb import StateDB

View = dict[str, Any]
Emit = Callable[[Mapping[str, Any]], None]


class Registries:
    """The registries as an engine sees them.

    ``options`` are the daemon's settings; ``folder`` keeps partial downloads.
    """

    def __init__(
        self,
        db: StateDB,
        store: ImageStore,
        folder: str,
        options: RegistryOptions,
        *,
        downloads: int,
        uploads: int,
    ) -> None:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        known = LayerBlobs(db)
        self._store = store
        self._options = options
        self._puller = Puller(store, known, Partials(folder), options, downloads)
        self._pusher = Pusher(store, known, folder, options, uploads)

    def reload(self, options: RegistryOptions, *, downloads: int, uploads: int) -> None:
        """Use other settings from the next request on."""
        self._options = options
        self._puller = replace(self._puller, options=options, parallel=downloads)
        self._pusher = replace(self._pusher, options=options, parallel=uploads)

    async def pull(
        self,
        reference: Reference,
        emit: Emit,
        *,
        platform: str | None = None,
        auth: Mapping[str, Any] | None = None,
    ) -> Image:
        """Fetch the image of a tag or digest; see `Puller.pull`."""
        wanted: Platform | None = parse_platform(platform) if platform else None
        credentials = Credentials.from_header(auth)
        return await self._puller.pull(reference, emit, credentials=credentials, platform=wanted)

    async def pull_all(
        self,
        repository: Reference,
        emit: Emit,
        *,
        platform: str | None = None,
        auth: Mapping[str, Any] | None = None,
    ) -> list[Image]:
        """Fetch every tag of a repository (``docker pull --all-tags``)."""
        tags: list[str] = []
        credentials = Credentials.from_header(auth)
        async for session in open_sessions(repository.domain, self._options, credentials):
            tags = await Repository(session, repository.path).tags()
            break
        if not tags:
            raise NotFound(f"no tags found for {repository.familiar_name}")
        return [
            await self.pull(
                references.with_tag(repository.name, tag), emit, platform=platform, auth=auth
            )
            for tag in tags
        ]

    async def push(
        self, reference: Reference, emit: Emit, *, auth: Mapping[str, Any] | None = None
    ) -> str:
        """Send the image of a tag; returns the manifest's digest. See `Pusher.push`."""
        return await self._pusher.push(reference, emit, credentials=Credentials.from_header(auth))

    async def search(
        self, term: str, *, limit: int, filters: Filters, auth: Mapping[str, Any] | None = None
    ) -> list[View]:
        """``docker search``; raises InvalidParameter for a bad limit or filter."""
        if not term:
            raise InvalidParameter("invalid search term: it is empty")
        if not 0 <= limit <= MAX_RESULTS:
            raise InvalidParameter(f"limit {limit} is outside the range of [1, {MAX_RESULTS}]")
        filters.allow({"is-automated", "is-official", "stars"})
        least = _least_stars(filters)
        official = filters.flag("is-official", False) if "is-official" in filters else None
        automated = filters.flag("is-automated", False) if "is-automated" in filters else None
        found = await search(term, limit, self._options, Credentials.from_header(auth))
        return [
            one.view()
            for one in found
            if one.stars >= least
            and official in (None, one.official)
            and automated in (None, one.automated)
        ]

    async def check_account(self, body: Mapping[str, Any]) -> View:
        """``docker login``: try the account at its registry.

        Raises Unauthorized, InvalidParameter.
        """
        account = decode(AuthConfig, body)
        address = account.server_address or DOCKER_INDEX
        host = address.removeprefix("https://").removeprefix("http://").split("/", 1)[0]
        domain = DOCKER_DOMAIN if host in (DOCKER_INDEX, DOCKER_DOMAIN) else host
        credentials = Credentials.from_header(encode(account))
        try:
            async for _ in open_sessions(domain, self._options, credentials, push=True):
                break
        except Unauthorized as error:
            raise login_refused(address, error) from None
        return {"Status": "Login Succeeded", "IdentityToken": ""}

    async def inspect(self, name: str, *, auth: Mapping[str, Any] | None = None) -> View:
        """Descriptor and platforms of an image in its registry (``GET /distribution``)."""
        reference = references.parse(name).tagged()
        wanted = reference.digest or reference.tag or ""
        credentials = Credentials.from_header(auth)
        async for session in open_sessions(reference.domain, self._options, credentials):
            repository = Repository(session, reference.path)
            sent = await repository.manifest(wanted)
            manifest = manifests.parse(sent.data, sent.media_type)
            return {
                "Descriptor": {
                    "mediaType": manifest.media_type,
                    "digest": sent.digest,
                    "size": len(sent.data),
                },
                "Platforms": await _platforms(repository, manifest),
            }
        raise NotFound(f"no registry has {name}")


async def _platforms(repository: Repository, manifest: manifests.Manifest | Index) -> list[View]:
    if isinstance(manifest, Index):
        offered = [item.platform for item in manifest.manifests]
        return [_platform(one) for one in offered if one is not None]
    config = await repository.small_blob(manifest.config.digest, manifest.config.size)
    parsed = await asyncio.to_thread(configs.parse_object, config, "image config")
    return [
        _platform(
            Platform(
                str(parsed.get("os", "")),
                str(parsed.get("architecture", "")),
                str(parsed.get("variant", "")),
            )
        )
    ]


def _platform(platform: Platform) -> View:
    view = {"architecture": platform.architecture, "os": platform.os}
    return view | ({"variant": platform.variant} if platform.variant else {})


def _least_stars(filters: Filters) -> int:
    values = filters.get("stars")
    if not values:
        return 0
    numbers = [number for value in values if (number := whole_number(value)) is not None]
    if len(numbers) < len(values):
        raise InvalidParameter(f"invalid filter 'stars={values[0]}'")
    return max(numbers)
