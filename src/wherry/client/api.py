"""The low level of the client: requests to one daemon, its errors, its streams."""

from __future__ import annotations

import json

from wherry.client.endpoint import Endpoint
from wherry.client.errors import ApiError, ClientError, ConnectionFailed, api_error
from wherry.client.http import Response, Stream, read_response, send_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, TypedDict, Unpack

    class Parts(TypedDict, total=False):
        """What a request carries beside method and path."""

        query: Mapping[str, Any] | None
        body: object
        headers: Mapping[str, str] | None


NEWEST_VERSION = "1.51"
OLDEST_VERSION = "1.24"
_UNRESERVED = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


def quote(text: str, safe: str = "") -> str:
    """Percent-encode ``text`` for a URL; characters of ``safe`` stay as they are."""
    allowed = _UNRESERVED | frozenset(safe.encode())
    encoded = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in allowed else f"%{byte:02X}" for byte in encoded)


def query_string(query: Mapping[str, Any]) -> str:
    """Encode query parameters as the Engine API takes them.

    None is left out, booleans are 1 and 0, lists repeat the name, dicts are sent as JSON.
    """
    pairs: list[str] = []
    for name, value in query.items():
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is None:
                continue
            if isinstance(item, bool):
                text = "1" if item else "0"
            elif isinstance(item, dict):
                text = json.dumps(item, separators=(",", ":"))
            else:
                text = str(item)
            pairs.append(f"{name}={quote(text)}")
    return "&".join(pairs)


def parse_version(version: str) -> tuple[int, int]:
    """``1.51`` as a pair to compare; raises ClientError for other forms."""
    major, _, minor = version.partition(".")
    try:
        return int(major), int(minor)
    except ValueError:
        raise ClientError(f"invalid API version {version!r}") from None


class Ping:
    """What ``/_ping`` says of a daemon."""

    __slots__ = ("api_version", "builder_version", "experimental", "os", "swarm")

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.api_version = headers.get("api-version", "")
        self.os = headers.get("ostype", "")
        self.experimental = headers.get("docker-experimental", "") == "true"
        self.builder_version = headers.get("builder-version", "")
        self.swarm = headers.get("swarm", "")


class Hijacked:
    """A connection that has become a plain byte stream in both directions."""

    __slots__ = ("content_type", "stream")

    def __init__(self, stream: Stream, content_type: str) -> None:
        self.stream = stream
        self.content_type = content_type

    def read_some(self) -> bytes:
        """The next bytes; empty at the end."""
        return self.stream.read_some()

    def write(self, data: bytes) -> None:
        """Send all of ``data``."""
        self.stream.write(data)

    def close_write(self) -> None:
        """End the input; output goes on."""
        self.stream.close_write()

    def close(self) -> None:
        """Close both directions."""
        self.stream.close()


