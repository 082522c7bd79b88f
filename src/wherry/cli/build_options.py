"""The options of ``wherry build`` that have a language of their own: ``type=…,key=value``."""

from __future__ import annotations

import os
from dataclasses import dataclass

from wherry.cli.errors import CliError
from wherry.cli.kinds import read_csv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_OUTPUTS = ("local", "tar", "oci", "docker", "image", "registry")
_NEED_DESTINATION = ("local", "tar", "oci")


@dataclass(frozen=True)
class Export:
    """One ``--output``: where a result goes besides the engine's own store."""

    kind: str
    destination: str = ""
    names: tuple[str, ...] = ()
    push: bool = False


@dataclass(frozen=True)
class CachePlaces:
    """``--cache-from`` and ``--cache-to``: what the engine is told, and directories of ours."""

    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    source_directories: tuple[str, ...] = ()
    target_directories: tuple[tuple[str, str], ...] = ()  # (directory, mode)


def fields(text: str, what: str) -> dict[str, str]:
    """``key=value,key=value``, as CSV; raises CliError."""
    found: dict[str, str] = {}
    for entry in read_csv(text):
        key, equals, value = entry.partition("=")
        if not equals:
            raise CliError(f"invalid {what} {text!r}: invalid field '{entry}' must be key=value")
        found[key.strip().lower()] = value
    return found


def read_secret(text: str, environment: Mapping[str, str]) -> tuple[str, bytes]:
    """Id and value of one ``--secret id=ID[,src=FILE|,env=VARIABLE]``; raises CliError."""
    given = fields(text, "secret")
    kind = given.pop("type", "")
    name = given.pop("id", "")
    source = given.pop("src", given.pop("source", ""))
    variable = given.pop("env", "")
    if given or kind not in ("", "file", "env"):
        raise CliError(f"unexpected key in secret {text!r}: it takes id, src, env and type")
    if not name:
        raise CliError(f"invalid secret {text!r}: id is missing")
    if kind == "env" and not variable:
        source, variable = "", source or name
    if not source and not variable:
        source, variable = ("", name) if kind != "file" and name in environment else (name, "")
    if variable:
        if variable not in environment:
            raise CliError(f"secret {name}: the environment has no variable {variable}")
        return name, environment[variable].encode("utf-8", "surrogateescape")
    try:
        with open(os.path.expanduser(source), "rb") as file:
            return name, file.read()
    except OSError as error:
        raise CliError(f"secret {name}: {source}: {error.strerror}") from None


def read_agent(text: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Id and socket of one ``--ssh default|ID[=SOCKET]``; raises CliError."""
    name, _, path = text.partition("=")
    path = path or environment.get("SSH_AUTH_SOCK", "")
    if not path:
        raise CliError(f"--ssh {name}: no agent: SSH_AUTH_SOCK is not set")
    path = os.path.abspath(os.path.expanduser(path))
    if not os.path.exists(path) or os.path.isfile(path):
        raise CliError(f"--ssh {name}: {path} is no socket of an agent: add keys with ssh-add")
    return name or "default", path


def read_contexts(entries: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Addresses and local directories among ``--build-context NAME=…``; raises CliError."""
    addresses: dict[str, str] = {}
    directories: dict[str, str] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals or not name or not value:
            raise CliError(f"invalid context value: {entry}, expected key=value")
        if value.startswith("oci-layout://"):
            raise CliError(f"build context {name}: load the layout and use docker-image://")
        if os.path.isdir(value):
            directories[name] = value
        elif "://" in value or value.startswith("git@"):
            addresses[name] = value
        else:
            raise CliError(f"build context {name}: {value}: no such directory")
    return addresses, directories


def read_caches(sources: Iterable[str], targets: Iterable[str]) -> CachePlaces:
    """Both options; raises CliError."""
    images, places = [], []
    source_directories, target_directories = [], []
    for text in sources:
        given = fields(text, "cache source") if "=" in text else {"type": "registry", "ref": text}
        if given.get("type") == "local":
            source_directories.append(_needed(given, "src", text))
        elif given.get("type", "registry") == "registry":
            images.append(f"type=registry,ref={_needed(given, 'ref', text)}")
        else:
            raise CliError(f"unknown type of cache in {text!r}: it is registry or local")
    for text in targets:
        given = fields(text, "cache target") if "=" in text else {"type": "registry", "ref": text}
        mode = given.get("mode", "min")
        if given.get("type") == "local":
            target_directories.append((_needed(given, "dest", text), mode))
        elif given.get("type") == "inline":
            places.append("type=inline")
        elif given.get("type", "registry") == "registry":
            places.append(f"type=registry,ref={_needed(given, 'ref', text)},mode={mode}")
        else:
            raise CliError(f"unknown type of cache in {text!r}: it is registry, local or inline")
    return CachePlaces(
        tuple(images), tuple(places), tuple(source_directories), tuple(target_directories)
    )


def read_output(text: str) -> Export:
    """One ``--output``: a directory, ``-`` for a tar archive, or ``type=…``; raises CliError."""
    if "=" not in text:
        return Export("tar", "-") if text == "-" else Export("local", text)
    given = fields(text, "output")
    kind = given.get("type", "")
    if kind not in _OUTPUTS:
        raise CliError(f"unsupported output type {kind!r}: it is one of {', '.join(_OUTPUTS)}")
    destination = given.get("dest", "")
    if kind in _NEED_DESTINATION and not destination:
        if kind == "local":
            raise CliError("dest is required for local output")
        destination = "-"
    names = tuple(name for name in given.get("name", "").split(",") if name)
    push = kind == "registry" or given.get("push", "false").lower() in ("true", "1")
    return Export(kind, destination, names, push)


def _needed(given: Mapping[str, str], key: str, text: str) -> str:
    if not given.get(key):
        raise CliError(f"{key} is required in {text!r}")
    return given[key]
