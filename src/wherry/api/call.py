"""One request as the routes see it: typed access to path, query, headers and body."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aiohttp import web

from wherry.api.versions import Version
from wherry.engine import filters
from wherry.errors import InvalidParameter

MAX_JSON = 16 << 20  # bytes of a JSON body; the largest real ones (seccomp profiles) are 0.1 MB
_FALSE = frozenset({"", "0", "no", "false", "none"})
_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)


@dataclass(eq=False)
class Call:
    """A request that has been routed. ``parts`` are the variables of the path.

    ``common_headers`` belong on every answer; answers that start themselves (streams) set them.
    """

    request: web.BaseRequest
    engine: Any
    version: Version
    parts: Mapping[str, str]
    common_headers: Mapping[str, str]

    @property
    def name(self) -> str:
        """The object that the path names."""
        return self.parts["name"]

    def text(self, key: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return self.request.query.get(key, default)

    def texts(self, key: str) -> list[str]:
        """All values of a query parameter."""
        return self.request.query.getall(key, [])

    def optional(self, key: str) -> str | None:
        """The value of a query parameter; None when it is missing or empty."""
        return self.request.query.get(key) or None

    def flag(self, key: str, default: bool = False) -> bool:
        """A boolean query parameter, as freely as dockerd reads it."""
        value = self.request.query.get(key)
        return default if value is None else value.strip().lower() not in _FALSE

    def number(self, key: str, default: int | None = None) -> int | None:
        """An integer query parameter; raises InvalidParameter."""
        value = self.request.query.get(key)
        if not value:
            return default
        if not _INTEGER.fullmatch(value) or not -(2**63) <= int(value) < 2**63:
            raise InvalidParameter(f'strconv.Atoi: parsing "{value}": invalid syntax')
        return int(value)

    @cached_property
    def filters(self) -> filters.Filters:
        """The ``filters`` parameter in either form; raises InvalidParameter."""
        return filters.parse(self.request.query.get("filters"))

    def header_json(self, name: str) -> dict[str, Any]:
        """A header that carries base64url JSON (X-Registry-Auth); {} when missing.

        Raises InvalidParameter for what is not valid.
        """
        value = self.request.headers.get(name, "")
        if not value:
            return {}
        try:
            padded = value.replace("+", "-").replace("/", "_") + "=" * (-len(value) % 4)
            data = json.loads(base64.urlsafe_b64decode(padded))
        except (binascii.Error, ValueError, RecursionError):
            raise InvalidParameter(f"invalid {name} header: not base64 JSON") from None
        if not isinstance(data, dict):
            raise InvalidParameter(f"invalid {name} header: not a JSON object")
        return data

    @property
    def has_body(self) -> bool:
        """Whether the request may carry a body."""
        return self.request.can_read_body

    async def json(self, *, required: bool = False) -> dict[str, Any]:
        """The JSON object in the body; {} when there is none and none is required.

        Raises InvalidParameter with Docker's texts.
        """
        request = self.request
        kind = request.headers.get("Content-Type", "")
        if not self.has_body and not kind:
            body = b""
        else:
            media_type = kind.partition(";")[0].strip().lower()
            if not media_type and self.has_body:
                raise InvalidParameter("malformed Content-Type header (): mime: no media type")
            if media_type != "application/json":
                raise InvalidParameter(
                    f"unsupported Content-Type header ({kind}): must be 'application/json'"
                )
            body = await self._whole_body()
        if not body.strip():
            if required or body:
                raise InvalidParameter("invalid JSON: got EOF while reading request body")
            return {}
        return _decode(body)

    async def _whole_body(self) -> bytes:
        chunks, size = [], 0
        async for chunk in self.body():
            size += len(chunk)
            if size > MAX_JSON:
                raise InvalidParameter(f"request body too large: the limit is {MAX_JSON} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it arrives, for archives; raises InvalidParameter where it is no HTTP."""
        try:
            async for chunk in self.request.content.iter_any():
                yield chunk
        except web.RequestPayloadError as error:
            raise InvalidParameter(f"read the body of the request: {error}") from None


def _decode(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode("utf-8", "replace")
        data, end = json.JSONDecoder(parse_constant=_refuse).raw_decode(text.lstrip(" \t\r\n"))
    except RecursionError:
        raise InvalidParameter("invalid JSON: exceeded max depth") from None
    except json.JSONDecodeError as error:
        raise InvalidParameter(f"invalid JSON: {go_error(error)}") from None
    except ValueError as error:
        raise InvalidParameter(f"invalid JSON: {error}") from None
    if text.lstrip(" \t\r\n")[end:].strip(" \t\r\n"):
        raise InvalidParameter("unexpected content after JSON")
    if data is None:
        return {}
    if not isinstance(data, dict):
        kind = {list: "array", str: "string", bool: "bool"}.get(type(data), "number")
        raise InvalidParameter(f"invalid JSON: json: cannot unmarshal {kind} into an object")
    return data


def go_error(error: json.JSONDecodeError) -> str:
    """What Go's decoder says where Python's found an error."""
    if error.pos >= len(error.doc.rstrip()):
        return "unexpected EOF"
    found = error.doc[error.pos]
    if error.msg.startswith("Unterminated string"):
        return "unexpected EOF"
    if error.msg.startswith("Invalid control character"):
        return f"invalid character {found!r} in string literal"
    if error.msg.startswith("Expecting property name"):
        return f"invalid character {found!r} looking for beginning of object key string"
    if "':' delimiter" in error.msg:
        return f"invalid character {found!r} after object key"
    if "',' delimiter" in error.msg:
        return f"invalid character {found!r} after object key:value pair"
    return f"invalid character {found!r} looking for beginning of value"


def _refuse(constant: str) -> None:
    raise ValueError(f"invalid character {constant[0]!r} looking for beginning of value")
