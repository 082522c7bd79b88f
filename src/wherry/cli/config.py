"""The client's configuration file, ``config.json``, shared with Docker's own client."""

from __future__ import annotations

import json
import os

from wherry.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FILE = "config.json"


def config_directory(given: str | None) -> str:
    """The directory of the configuration: a flag, ``DOCKER_CONFIG``, or ``~/.docker``."""
    if given:
        return given
    return os.environ.get("DOCKER_CONFIG") or f"{os.path.expanduser('~')}/.docker"


class ConfigFile:
    """``config.json`` as a dict; unknown keys survive a rewrite."""

    __slots__ = ("data", "directory")

    def __init__(self, directory: str) -> None:
        """Read the file in ``directory``; a missing one is empty, a broken one raises CliError."""
        self.directory = directory
        self.data: dict[str, Any] = {}
        try:
            with open(self.path, encoding="utf-8") as file:
                loaded = json.load(file)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise CliError(f"WARNING: Error loading config file: {self.path}: {error}") from error
        if isinstance(loaded, dict):
            self.data = loaded

    @property
    def path(self) -> str:
        """Path of the file."""
        return f"{self.directory}/{_FILE}"

    def text(self, key: str) -> str:
        """A string setting, empty when it is missing."""
        value = self.data.get(key, "")
        return value if isinstance(value, str) else ""

    def table(self, key: str) -> dict[str, Any]:
        """A setting that is an object, empty when it is missing."""
        value = self.data.get(key)
        return value if isinstance(value, dict) else {}

    def save(self) -> None:
        """Write the file anew, readable by its owner only; raises OSError."""
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        # A link (dotfiles in a repository) stays a link: its target is replaced.
        target = os.path.realpath(self.path)
        temporary = f"{target}.{os.getpid()}.tmp"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(self.data, file, indent="\t")
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise

    def proxies(self, host: str) -> dict[str, str]:
        """Proxy variables that containers of the daemon at ``host`` are given, both spellings."""
        proxies = self.table("proxies")
        chosen = proxies.get(host) or proxies.get("default") or {}
        names = {
            "httpProxy": "HTTP_PROXY",
            "httpsProxy": "HTTPS_PROXY",
            "noProxy": "NO_PROXY",
            "ftpProxy": "FTP_PROXY",
            "allProxy": "ALL_PROXY",
        }
        result: dict[str, str] = {}
        for key, variable in names.items():
            if value := chosen.get(key):
                result[variable] = result[variable.lower()] = str(value)
        return result