class ApiClient:
    """Requests to one daemon; threads may share it.

    ``version`` fixes the API version; otherwise it is agreed on with the daemon at the first
    request. ``headers`` are sent with every request. ``timeout`` (seconds) holds for each wait on
    the socket and should stay None where streams are followed.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.headers = {"Host": endpoint.host_header, **(headers or {})}
        self.timeout = timeout
        self._version = version
        self._ping: Ping | None = None
        self._idle: list[Stream] = []

    def close(self) -> None:
        """Close idle connections."""
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> ApiClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ping(self) -> Ping:
        """Ask the daemon who it is (once); raises ConnectionFailed when there is none."""
        if self._ping is None:
            response = self._exchange("HEAD", "/_ping", self.headers, None)
            response.read()
            self._release(response)
            self._ping = Ping(response.headers)
        return self._ping

    @property
    def version(self) -> str:
        """The API version in use: the lower of the daemon's and the newest known here."""
        if self._version is None:
            offered = self.ping().api_version or OLDEST_VERSION
            lower = min(parse_version(offered), parse_version(NEWEST_VERSION))
            self._version = f"{lower[0]}.{lower[1]}"
        return self._version

    def at_least(self, version: str) -> bool:
        """The API version in use is ``version`` or newer."""
        return parse_version(self.version) >= parse_version(version)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request and return its answer, with the body still to be read.

        ``body`` is bytes, an iterable of bytes (sent as it comes) or anything that JSON knows.
        Raises ApiError for an answer of 400 or more, ConnectionFailed without daemon. An object
        that is in the wanted state already (304) is no error.
        """
        merged = {**self.headers, **(headers or {})}
        payload = _payload(body, merged)
        target = self._target(path, query)
        response = self._exchange(method, target, merged, payload)
        if response.status >= 400:
            error = self._error(response)
            self._release(response)
            raise error
        return response

    def call(self, method: str, path: str, **parts: Unpack[Parts]) -> Any:
        """Like ``request``, and returns the decoded JSON of the answer (None when empty)."""
        data = self.call_raw(method, path, **parts)
        if not data:
            return None
        try:
            return json.loads(data)
        except ValueError as error:
            raise ClientError(f"{method} {path}: the daemon's answer is not JSON") from error

    def call_raw(self, method: str, path: str, **parts: Unpack[Parts]) -> bytes:
        """Like ``request``, and returns the whole body as it came."""
        response = self.request(method, path, **parts)
        data = response.read()
        self._release(response)
        return data

    def stream(self, method: str, path: str, **parts: Unpack[Parts]) -> Iterator[dict[str, Any]]:
        """Like ``request``, and yields the JSON objects of the answer as they come."""
        response = self.request(method, path, **parts)
        try:
            for line in response.lines():
                if line.strip(b"\r\x1e "):
                    yield json.loads(line.lstrip(b"\x1e"))
        finally:
            response.stream.close()

    def hijack(
        self, path: str, *, query: Mapping[str, Any] | None = None, body: object = None
    ) -> Hijacked:
        """POST and take over the connection; raises as ``request``."""
        headers = {**self.headers, "Connection": "Upgrade", "Upgrade": "tcp"}
        payload = _payload(body, headers)
        response = self._exchange("POST", self._target(path, query), headers, payload, fresh=True)
        if response.status not in (101, 200):
            error = self._error(response)
            response.stream.close()
            raise error
        return Hijacked(response.stream, response.headers.get("content-type", ""))

    def _target(self, path: str, query: Mapping[str, Any] | None) -> str:
        encoded = query_string(query) if query else ""
        prefix = f"{self.endpoint.base_path}/v{self.version}"
        return f"{prefix}{path}?{encoded}" if encoded else prefix + path

    def _exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
        *,
        fresh: bool = False,
    ) -> Response:
        """One request and the head of its answer, over an idle connection if there is one."""
        stream = None if fresh else self._take_idle()
        if stream is None:
            stream = Stream(self.endpoint.connect(self.timeout))
        try:
            send_request(stream, method, target, headers, body)
            return read_response(stream, method)
        except OSError as error:
            stream.close()
            raise ConnectionFailed(self.endpoint.address, error.strerror or str(error)) from error
        except ClientError:
            stream.close()
            raise

    def _take_idle(self) -> Stream | None:
        """A connection to use again, unless the daemon has closed it meanwhile."""
        while self._idle:
            stream = self._idle.pop()
            if not stream.readable():
                return stream
            stream.close()
        return None

    def _release(self, response: Response) -> None:
        """Keep the connection for the next request if it may be used again."""
        if response.reusable:
            self._idle.append(response.stream)
        else:
            response.stream.close()

    def _error(self, response: Response) -> ApiError:
        data = response.read()
        message = ""
        if data:
            try:
                decoded = json.loads(data)
                message = str(decoded["message"]) if isinstance(decoded, dict) else ""
            except (ValueError, KeyError):
                message = data.decode("utf-8", "replace").strip()
        if not message:
            message = f"request returned status {response.status}; check if the server supports it"
        return api_error(response.status, message.strip())


def _payload(body: object, headers: dict[str, str]) -> bytes | Iterable[bytes] | None:
    """The bytes of a body, and its content type into ``headers``."""
    if body is None:
        return None
    if isinstance(body, bytes):
        headers.setdefault("Content-Type", "application/octet-stream")
        return body
    if isinstance(body, dict | list | str | int | float):
        headers.setdefault("Content-Type", "application/json")
        return json.dumps(body, separators=(",", ":")).encode()
    headers.setdefault("Content-Type", "application/x-tar")
    return body  # type: ignore[return-value]
