"""Names of images as people write them: what is a registry, a tag, a digest."""

from __future__ import annotations

from wherry.cli.errors import CliError

DEFAULT_REGISTRY = "docker.io"
INDEX_SERVER = "https://index.docker.io/v1/"
_PATH = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-/")


def split(reference: str) -> tuple[str, str, str]:
    """``name[:tag][@digest]`` as (name, tag, digest); parts that are missing are empty."""
    name, _, digest = reference.partition("@")
    head, colon, tag = name.rpartition(":")
    if colon and "/" not in tag:
        return head, tag, digest
    return name, "", digest


def with_tag(reference: str) -> str:
    """``reference`` with ``:latest`` when it names neither tag nor digest."""
    _, tag, digest = split(reference)
    return reference if tag or digest else f"{reference}:latest"


def registry_of(reference: str) -> str:
    """Host of the registry that ``reference`` belongs to."""
    first, slash, _ = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return DEFAULT_REGISTRY if first == "index.docker.io" else first
    return DEFAULT_REGISTRY


def path_of(reference: str) -> str:
    """The repository's path in its registry: ``library/busybox``, ``user/app``."""
    name = split(reference)[0]
    host = registry_of(reference)
    first, slash, rest = name.partition("/")
    if slash and (first == host or first == "index.docker.io"):
        name = rest
    if host == DEFAULT_REGISTRY and "/" not in name:
        name = f"library/{name}"
    return name


def familiar(reference: str) -> str:
    """The name as people write it: without default registry, ``library/`` and digest."""
    name, tag, _ = split(reference)
    host, path = registry_of(name), path_of(name)
    if host == DEFAULT_REGISTRY:
        shown = path.removeprefix("library/") if path.count("/") == 1 else path
    else:
        shown = f"{host}/{path}"
    return f"{shown}:{tag}" if tag else shown


def auth_key(registry: str) -> str:
    """The name under which credentials for ``registry`` are kept."""
    return INDEX_SERVER if registry in (DEFAULT_REGISTRY, "index.docker.io") else registry


def check_any(reference: str) -> None:
    """Raise CliError for what is neither an image's name nor an id."""
    if len(reference) == 64 and set(reference) <= set("0123456789abcdef"):
        return
    if not reference.startswith("sha256:"):
        check(reference)


def check(reference: str) -> None:
    """Raise CliError for what cannot be an image's name."""
    name, tag, digest = split(reference)
    path = path_of(reference)
    if len(reference) == 64 and set(reference) <= set("0123456789abcdef"):
        raise CliError(
            f"invalid repository name ({reference}), cannot specify 64-byte hexadecimal strings"
        )
    if path != path.lower():
        raise CliError(f"invalid reference format: repository name ({path}) must be lowercase")
    components = path.split("/")
    good = all(part and part[0].isalnum() and part[-1].isalnum() for part in components)
    if not name or not good or not set(path) <= _PATH:
        raise CliError("invalid reference format")
    if reference.rstrip("@").endswith(":") or len(tag) > 128 or (digest and ":" not in digest):
        raise CliError("invalid reference format")
    if tag and (tag[0] in ".-" or not all(c.isalnum() or c in "._-" for c in tag)):
        raise CliError("invalid reference format")
