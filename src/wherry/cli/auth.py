"""Credentials for registries: the configuration file, stores and helpers."""

from __future__ import annotations

import base64
import json

from wherry.cli.errors import CliError
from wherry.cli.references import DEFAULT_REGISTRY, INDEX_SERVER, auth_key, registry_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.config import ConfigFile

_TOKEN_USER = "<token>"


def _helper_for(config: ConfigFile, key: str) -> str:
    """Name of the credential helper that serves ``key``; empty for the plain file."""
    helpers = config.table("credHelpers")
    host = key.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return str(helpers.get(key) or helpers.get(host) or config.text("credsStore"))


def _run_helper(name: str, action: str, text: str) -> str:
    import subprocess

    program = f"docker-credential-{name}"
    try:
        done = subprocess.run(
            [program, action], input=text, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise CliError(
            f'error getting credentials - err: exec: "{program}": {error.strerror}, out: ``'
        ) from None
    output = done.stdout.strip()
    if done.returncode == 0:
        return output
    if "credentials not found" in output:
        return ""
    raise CliError(
        f"error getting credentials - err: exit status {done.returncode}, out: `{output}`"
    )


def _entry(config: ConfigFile, key: str) -> dict[str, str]:
    """The stored entry for a registry as an AuthConfig, empty when there is none."""
    helper = _helper_for(config, key)
    if helper:
        answer = _run_helper(helper, "get", key)
        if not answer:
            return {}
        found = json.loads(answer)
        if found.get("Username") == _TOKEN_USER:
            return {"identitytoken": found.get("Secret", ""), "serveraddress": key}
        return {
            "username": found.get("Username", ""),
            "password": found.get("Secret", ""),
            "serveraddress": key,
        }
    auths = config.table("auths")
    entry = auths.get(key)
    if entry is None:
        for name, value in auths.items():
            if _host(name) == _host(key):
                entry = value
                break
    return _decoded(entry, key) if entry else {}


def _host(name: str) -> str:
    return name.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _decoded(entry: dict[str, str], key: str) -> dict[str, str]:
    result = {name: value for name, value in entry.items() if name != "auth" and value}
    result["serveraddress"] = key
    if packed := entry.get("auth"):
        try:
            user, _, password = base64.b64decode(packed).decode().partition(":")
        except ValueError:
            raise CliError(f"invalid auth configuration file: entry {key}") from None
        result["username"] = user
        result["password"] = password.strip("\0")
    return result


def credentials(config: ConfigFile, registry: str) -> dict[str, str]:
    """The AuthConfig for a registry's host; empty when nobody has logged in."""
    return _entry(config, auth_key(registry))


def header(config: ConfigFile, reference: str) -> dict[str, str]:
    """``X-Registry-Auth`` for requests that concern an image's registry."""
    return {"X-Registry-Auth": encode(credentials(config, registry_of(reference)))}


def encode(auth: dict[str, str]) -> str:
    """An AuthConfig in the form of the header."""
    return base64.urlsafe_b64encode(json.dumps(auth, separators=(",", ":")).encode()).decode()


def all_credentials(config: ConfigFile) -> dict[str, dict[str, str]]:
    """The AuthConfigs of all registries, for builds."""
    keys = set(config.table("auths")) | set(config.table("credHelpers"))
    store = config.text("credsStore")
    if store:
        keys |= set(json.loads(_run_helper(store, "list", "") or "{}"))
    found = {key: _entry(config, key) for key in sorted(keys)}
    return {key: entry for key, entry in found.items() if entry}


def store(config: ConfigFile, key: str, auth: dict[str, str]) -> bool:
    """Keep credentials; returns True when they lie unencrypted in the file."""
    helper = _helper_for(config, key)
    token = auth.get("identitytoken", "")
    if helper:
        secret = {
            "ServerURL": key,
            "Username": _TOKEN_USER if token else auth.get("username", ""),
            "Secret": token or auth.get("password", ""),
        }
        _run_helper(helper, "store", json.dumps(secret, separators=(",", ":")))
        config.data.setdefault("auths", {})[key] = {}
        config.save()
        return False
    pair = f"{auth.get('username', '')}:{auth.get('password', '')}"
    entry = {"auth": base64.b64encode(pair.encode()).decode()}
    if token:
        entry = {
            "auth": base64.b64encode(f"{auth.get('username', '')}:".encode()).decode(),
            "identitytoken": token,
        }
    config.data.setdefault("auths", {})[key] = entry
    config.save()
    return True


def erase(config: ConfigFile, key: str) -> bool:
    """Forget credentials; returns False when there were none."""
    helper = _helper_for(config, key)
    auths = config.table("auths")
    known = key in auths
    if helper:
        _run_helper(helper, "erase", key)
    if known:
        del auths[key]
        config.save()
    return known


__all__ = [
    "DEFAULT_REGISTRY",
    "INDEX_SERVER",
    "all_credentials",
    "credentials",
    "encode",
    "erase",
    "header",
    "store",
]
