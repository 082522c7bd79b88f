"""Runs the hub: one process, or several that share a port."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import ssl
import sys

from aiohttp import web

from wherry.errors import InvalidParameter, Unavailable
from wherry.hub import demo
from wherry.hub.app import make_app
from wherry.hub.config import HubConfig
from wherry.hub.digests import Digests
from wherry.hub.hub import Hub
from wherry.hub.metrics import Board, Metrics

log = logging.getLogger("wherry.hub")
_READ_BUFFER = 256 * 1024
_MALLOC = {-8: 2, -3: 128 * 1024, -1: 128 * 1024}
"""mallopt(3): M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD.

By itself glibc makes an arena for every thread and raises its thresholds to the largest buffer
that was ever freed, so that what fifty pushes needed at once is never given back.
"""


def run(config: HubConfig) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit code."""
    _bound_memory()
    listener = _listen(config)
    context = _tls(config)
    if config.demo:
        asyncio.run(_seed(config))
    if config.workers <= 1:
        asyncio.run(_serve(config, listener, context, Metrics(), Digests()))
        return 0
    return _supervise(config, listener, context)


def _bound_memory() -> None:
    """Makes glibc give back what it does not need; other C libraries have no mallopt."""
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in _MALLOC.items():
            mallopt(option, value)


async def _seed(config: HubConfig) -> None:
    hub = Hub(config)
    try:
        if await demo.seed(hub):
            log.info("demo accounts: %s; password: %s", ", ".join(demo.PEOPLE), demo.PASSWORD)
    finally:
        await hub.close()


def _listen(config: HubConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except OSError as error:
        raise Unavailable(f"cannot listen on {config.host}:{config.port}: {error}") from error
    listener.listen(1024)
    listener.setblocking(False)
    return listener


def _tls(config: HubConfig) -> ssl.SSLContext | None:
    if not config.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.tls_certificate, config.tls_key or None)
    except (OSError, ssl.SSLError) as error:
        raise InvalidParameter(f"cannot load {config.tls_certificate}: {error}") from error
    return context


async def _serve(
    config: HubConfig,
    listener: socket.socket,
    context: ssl.SSLContext | None,
    metrics: Metrics,
    digests: Digests,
) -> None:
    app = make_app(config, metrics, digests)
    runner = web.AppRunner(
        app, access_log=None, read_bufsize=_READ_BUFFER, shutdown_timeout=10, keepalive_timeout=75
    )
    await runner.setup()
    await web.SockSite(runner, listener, ssl_context=context).start()
    host, port = listener.getsockname()[:2]
    log.info("listening on %s://%s:%s", "https" if context else "http", host, port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    await runner.cleanup()


def _supervise(config: HubConfig, listener: socket.socket, context: ssl.SSLContext | None) -> int:
    """Forks the workers, which share the listening socket, and replaces those that die."""
    children: dict[int, int] = {}  # process id: its part of the metrics
    board, digests = Board(config.workers), Digests()
    stopping = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True
        for child in children:
            os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while not stopping or children:
        while not stopping and len(children) < config.workers:
            part = min(set(range(config.workers)) - set(children.values()))
            child = os.fork()
            if child == 0:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                code = 1
                try:
                    metrics = Metrics(board, part)
                    asyncio.run(_serve(config, listener, context, metrics, digests))
                    code = 0
                finally:
                    sys.stderr.flush()
                    os._exit(code)
            children[child] = part
        try:
            gone, status = os.wait()
        except InterruptedError:
            continue
        except ChildProcessError:
            break
        if children.pop(gone, None) is not None and not stopping:
            log.error("worker %d ended with status %d; starting another", gone, status)
    return 0
