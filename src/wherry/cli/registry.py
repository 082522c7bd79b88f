"""Manifests straight from a registry, for the ``manifest`` commands.

Everything else goes through the engine; only lists of manifests are made by the client itself.
Source: OCI distribution specification v1.1; token authentication of the distribution project.
"""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.error
import urllib.parse
import urllib.request

from wherry.cli.errors import CliError
from wherry.cli.references import DEFAULT_REGISTRY, path_of, registry_of, split
from wherry.mediatypes import INDEXES, MANIFESTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.config import ConfigFile

_DEFAULT_HOST = "registry-1.docker.io"
_TIMEOUT = 30


class Manifest:
    """A manifest as the registry has it."""

    __slots__ = ("digest", "media_type", "raw")

    def __init__(self, media_type: str, raw: bytes) -> None:
        self.media_type = media_type
        self.raw = raw
        self.digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"

    @property
    def content(self) -> dict[str, Any]:
        """The decoded manifest."""
        decoded: dict[str, Any] = json.loads(self.raw)
        return decoded


class Registry:
    """One repository of one registry."""

    def __init__(self, config: ConfigFile, reference: str, *, insecure: bool = False) -> None:
        from wherry.cli.auth import credentials

        host = registry_of(reference)
        self.repository = path_of(reference)
        _, tag, digest = split(reference)
        self.reference = digest or tag or "latest"
        self._auth = credentials(config, host)
        self._host = _DEFAULT_HOST if host == DEFAULT_REGISTRY else host
        local = self._host.partition(":")[0] in ("localhost", "127.0.0.1", "[::1]")
        self._schemes = ("https", "http") if insecure or local else ("https",)
        self._token = ""

    def manifest(self, reference: str = "") -> Manifest:
        """Fetch a manifest by tag or digest; raises CliError."""
        wanted = reference or self.reference
        accept = ", ".join((*MANIFESTS, *INDEXES))
        body, headers = self._request("GET", f"manifests/{wanted}", {"Accept": accept})
        manifest = Manifest(headers.get("Content-Type", "").partition(";")[0], body)
        if wanted.startswith("sha256:") and manifest.digest != wanted:
            raise CliError(f"the registry sent {manifest.digest} where {wanted} was asked for")
        return manifest

    def blob(self, digest: str) -> bytes:
        """Fetch a small blob, such as a configuration."""
        data, _ = self._request("GET", f"blobs/{digest}", {})
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise CliError(f"the registry sent a blob that is not {digest}")
        return data

    def put_manifest(self, reference: str, media_type: str, raw: bytes) -> None:
        """Store a manifest under a tag or digest."""
        self._request("PUT", f"manifests/{reference}", {"Content-Type": media_type}, raw)

    def mount(self, digest: str, source: str) -> None:
        """Let the repository have a blob of another one of the same registry."""
        query = urllib.parse.urlencode({"mount": digest, "from": source})
        self._request("POST", f"blobs/uploads/?{query}", {}, b"")

    def _request(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> tuple[bytes, dict[str, str]]:
        failure = ""
        for scheme in self._schemes:
            url = f"{scheme}://{self._host}/v2/{self.repository}/{path}"
            try:
                return self._authorised(method, url, headers, body)
            except urllib.error.HTTPError as error:
                raise CliError(_message(error, url)) from None
            except (urllib.error.URLError, OSError) as error:
                failure = f"{method} {url}: {getattr(error, 'reason', error)}"
        raise CliError(failure)

    def _authorised(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[bytes, dict[str, str]]:
        for attempt in (1, 2):
            sent = {**headers, **({"Authorization": self._token} if self._token else {})}
            request = urllib.request.Request(url, data=body, headers=sent, method=method)
            try:
                with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
                    return response.read(), dict(response.headers)
            except urllib.error.HTTPError as error:
                challenge = error.headers.get("WWW-Authenticate", "")
                if error.code != 401 or attempt == 2 or not challenge:
                    raise
                self._token = self._answer(challenge, method)
        raise AssertionError("two attempts either return or raise")

    def _answer(self, challenge: str, method: str) -> str:
        """The Authorization header that a challenge asks for."""
        scheme, _, rest = challenge.partition(" ")
        pair = f"{self._auth.get('username', '')}:{self._auth.get('password', '')}"
        basic = f"Basic {base64.b64encode(pair.encode()).decode()}" if self._auth else ""
        if scheme.lower() == "basic":
            if not basic:
                raise CliError(f"unauthorized: log in first: wherry login {self._host}")
            return basic
        values = urllib.request.parse_keqv_list(urllib.request.parse_http_list(rest))
        actions = "pull" if method == "GET" else "pull,push"
        scope = values.get("scope") or f"repository:{self.repository}:{actions}"
        query = urllib.parse.urlencode({"service": values.get("service", ""), "scope": scope})
        request = urllib.request.Request(f"{values['realm']}?{query}")
        if basic:
            request.add_header("Authorization", basic)
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            answer = json.load(response)
        return f"Bearer {answer.get('token') or answer.get('access_token') or ''}"


def _message(error: urllib.error.HTTPError, url: str) -> str:
    """What a registry says of a failure."""
    if error.code == 404:
        return f"no such manifest: {url.partition('://')[2].replace('/v2/', '/', 1)}".replace(
            "/manifests/", ":"
        )
    try:
        errors = json.loads(error.read())["errors"]
        return "; ".join(f"{e.get('code', '')}: {e.get('message', '')}".lower() for e in errors)
    except (ValueError, KeyError, TypeError):
        return f"{url}: HTTP status {error.code}"
