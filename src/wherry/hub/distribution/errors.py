"""The error codes of the distribution API and their JSON form (spec, "Error Codes")."""

from __future__ import annotations

import json
from typing import Any

from wherry.errors import WherryError


class RegistryError(WherryError):
    """An answer in the registry's error form: code, message, detail and HTTP status."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        detail: Any = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers or {}

    def body(self) -> bytes:
        """The JSON document that clients parse."""
        error: dict[str, Any] = {"code": self.code, "message": str(self)}
        if self.detail is not None:
            error["detail"] = self.detail
        return json.dumps({"errors": [error]}).encode()


def unauthorized(message: str = "authentication required") -> RegistryError:
    """Nobody is logged in and that is needed; the caller adds the challenge header."""
    return RegistryError(401, "UNAUTHORIZED", message)


def denied(message: str) -> RegistryError:
    """Logged in, but not allowed."""
    return RegistryError(403, "DENIED", message)


def name_invalid(name: str) -> RegistryError:
    """The repository name breaks the grammar."""
    return RegistryError(400, "NAME_INVALID", "invalid repository name", {"name": name[:300]})


def name_unknown(name: str) -> RegistryError:
    """No such repository, or one that the caller must not know of."""
    return RegistryError(
        404, "NAME_UNKNOWN", "repository name not known to registry", {"name": name}
    )


def tag_invalid(tag: str) -> RegistryError:
    """The tag breaks the grammar."""
    return RegistryError(400, "TAG_INVALID", "invalid tag name", {"tag": tag[:300]})


def digest_invalid(message: str, digest: str = "") -> RegistryError:
    """A digest is malformed or does not match the content."""
    return RegistryError(400, "DIGEST_INVALID", message, {"digest": digest} if digest else None)


def size_invalid(message: str) -> RegistryError:
    """Fewer or more bytes came than were announced."""
    return RegistryError(400, "SIZE_INVALID", message)


def blob_unknown(digest: str) -> RegistryError:
    """The repository has no such blob."""
    return RegistryError(404, "BLOB_UNKNOWN", "blob unknown to registry", {"digest": digest})


def upload_unknown(upload: str) -> RegistryError:
    """The upload was finished, cancelled, expired or never started."""
    return RegistryError(
        404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry", {"upload": upload[:64]}
    )


def upload_invalid(message: str, status: int = 400) -> RegistryError:
    """The upload request makes no sense where the upload stands."""
    return RegistryError(status, "BLOB_UPLOAD_INVALID", message)


def manifest_unknown(reference: str) -> RegistryError:
    """The repository has no such tag or manifest."""
    return RegistryError(
        404, "MANIFEST_UNKNOWN", "manifest unknown to registry", {"reference": reference}
    )


def manifest_invalid(message: str, detail: Any = None) -> RegistryError:
    """The manifest is not one, or contradicts itself."""
    return RegistryError(400, "MANIFEST_INVALID", message, detail)


def manifest_blobs_unknown(digests: list[str]) -> RegistryError:
    """The manifest refers to blobs that the repository does not have."""
    return RegistryError(
        400, "MANIFEST_BLOB_UNKNOWN", "manifest references unknown blobs", {"digests": digests}
    )


def unsupported(message: str) -> RegistryError:
    """The operation is not offered here."""
    return RegistryError(405, "UNSUPPORTED", message)


def page_size_invalid(text: str) -> RegistryError:
    """``n`` of a listing is not a number."""
    return RegistryError(
        400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested", {"n": text[:100]}
    )


def no_space(message: str) -> RegistryError:
    """The storage or the database is full; 507 is Insufficient Storage (RFC 4918)."""
    return RegistryError(507, "UNAVAILABLE", message)


def too_many_requests(seconds: int) -> RegistryError:
    """A rate limit was hit; the client may come back after ``seconds``."""
    return RegistryError(
        429, "TOOMANYREQUESTS", "too many requests", headers={"Retry-After": str(seconds)}
    )
