"""Contexts: named daemons with their certificates, kept where Docker's client keeps them.

``contexts/meta/<sha256 of name>/meta.json`` describes one, ``contexts/tls/<sha256>/docker/`` holds
``ca.pem``, ``cert.pem`` and ``key.pem``. The context ``default`` is made of the environment and
never stored.
"""

from __future__ import annotations

import hashlib
import json
import os

from wherry.cli.errors import CliError
from wherry.client.endpoint import DEFAULT_ADDRESS, Endpoint, TlsFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT = "default"
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-")
TLS_FILES = ("ca.pem", "cert.pem", "key.pem")


class Context:
    """A stored context: ``metadata`` as in its meta.json, and where its certificates lie."""

    __slots__ = ("meta_path", "metadata", "name", "tls_path")

    def __init__(self, name: str, metadata: dict[str, Any], root: str) -> None:
        digest = hashlib.sha256(name.encode()).hexdigest()
        self.name = name
        self.metadata = metadata
        self.meta_path = f"{root}/meta/{digest}"
        self.tls_path = f"{root}/tls/{digest}"

    @property
    def description(self) -> str:
        """What the owner wrote about it."""
        return str((self.metadata.get("Metadata") or {}).get("Description", ""))

    @property
    def docker(self) -> dict[str, Any]:
        """Its endpoint: ``Host`` and ``SkipTLSVerify``."""
        endpoint: dict[str, Any] = (self.metadata.get("Endpoints") or {}).get("docker") or {}
        return endpoint

    @property
    def host(self) -> str:
        """Address of its daemon."""
        return str(self.docker.get("Host", ""))

    def tls_files(self) -> list[str]:
        """Names of the certificate files that exist."""
        directory = f"{self.tls_path}/docker"
        return [name for name in TLS_FILES if os.path.exists(f"{directory}/{name}")]

    def endpoint(self) -> Endpoint:
        """How to reach its daemon."""
        present = self.tls_files()
        skip = bool(self.docker.get("SkipTLSVerify"))
        if not present and not skip:
            return Endpoint(self.host or DEFAULT_ADDRESS)
        paths = [f"{self.tls_path}/docker/{n}" if n in present else "" for n in TLS_FILES]
        return Endpoint(self.host, TlsFiles(*paths, verify=not skip))


class ContextStore:
    """The contexts below one configuration directory."""

    __slots__ = ("root",)

    def __init__(self, config_directory: str) -> None:
        self.root = f"{config_directory}/contexts"

    def get(self, name: str) -> Context:
        """The context of that name; raises CliError when there is none."""
        context = Context(name, {}, self.root)
        try:
            with open(f"{context.meta_path}/meta.json", encoding="utf-8") as file:
                context.metadata = json.load(file)
        except FileNotFoundError:
            raise CliError(
                f'context "{name}": context not found: open {context.meta_path}/meta.json: '
                "no such file or directory"
            ) from None
        except (OSError, ValueError) as error:
            raise CliError(f'context "{name}": cannot be read: {error}') from error
        return context

    def exists(self, name: str) -> bool:
        """There is a context of that name."""
        return os.path.exists(f"{Context(name, {}, self.root).meta_path}/meta.json")

    def list(self) -> list[Context]:
        """All stored contexts, by name."""
        try:
            directories = os.listdir(f"{self.root}/meta")
        except FileNotFoundError:
            return []
        contexts = []
        for directory in directories:
            try:
                with open(f"{self.root}/meta/{directory}/meta.json", encoding="utf-8") as file:
                    metadata = json.load(file)
            except (FileNotFoundError, NotADirectoryError):
                continue
            contexts.append(Context(metadata["Name"], metadata, self.root))
        return sorted(contexts, key=lambda context: context.name)

    def save(self, context: Context) -> None:
        """Write a context's description."""
        os.makedirs(context.meta_path, mode=0o755, exist_ok=True)
        temporary = f"{context.meta_path}/meta.json.tmp"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(context.metadata, file, separators=(",", ":"))
        os.replace(temporary, f"{context.meta_path}/meta.json")

    def save_tls(self, context: Context, files: dict[str, bytes]) -> None:
        """Replace a context's certificates; names are of TLS_FILES."""
        import shutil

        shutil.rmtree(context.tls_path, ignore_errors=True)
        if not files:
            return
        os.makedirs(f"{context.tls_path}/docker", mode=0o700)
        for name, content in files.items():
            path = f"{context.tls_path}/docker/{name}"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(content)

    def remove(self, name: str) -> None:
        """Forget a context and its certificates."""
        import shutil

        context = Context(name, {}, self.root)
        shutil.rmtree(context.meta_path, ignore_errors=True)
        shutil.rmtree(context.tls_path, ignore_errors=True)


def check_name(name: str) -> None:
    """Raise CliError when ``name`` cannot be a context's."""
    if not name:
        raise CliError("context name cannot be empty")
    if name == DEFAULT:
        raise CliError('"default" is a reserved context name')
    if not set(name) <= _NAME or not (name[0].isalnum() and len(name) > 1):
        raise CliError(
            f'context name "{name}" is invalid, names are validated against regexp '
            '"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"'
        )
