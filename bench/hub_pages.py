"""Server time of the hub's pages with many repositories.

    python bench/hub_pages.py [--repositories 10000]

Prints for each page the median and the slowest of 20 requests, and the processor time of one
request (server and client together), in milliseconds: the last is true on a busy machine too.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp
from aiohttp.test_utils import TestServer
from sqlalchemy import Connection

from wherry.hub import demo
from wherry.hub.app import make_app
from wherry.hub.config import HubConfig
from wherry.hub.hub import HUB
from wherry.hub.records import repositories

_WORDS = (
    "web", "data", "cache", "queue", "python", "php", "mysql", "redis", "proxy", "mail", "build",
    "test", "tool", "site", "mirror",
)  # fmt: skip
_PAGES = (
    "/", "/search", "/search?q=mysql", "/search?q=web+tool&page=3", "/search?q=m", "/r/brice/mysql",
    "/r/brice/mysql/-/tags", "/r/brice/mysql/-/image/latest",
    "/r/brice/mysql/-/compare?from=10.6&to=11.4", "/u/brice", "/v1/search?q=mysql&n=100",
    "/v2/_catalog?n=100", "/v2/brice/mysql/tags/list", "/v2/brice/mysql/manifests/latest",
)  # fmt: skip


def fill(conn: Connection, count: int) -> None:
    """Adds repositories with varied names, texts, stars and pulls."""
    chance = random.Random(1)
    for number in range(count):
        words = chance.sample(_WORDS, 3)
        name = f"owner{number % 500}/{words[0]}-{words[1]}-{number}"
        made = repositories.create(conn, name, private=False, description=" ".join(words))
        repositories.change(
            conn,
            made.id,
            readme=" ".join(chance.choices(_WORDS, k=200)),
            stars=chance.randrange(100),
            pulls=chance.randrange(10**6),
            pushed=chance.randrange(10**9),
        )


async def measure(count: int, folder: Path) -> None:
    """Fills a hub and times its pages, one after the other."""
    app = make_app(HubConfig(data=folder / "hub"))
    logging.getLogger("wherry.hub").setLevel(logging.WARNING)
    await demo.seed(app[HUB])
    await app[HUB].db.write(fill, count)
    server = TestServer(app)
    await server.start_server()
    async with aiohttp.ClientSession() as session:
        for path in _PAGES:
            times = []
            cpu = time.process_time()
            for _ in range(20):
                started = time.perf_counter()
                async with session.get(server.make_url(path)) as answer:
                    assert answer.status == 200, (path, answer.status)
                    await answer.read()
                times.append((time.perf_counter() - started) * 1000)
            cpu = (time.process_time() - cpu) * 1000 / len(times)
            print(
                f"{statistics.median(times):7.1f} {max(times):7.1f} {cpu:7.1f} ms  {path}",
                flush=True,
            )
    await server.close()


def main() -> None:
    """Runs the measurement in a temporary folder."""
    parser = argparse.ArgumentParser(description="Server time of the hub's pages.")
    parser.add_argument("--repositories", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hub-pages-") as folder:
        asyncio.run(measure(options.repositories, Path(folder)))


if __name__ == "__main__":
    main()
