"""Body of ``POST /auth`` (API 1.51, AuthConfig)."""

from __future__ import annotations

from dataclasses import dataclass

from wherry.engine.config.codec import TEXT, api


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """An account at a registry."""

    username: str = api("username", TEXT)
    password: str = api("password", TEXT)
    server_address: str = api("serveraddress", TEXT)
    identity_token: str = api("identitytoken", TEXT)
    registry_token: str = api("registrytoken", TEXT)
