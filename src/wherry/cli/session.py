"""What a command has at hand while it runs: settings, the daemon, the terminal."""

from __future__ import annotations

import os
import sys

from wherry.cli.config import ConfigFile
from wherry.cli.errors import CliError
from wherry.client.api import ApiClient
from wherry.client.endpoint import DEFAULT_ADDRESS, Endpoint, TlsFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.cli.flags import Options


class Session:
    """One run of one command; the daemon is looked for when it is first needed."""

    def __init__(self, options: Options, path: str) -> None:
        """``options`` are the global flags, ``path`` the command's name."""
        self.options = options
        self.path = path
        self._config: ConfigFile | None = None
        self._client: ApiClient | None = None

    def close(self) -> None:
        """Close connections to the daemon."""
        if self._client is not None:
            self._client.close()

    @property
    def config(self) -> ConfigFile:
        """The client's configuration file."""
        if self._config is None:
            try:
                self._config = ConfigFile(self.options["config"])
            except CliError as error:
                self.warn(str(error))
                self._config = ConfigFile(os.devnull)
        return self._config

    @property
    def context_name(self) -> str:
        """Name of the context in use, by Docker's order of precedence."""
        if self.options["context"]:
            return str(self.options["context"])
        if self.options["host"] or os.environ.get("DOCKER_HOST"):
            return "default"
        return os.environ.get("DOCKER_CONTEXT") or self.config.text("currentContext") or "default"

    @property
    def endpoint(self) -> Endpoint:
        """Address and certificates of the daemon; raises CliError for contradicting flags."""
        hosts = self.options["host"]
        if hosts and self.options["context"]:
            raise CliError("conflicting options: cannot specify both --host and --context")
        failed = "Failed to initialize: unable to resolve docker endpoint:"
        if len(hosts) > 1:
            raise CliError(f"{failed} Specify only one -H")
        name = self.context_name
        if name == "default":
            return self.default_endpoint()
        from wherry.cli.contexts import ContextStore

        try:
            return ContextStore(self.config.directory).get(name).endpoint()
        except CliError as error:
            raise CliError(f"{failed} {error}") from None

    def default_endpoint(self) -> Endpoint:
        """The daemon of flags and environment, without contexts."""
        hosts = self.options["host"]
        address = (hosts[0] if hosts else os.environ.get("DOCKER_HOST", "")).strip()
        return Endpoint(normal_address(address), self._tls_files())

    def _tls_files(self) -> TlsFiles | None:
        options = self.options
        verify = options["tlsverify"] or (
            not options.given("tlsverify") and bool(os.environ.get("DOCKER_TLS_VERIFY"))
        )
        if not (verify or options["tls"] or os.environ.get("DOCKER_TLS")):
            return None
        files = []
        for name in ("tlscacert", "tlscert", "tlskey"):
            present = options.given(name) or os.path.exists(options[name])
            files.append(options[name] if present else "")
        return TlsFiles(*files, verify=verify)

    @property
    def client(self) -> ApiClient:
        """The connection to the daemon."""
        if self._client is None:
            from wherry import __version__

            headers = {"User-Agent": f"Wherry-Client/{__version__} ({sys.platform})"}
            headers.update(self.config.table("HttpHeaders"))
            version = os.environ.get("DOCKER_API_VERSION") or None
            self._client = ApiClient(self.endpoint, version=version, headers=headers)
        return self._client

    def say(self, text: str) -> None:
        """One line to standard output."""
        sys.stdout.write(f"{text}\n")

    def write(self, text: str) -> None:
        """Text to standard output as it is."""
        sys.stdout.write(text)

    def warn(self, text: str) -> None:
        """One line to standard error, after what went to standard output before."""
        sys.stdout.flush()
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    @property
    def stdout_is_terminal(self) -> bool:
        """Standard output is a terminal."""
        return sys.stdout.isatty()

    @property
    def stdin_is_terminal(self) -> bool:
        """Standard input is a terminal."""
        return sys.stdin is not None and sys.stdin.isatty()

    def each(self, names: list[str], action: Callable[[str], object]) -> int:
        """Do ``action`` for each name, print the name when done; 1 if any failed.

        Failures are printed and do not stop the others; nothing is printed for an action that
        returns False.
        """
        from wherry.cli.failures import message
        from wherry.errors import WherryError

        failures = []
        for name in names:
            try:
                if action(name) is not False:
                    self.say(name)
            except CliError as error:
                failures.append(str(error))
            except WherryError as error:
                failures.append(message(error))
        if failures:
            self.warn("\n".join(failures))
        return 1 if failures else 0

    def confirm(self, question: str) -> bool:
        """Ask a yes-or-no question on the terminal; no answer is no."""
        self.write(f"{question} [y/N] ")
        sys.stdout.flush()
        answer = sys.stdin.readline()
        return answer.strip().lower() in ("y", "yes")


def normal_address(address: str) -> str:
    """A daemon address with its scheme: empty is the default socket, a bare host is TCP."""
    if not address:
        return DEFAULT_ADDRESS
    if "://" in address:
        scheme, _, rest = address.partition("://")
        if scheme == "unix" and not rest:
            return DEFAULT_ADDRESS
        if scheme == "tcp" and not rest:
            return "tcp://localhost:2375"
        return address
    if address.startswith(":"):
        return f"tcp://localhost{address}"
    return f"tcp://{address}" if ":" in address else f"tcp://{address}:2375"
