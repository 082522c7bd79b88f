"""The hub's configuration: defaults, a TOML file, command-line flags on top."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from wherry.errors import InvalidParameter

DAY = 86_400


@dataclass(frozen=True)
class S3Config:
    """A bucket that holds the blobs; credentials default to the AWS environment chain."""

    bucket: str
    endpoint: str = ""
    region: str = "us-east-1"
    access_key: str = ""
    secret_key: str = ""
    prefix: str = ""
    redirect: bool = False


@dataclass(frozen=True)
class UpstreamConfig:
    """A registry whose images are cached under an owner of this hub.

    ``private``: whether what is cached is; None for private when the hub logs in over there.
    """

    owner: str
    url: str
    username: str = ""
    password: str = ""
    fresh_seconds: int = 300
    private: bool | None = None


@dataclass(frozen=True)
class HubConfig:
    """Everything an operator can set. Times are seconds, sizes are bytes."""

    data: Path = Path("/var/lib/wherry-hub")
    host: str = "127.0.0.1"
    port: int = 5000
    database: str = ""
    external_url: str = ""
    title: str = "Wherry Hub"
    tls_certificate: str = ""
    tls_key: str = ""
    workers: int = 1
    open: bool = False
    demo: bool = False
    sign_up: bool = True
    anonymous_pull: bool = True
    private_by_default: bool = False
    sparse_manifests: bool = False
    trusted_proxies: tuple[str, ...] = ()
    token_lifetime: int = 300
    key_lifetime: int = 30 * DAY
    session_lifetime: int = 30 * DAY
    upload_lifetime: int = 7 * DAY
    collect_interval: int = 900
    collect_grace: int = DAY
    trash_lifetime: int = 14 * DAY
    audit_lifetime: int = 365 * DAY
    owner_quota: int = 0
    owner_uploads: int = 500
    metrics_token: str = ""
    max_manifest: int = 4 * 1024 * 1024
    webhooks_to_private_addresses: bool = False
    log_format: str = "json"
    s3: S3Config | None = None
    upstreams: tuple[UpstreamConfig, ...] = ()

    def caches_privately(self, upstream: UpstreamConfig) -> bool:
        """Whether repositories of that upstream are private here."""
        if upstream.private is not None:
            return upstream.private
        return self.private_by_default or bool(upstream.username)

    @property
    def reserved_owners(self) -> tuple[str, ...]:
        """Owners that belong to the hub: of the official images, and of each upstream's."""
        return ("library", *(upstream.owner for upstream in self.upstreams))

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL: as configured, or a SQLite file in the data folder."""
        return self.database or f"sqlite:///{self.data / 'hub.db'}"


def load(path: Path | None, **flags: Any) -> HubConfig:
    """Reads ``path`` (TOML) and applies ``flags`` that are not None.

    Raises InvalidParameter for an unreadable file, unknown keys or wrong types.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise InvalidParameter(f"configuration file {path}: {error}") from error
    known = {field.name for field in fields(HubConfig)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise InvalidParameter(f"configuration file {path}: unknown keys: {', '.join(unknown)}")
    values.update({key: value for key, value in flags.items() if value is not None})
    try:
        return replace(HubConfig(), **_convert(values))
    except TypeError as error:
        raise InvalidParameter(f"configuration: {error}") from error


def _convert(values: dict[str, Any]) -> dict[str, Any]:
    """Turns TOML's strings, lists and tables into the typed fields."""
    converted = dict(values)
    if "data" in converted:
        converted["data"] = Path(converted["data"])
    if isinstance(converted.get("s3"), dict):
        converted["s3"] = S3Config(**converted["s3"])
    if "upstreams" in converted:
        converted["upstreams"] = tuple(
            UpstreamConfig(**table) if isinstance(table, dict) else table
            for table in converted["upstreams"]
        )
    if "trusted_proxies" in converted:
        converted["trusted_proxies"] = tuple(converted["trusted_proxies"])
    return converted


def parse_listen(text: str) -> tuple[str, int]:
    """Splits ``HOST:PORT``; an empty host means every address. Raises InvalidParameter."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InvalidParameter(f"invalid listen address {text!r}: want HOST:PORT")
    return host.strip("[]") or "0.0.0.0", int(port)
