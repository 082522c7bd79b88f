"""The command ``wherry hub``: serve, and the operator's commands."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from wherry.errors import NotFound, WherryError
from wherry.hub import config as configuration
from wherry.hub import logs
from wherry.hub.config import HubConfig, S3Config

if TYPE_CHECKING:
    from wherry.hub.hub import Hub

Outcome = TypeVar("Outcome")


def main(argv: list[str] | None = None) -> int:
    """Runs ``wherry hub ARGV`` and returns the exit code."""
    parser = _parser()
    options = parser.parse_args(sys.argv[1:] if argv is None else argv)
    try:
        config = _config(options)
        logs.configure(config.log_format, verbose=options.verbose)
        return _COMMANDS[options.command or "serve"](config, options)
    except WherryError as error:
        print(f"wherry hub: {error}", file=sys.stderr)
        return 1


def _serve(config: HubConfig, _options: argparse.Namespace) -> int:
    from wherry.hub import serve

    return serve.run(config)


def _backup(config: HubConfig, options: argparse.Namespace) -> int:
    from wherry.hub import backup

    count = _with_hub(config, lambda hub: backup.backup(hub, options.file))
    print(f"{count} blobs written to {options.file}")
    return 0


def _restore(config: HubConfig, options: argparse.Namespace) -> int:
    from wherry.hub import backup

    count = _with_hub(config, lambda hub: backup.restore(hub, options.file))
    print(f"{count} blobs restored")
    return 0


def _collect(config: HubConfig, options: argparse.Namespace) -> int:
    from wherry.hub import collector

    print(_with_hub(config, lambda hub: collector.collect(hub, sweep=True)).summary())
    return 0


def _user(config: HubConfig, options: argparse.Namespace) -> int:
    """Adds an account, or sets the password of an existing one."""
    from wherry.hub.accounts.passwords import check_strength, hash_password
    from wherry.hub.records import users

    password = sys.stdin.readline().rstrip("\n") if options.password_stdin else getpass.getpass()
    check_strength(password)
    hashed = hash_password(password)

    async def store(hub: Hub) -> str:
        user = await hub.db.read(users.by_name, options.name)
        if user is None:
            await hub.db.write(users.create, options.name, hashed, admin=options.admin)
            return "added"
        admin = user.admin or options.admin
        await hub.db.write(users.change, user.id, password=hashed, admin=admin)
        await hub.db.write(users.remove_sessions, user.id)
        return "changed"

    print(f"{options.name}: {_with_hub(config, store)}")
    return 0


def _quota(config: HubConfig, options: argparse.Namespace) -> int:
    """Sets how much an owner may store, or says it."""
    from wherry.hub.records import quotas

    async def work(hub: Hub) -> quotas.Usage:
        if options.size is not None:
            size = quotas.parse_quota(options.size)
            await hub.db.write(quotas.set_limit, options.owner, size)
        found = await hub.db.read(quotas.usage, options.owner)
        if found is None:
            raise NotFound(f"there is no owner {options.owner}")
        return found

    usage = _with_hub(config, work)
    own = {None: "default", 0: "none"}.get(usage.quota, f"{usage.quota} bytes")
    print(f"{usage.owner}: quota {own}, {usage.stored} bytes stored, {usage.arriving} arriving")
    return 0


def _with_hub(config: HubConfig, work: Callable[[Hub], Awaitable[Outcome]]) -> Outcome:
    from wherry.hub.hub import Hub

    async def run() -> Outcome:
        hub = Hub(config)
        try:
            return await work(hub)
        finally:
            await hub.close()

    return asyncio.run(run())


_COMMANDS: dict[str, Callable[[HubConfig, argparse.Namespace], int]] = {
    "serve": _serve,
    "backup": _backup,
    "restore": _restore,
    "collect": _collect,
    "quota": _quota,
    "user": _user,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wherry hub", description="A registry, an index and a web site in one process."
    )
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="TOML file with any of the settings")
    add("--listen", metavar="HOST:PORT", help="address (default 127.0.0.1:5000)")
    add("--data", type=Path, metavar="DIR", help="folder of database and blobs")
    add("--db", metavar="URL", help="SQLite or PostgreSQL URL")
    add("--s3", metavar="BUCKET", help="keep blobs in this S3 bucket")
    add("--s3-endpoint", metavar="URL", default="", help="S3 server, if not AWS")
    add("--external-url", metavar="URL", help="URL that clients use")
    add("--tls-cert", metavar="FILE", help="certificate chain (PEM)")
    add("--tls-key", metavar="FILE", help="private key (PEM)")
    add("--workers", type=int, metavar="N", help="processes (default 1)")
    add("--open", action="store_true", default=None, help="let everybody push and delete")
    add("--demo", action="store_true", default=None, help="fill an empty hub with demo images")
    add("--log-format", choices=("json", "text"))
    add("--verbose", action="store_true", help="log more")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="run the hub (the default)")
    for name, text in (
        ("backup", "write everything to one tar file, while the hub runs on"),
        ("restore", "fill an empty hub from a backup"),
    ):
        commands.add_parser(name, help=text).add_argument("file", type=Path)
    commands.add_parser("collect", help="collect garbage now, idle uploads and orphaned files too")
    quota = commands.add_parser("quota", help="say or set how much an owner may store")
    quota.add_argument("owner")
    quota.add_argument("size", nargs="?", help="such as 20G; none or default")
    user = commands.add_parser("user", help="add an account or set its password")
    user.add_argument("name")
    user.add_argument("--admin", action="store_true", help="let it administer the hub")
    user.add_argument("--password-stdin", action="store_true", help="read the password from stdin")
    return parser


def _config(options: argparse.Namespace) -> HubConfig:
    host = port = None
    if options.listen:
        host, port = configuration.parse_listen(options.listen)
    s3 = S3Config(options.s3, options.s3_endpoint) if options.s3 else None
    return configuration.load(
        options.config,
        host=host,
        port=port,
        data=options.data,
        database=options.db,
        s3=s3,
        external_url=options.external_url,
        tls_certificate=options.tls_cert,
        tls_key=options.tls_key,
        workers=options.workers,
        open=options.open,
        demo=options.demo,
        log_format=options.log_format,
    )
