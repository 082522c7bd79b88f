"""Where a daemon listens, and how to open a byte stream to it.

Addresses have the forms that ``DOCKER_HOST`` knows: ``unix:///path``, ``tcp://host:port``,
``http(s)://host:port`` and ``ssh://user@host``.
"""

from __future__ import annotations

import socket

from wherry.client.errors import ClientError, ConnectionFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext

DEFAULT_ADDRESS = "unix:///run/wherry.sock"
_PLAIN_PORT = 2375
_TLS_PORT = 2376


class TlsFiles:
    """Certificates for a TLS connection; paths that are empty are not used."""

    __slots__ = ("ca", "cert", "key", "verify")

    def __init__(self, ca: str = "", cert: str = "", key: str = "", *, verify: bool = True) -> None:
        self.ca = ca
        self.cert = cert
        self.key = key
        self.verify = verify

    def context(self) -> SSLContext:
        """An SSL context of these files; raises ClientError when one cannot be read."""
        import ssl

        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if not self.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.cert:
                context.load_cert_chain(self.cert, self.key or None)
        except (OSError, ssl.SSLError) as error:
            raise ClientError(f"could not load TLS files: {error}") from error
        return context


class Endpoint:
    """A parsed daemon address; ``connect`` opens a new stream to it."""

    __slots__ = ("address", "base_path", "host", "path", "port", "scheme", "tls")

    def __init__(self, address: str, tls: TlsFiles | None = None) -> None:
        """Parse ``address``; raises ClientError with Docker's words when it has no known form."""
        scheme, separator, rest = address.partition("://")
        if not separator:
            raise ClientError(f"unable to parse docker host `{address}`")
        self.address = address
        self.scheme = scheme
        self.tls = tls
        self.host = ""
        self.port = 0
        self.path = ""
        self.base_path = ""
        if scheme == "unix":
            self.path = rest
        elif scheme == "ssh":
            self.host, _, self.path = rest.partition("/")
        elif scheme in ("tcp", "http", "https"):
            if scheme == "https" and tls is None:
                self.tls = TlsFiles()
            authority, _, base = rest.partition("/")
            self.base_path = f"/{base.rstrip('/')}" if base else ""
            self.host, self.port = _split_authority(
                authority, _TLS_PORT if self.tls else _PLAIN_PORT
            )
        else:
            raise ClientError(f"protocol not available: {address}")

    @property
    def host_header(self) -> str:
        """Value of the ``Host`` header; a name that the server need not know for a socket."""
        if self.scheme in ("unix", "ssh"):
            return "api.moby.localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def connect(self, timeout: float | None = None) -> socket.socket:
        """A connected stream socket; ``timeout`` in seconds holds for all its operations.

        Raises ConnectionFailed when nothing listens there.
        """
        try:
            if self.scheme == "unix":
                plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                try:
                    plain.settimeout(timeout)
                    plain.connect(self.path)
                except OSError:
                    plain.close()
                    raise
                return plain
            if self.scheme == "ssh":
                return self._through_ssh()
            plain = socket.create_connection((self.host, self.port), timeout)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is None:
                return plain
            from wherry.client.tls import TlsStream

            return TlsStream(plain, self.tls.context(), self.host)
        except OSError as error:
            raise ConnectionFailed(
                self.address,
                error.strerror or str(error),
                permission=isinstance(error, PermissionError),
            ) from error

    def _through_ssh(self) -> socket.socket:
        """A socket that ``ssh HOST docker system dial-stdio`` serves on the other side."""
        import subprocess

        user, _, authority = self.host.rpartition("@")
        host, port = _split_authority(authority, 0)
        command = ["ssh", "-o", "ConnectTimeout=30", "-T", *(["-l", user] if user else [])]
        command += [*(["-p", str(port)] if port else []), "--", host]
        remote = ["docker", *(["--host", f"unix:///{self.path}"] if self.path else [])]
        ours, theirs = socket.socketpair()
        with theirs:
            subprocess.Popen(
                [*command, *remote, "system", "dial-stdio"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                start_new_session=True,
            )
        return ours


def _split_authority(authority: str, default_port: int) -> tuple[str, int]:
    """``host:port`` into its parts; IPv6 addresses stand in brackets."""
    if authority.startswith("["):
        host, _, rest = authority[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = authority.partition(":")
    try:
        return host or "127.0.0.1", int(port) if port else default_port
    except ValueError:
        raise ClientError(f'invalid port "{port}" in daemon address') from None
