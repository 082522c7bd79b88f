"""``wherry daemon``: options, PID file, engine, sockets, signals."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Coroutine, Sequence
from typing import Any, NoReturn, TypeVar

from wherry import __version__
from wherry.api import journal, loopwatch, pidfile
from wherry.api.connections import limits_of_process
from wherry.api.options import load, usage
from wherry.api.origin import HostCheck
from wherry.api.serve import Address, Listeners, parse_address
from wherry.api.settings import engine_config
from wherry.api.tls import TLSFiles
from wherry.errors import InvalidParameter, KernelError, WherryError
from wherry.linux import probe, process, rlimits

log = logging.getLogger("wherry.daemon")

Opened = TypeVar("Opened")
_M_ARENA_MAX = -8  # mallopt(3)
_LAST_THREADS = 5.0  # seconds that threads have to end in


def main(arguments: Sequence[str]) -> int:
    """Run the daemon until it is told to end; returns the exit code."""
    if any(word in ("-h", "--help") for word in arguments):
        sys.stdout.write(usage())
        return 0
    try:
        options = load(arguments)
        if options["version"]:
            print(f"Wherry version {__version__}")
            return 0
        addresses, tls = listening(options)
        hosts = host_check(options["allowed-host"], addresses)
        config = engine_config(options)
    except WherryError as error:
        return _fail(str(error))
    if options["validate"]:
        print("configuration OK")
        return 0
    if os.geteuid() != 0:
        return _fail(
            "the engine needs root to make containers: run it as root (sudo wherry daemon)"
        )
    journal.start("debug" if options["debug"] else options["log-level"], options["log-format"])
    if options["selinux-enabled"] and not probe.selinux():
        log.warning("SELinux was asked for and cannot be enabled: this host does not have it")
    try:
        rlimits.raise_open_files()
        _adjust_oom_score(options["oom-score-adjust"])
        pidfile.write(options["pidfile"])
        try:
            asyncio.run(_run(arguments, options, config, addresses, tls, hosts))
            _join_threads()
        finally:
            pidfile.remove(options["pidfile"])
    except WherryError as error:
        return _fail(f"failed to start daemon: {error}")
    return 0


def listening(options: dict[str, Any]) -> tuple[list[Address], TLSFiles | None]:
    """Where to listen and with which certificate; raises InvalidParameter."""
    if not journal.is_level(options["log-level"]):
        raise InvalidParameter(f"unable to parse logging level: {options['log-level']}")
    tls = None
    if options["tlsverify"] or options["tls"]:
        folder = os.environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")
        tls = TLSFiles(
            certificate=options["tlscert"] or f"{folder}/cert.pem",
            key=options["tlskey"] or f"{folder}/key.pem",
            ca=(options["tlscacert"] or f"{folder}/ca.pem") if options["tlsverify"] else None,
        )
    hosts = options["host"] or ["unix://"]
    return [parse_address(text, tls=tls is not None) for text in hosts], tls


def host_check(names: Sequence[str], addresses: Sequence[Address]) -> HostCheck:
    """What requests over TCP may be addressed to: names given, and those listened at.

    Raises InvalidParameter.
    """
    listened = [address.path for address in addresses if address.kind == "tcp" and address.path]
    return HostCheck([*names, *(name for name in listened if ":" not in name)])


async def _run(
    arguments: Sequence[str],
    options: dict[str, Any],
    config: Any,
    addresses: list[Address],
    tls: TLSFiles | None,
    hosts: HostCheck,
) -> None:
    process.heed_signals()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    from wherry.engine.engine import Engine  # takes a while: signals are heard meanwhile

    await asyncio.sleep(0)
    if stop.is_set():
        return
    engine = await _opened(Engine.open(config), stop)
    if engine is None:
        _end_at_once(options)
    try:
        from wherry.api.app import Api
        from wherry.api.routes import ALL

        api = Api(engine, ALL, experimental=options["experimental"], hosts=hosts)
        server = api.server()
        listeners = Listeners(server.connection, limits_of_process(len(addresses)))
        loop.add_signal_handler(signal.SIGHUP, _reload, engine, arguments)
        try:
            for address in addresses:
                await listeners.open(address, tls=tls, group=options["group"])
            # What has been loaded stays: the collector need not look at it again.
            gc.collect()
            gc.freeze()
            _give_back_memory()
            engine.adopting.add_done_callback(lambda _: gc.freeze())
            if (longest := loopwatch.limit()) is not None:
                loopwatch.watch(longest)
            _notify("READY=1")
            log.info("Daemon has completed initialization")
            await stop.wait()
            log.info("Processing signal 'terminated'")
            _notify("STOPPING=1")
        finally:
            listeners.close()
            engine.events.end_subscriptions()
            await server.shutdown(1)
    finally:
        await engine.close()


async def _opened(opening: Coroutine[Any, Any, Opened], stop: asyncio.Event) -> Opened | None:
    """What comes of ``opening``; None when it was given up because of ``stop``."""
    task, stopping = asyncio.ensure_future(opening), asyncio.ensure_future(stop.wait())
    await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return None
    return await task


def _end_at_once(options: dict[str, Any]) -> NoReturn:
    """End without waiting for threads that still repair or sweep: they may end at any moment."""
    log.info("Processing signal 'terminated' before the start was complete")
    pidfile.remove(options["pidfile"])
    sys.stderr.flush()
    os._exit(0)


def _reload(engine: Any, arguments: Sequence[str]) -> None:
    """SIGHUP: take over what may change while running; a broken file changes nothing."""
    try:
        options = load(arguments)
        config = engine_config(options)
        if not journal.is_level(options["log-level"]):
            raise InvalidParameter(f"unable to parse logging level: {options['log-level']}")
    except WherryError as error:
        log.error("reload: %s", error)
        return
    journal.set_level("debug" if options["debug"] else options["log-level"])
    engine.reload(config)
    log.info("Reloaded configuration")


def _adjust_oom_score(score: int) -> None:
    """How soon the kernel ends the daemon when memory is short, proc_pid_oom_score_adj(5).

    Raises KernelError, for one where CAP_SYS_RESOURCE is missing.
    """
    if score == 0:
        return
    path = "/proc/self/oom_score_adj"
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(str(score))
    except OSError as error:
        raise KernelError("set oom-score-adjust", path, error.errno or 0) from error


def _join_threads() -> None:
    """Let every thread end before the interpreter does, asyncio's that wait for children too.

    One that comes back into an interpreter that is being taken apart can crash it.
    """
    deadline = time.monotonic() + _LAST_THREADS
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))


def _give_back_memory() -> None:
    """Return what start-up has freed, and let threads share one heap, malloc_trim(3)."""
    libc = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):  # another C library than glibc
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.malloc_trim(0)


def _notify(state: str) -> None:
    """Tell a service manager that started the daemon, sd_notify(3)."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)


def _fail(text: str) -> int:
    print(f"wherry daemon: {text}", file=sys.stderr)
    return 1
