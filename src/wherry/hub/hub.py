"""The hub's parts, put together once and handed to every handler."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from wherry.errors import Unavailable
from wherry.hub.accounts.identify import Identifier
from wherry.hub.accounts.tokens import TokenIssuer
from wherry.hub.config import HubConfig
from wherry.hub.database import Database
from wherry.hub.digests import Digests
from wherry.hub.distribution.names import Hasher
from wherry.hub.metrics import Metrics
from wherry.hub.migrations.run import migrate
from wherry.hub.outbound import check_url
from wherry.hub.pulls import PullCounter
from wherry.hub.records import organisations, repositories
from wherry.hub.records.users import check_name
from wherry.hub.rendering import Renderer
from wherry.hub.space import Reserve, is_full
from wherry.hub.storage.base import BlobStorage
from wherry.hub.storage.files import FileStorage

log = logging.getLogger("wherry.hub")
_PROGRESS = 1000


@dataclass
class Progress:
    """The hash of an upload's bytes so far, in the process that received them all."""

    size: int
    hasher: Hasher


class Hub:
    """Database, storage, keys and counters of one process."""

    def __init__(
        self,
        config: HubConfig,
        metrics: Metrics | None = None,
        digests: Digests | None = None,
    ) -> None:
        """``metrics`` and ``digests`` are shared by the processes of one port."""
        self.config = config
        for upstream in config.upstreams:
            check_name(upstream.owner)
            check_url(upstream.url, private=True)
        self.reserve = Reserve(_database_folder(config))
        try:
            config.data.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.db = self._open_database()
            self._warn()
        except OSError as error:
            raise Unavailable(f"cannot use the data folder {config.data}: {error}") from error
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise Unavailable(f"cannot open the database: {reason}") from error
        self.storage = make_storage(config)
        self.reserve.hold()
        self.issuer = TokenIssuer(self.db, config.key_lifetime, config.token_lifetime)
        self.identifier = Identifier(self.db, self.issuer)
        self.metrics = metrics or Metrics()
        self.digests = digests or Digests()
        self.pulls = PullCounter(self.db)
        self.renderer = Renderer(self.db)
        self.progress: OrderedDict[str, Progress] = OrderedDict()
        self._tasks: set[asyncio.Task[Any]] = set()

    def _warn(self) -> None:
        """Says what an older configuration or version left that a person must decide."""
        for upstream in filter(self.config.caches_privately, self.config.upstreams):
            count = self.db.run(repositories.count_public, upstream.owner)
            if count:
                log.warning(
                    "%d cached repositories of %s are public, though new ones will be private:"
                    " make them private in their settings, or set private = false",
                    count,
                    upstream.owner,
                )
        for owner in self.db.run(organisations.taken, self.config.reserved_owners):
            log.warning(
                "the name %s should be the hub's own, but people have it: what they push there is"
                " taken for official or for the upstream's; take it over on the administration"
                " page, or configure another name",
                owner.name,
            )

    def _open_database(self) -> Database:
        """Opens and migrates the database; on a full disk with what the reserve held."""
        try:
            return _migrated(self.config, self.reserve)
        except (OSError, SQLAlchemyError) as error:
            if not is_full(error) or not self.reserve.release():
                raise
        return _migrated(self.config, self.reserve)

    def remember(self, upload: str, progress: Progress) -> None:
        """Keeps an upload's hash for the next request that goes on with it."""
        self.progress[upload] = progress
        if len(self.progress) > _PROGRESS:
            self.progress.popitem(last=False)

    def background(self, work: Any) -> None:
        """Runs a coroutine until it ends or the hub closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stops background work, writes what is counted in memory, closes the database."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.renderer.close()
        await self.pulls.flush()
        self.db.close()


def _migrated(config: HubConfig, reserve: Reserve) -> Database:
    db = Database(config.database_url, reserve)
    try:
        with db.exclusive():
            migrate(db)
            db.run(organisations.reserve, config.reserved_owners)
    except BaseException:
        db.close()
        raise
    return db


def _database_folder(config: HubConfig) -> Path:
    """Where a full disk hurts: beside the SQLite file, or in the data folder."""
    url = make_url(config.database_url)
    local = url.get_backend_name() == "sqlite" and url.database
    return Path(str(url.database)).parent if local else config.data


def make_storage(config: HubConfig) -> BlobStorage:
    """The storage that the configuration asks for."""
    if config.s3 is not None:
        from wherry.hub.storage.s3 import S3Storage  # boto3 takes a quarter second to import

        return S3Storage(config.s3)
    return FileStorage(config.data)


HUB = web.AppKey("hub", Hub)


def hub_of(request: web.Request) -> Hub:
    """The hub that serves ``request``."""
    return request.app[HUB]
