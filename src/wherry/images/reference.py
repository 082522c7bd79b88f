"""Names of images: ``[domain/]path[:tag][@digest]``, with Docker's short forms.

The grammar is that of the distribution project's ``reference`` package: a name without a domain
belongs to docker.io, a docker.io name without a namespace to ``library``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from wherry.errors import InvalidParameter

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library"
_NAME_LIMIT = 255

_COMPONENT = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_COMPONENT}(?:\.{_COMPONENT})*|\[(?:[a-fA-F0-9:]+)\])"
_DOMAIN = rf"{_HOST}(?::[0-9]+)?"
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
_PATH = rf"{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_DOMAIN}/)?{_PATH})(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?"
)
_NAME = re.compile(rf"(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_PATH})")
_TAG_ONLY = re.compile(_TAG)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_HEX_LENGTH = {"sha256": 64, "sha384": 96, "sha512": 128}


@dataclass(frozen=True, slots=True)
class Reference:
    """A normalised reference; ``str`` gives the full form, ``familiar`` the short one."""

    domain: str
    path: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Domain and path: the repository."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as people write it."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        namespace, slash, rest = self.path.partition("/")
        if slash and namespace == _OFFICIAL and "/" not in rest:
            return rest
        return self.path

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        return tag + (f"@{self.digest}" if self.digest is not None else "")

    @property
    def familiar(self) -> str:
        """The whole reference as people write it."""
        return self.familiar_name + self._suffix()

    def __str__(self) -> str:
        return self.name + self._suffix()

    def tagged(self) -> Reference:
        """The reference itself, with tag ``latest`` when it has neither tag nor digest."""
        if self.tag is None and self.digest is None:
            return replace(self, tag=DEFAULT_TAG)
        return self

    def bare(self) -> Reference:
        """The repository alone."""
        return Reference(self.domain, self.path)


def check_digest(digest: str) -> str:
    """``digest`` itself; InvalidParameter when its algorithm, length or form is wrong."""
    algorithm, colon, value = digest.partition(":")
    if not colon or not re.fullmatch(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*", algorithm):
        raise InvalidParameter("invalid checksum digest format")
    if algorithm not in _HEX_LENGTH:
        raise InvalidParameter("unsupported digest algorithm")
    if len(value) != _HEX_LENGTH[algorithm]:
        raise InvalidParameter("invalid checksum digest length")
    if not re.fullmatch(r"[a-f0-9]+", value):
        raise InvalidParameter("invalid checksum digest format")
    return digest


def is_digest(text: str) -> bool:
    """Whether ``text`` is a complete digest."""
    try:
        check_digest(text)
    except InvalidParameter:
        return False
    return True


def parse(text: str) -> Reference:
    """Parse and normalise what a person wrote. Raises InvalidParameter with Docker's texts."""
    if _IDENTIFIER.fullmatch(text):
        raise InvalidParameter(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    domain, remainder = _split_domain(text)
    remote = remainder.partition("@")[0]
    colon = remote.find(":")
    remote = remote[:colon] if colon >= 0 else remote
    if remote.lower() != remote:
        raise InvalidParameter(
            f"invalid reference format: repository name ({remote}) must be lowercase"
        )
    match = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if match is None:
        raise InvalidParameter("invalid reference format")
    name = _NAME.fullmatch(match["name"])
    if name is None or name["domain"] is None:
        raise InvalidParameter("invalid reference format")
    if len(name["path"]) > _NAME_LIMIT:
        raise InvalidParameter(f"repository name must not be more than {_NAME_LIMIT} characters")
    digest = match["digest"]
    if digest is not None:
        check_digest(digest)
    return Reference(name["domain"], name["path"], match["tag"], digest)


def with_tag(repository: str, tag: str) -> Reference:
    """``repository`` with ``tag`` (``latest`` when it is empty), for the repo/tag parameters."""
    reference = parse(repository)
    if reference.digest is not None:
        raise InvalidParameter("refusing to create a tag with a digest reference")
    if not tag:
        return reference.tagged()
    if not _TAG_ONLY.fullmatch(tag):
        raise InvalidParameter("invalid tag format")
    return replace(reference, tag=tag)


def with_tag_or_digest(repository: str, tag: str) -> Reference:
    """The reference of a pull: clients send the digest of ``name@digest`` as its tag."""
    try:
        digest = check_digest(tag)
    except InvalidParameter:
        return with_tag(repository, tag) if tag else parse(repository)
    return replace(parse(repository), tag=None, digest=digest)


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash:
        return DEFAULT_DOMAIN, f"{_OFFICIAL}/{text}"
    if first == _LEGACY_DOMAIN:
        domain, remainder = DEFAULT_DOMAIN, rest
    elif first == "localhost" or "." in first or ":" in first or first.lower() != first:
        domain, remainder = first, rest
    else:
        domain, remainder = DEFAULT_DOMAIN, text
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = f"{_OFFICIAL}/{remainder}"
    return domain, remainder
