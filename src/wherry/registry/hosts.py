"""Where a repository's registry is: addresses, mirrors, TLS.

Pure decisions are here; `certificates` reads ``certs.d``, the folder of CA files (``*.crt``) and
client certificates (``*.cert`` with ``*.key``) per registry host, as Docker has it.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from wherry.errors import InvalidParameter

DOCKER_DOMAIN = "docker.io"
DOCKER_REGISTRY = "registry-1.docker.io"
DOCKER_INDEX = "index.docker.io"
CERTIFICATE_FOLDERS = ("/etc/wherry/certs.d", "/etc/docker/certs.d")


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """The daemon's settings. ``default_registry`` stands in for docker.io's own host.

    ``mirrors`` are URLs tried before docker.io; ``insecure`` are hosts (``name:port``) and
    networks (CIDR) whose certificates are not checked and that may speak plain HTTP.
    """

    mirrors: tuple[str, ...] = ()
    insecure: tuple[str, ...] = ()
    default_registry: str = DOCKER_REGISTRY
    certificate_folders: tuple[str, ...] = CERTIFICATE_FOLDERS


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place to try: ``url`` without a trailing slash."""

    url: str
    host: str
    verify: bool = True
    mirror: bool = False


def endpoints(domain: str, options: RegistryOptions, *, push: bool = False) -> list[Endpoint]:
    """The places to try for a domain, in order: mirrors (pull only), HTTPS, then plain HTTP.

    Plain HTTP is tried only for hosts that the administrator called insecure and for loopback
    addresses, never silently for others.
    """
    if domain == DOCKER_DOMAIN:
        host = options.default_registry
        mirrors = [] if push else [_mirror(url, options) for url in options.mirrors]
    else:
        host, mirrors = domain, []
    insecure = is_insecure(host, options.insecure)
    own = [Endpoint(f"https://{host}", host, verify=not insecure)]
    if insecure:
        own.append(Endpoint(f"http://{host}", host, verify=False))
    return [*mirrors, *own]


def _mirror(url: str, options: RegistryOptions) -> Endpoint:
    scheme, _, rest = url.partition("://")
    if scheme not in ("http", "https") or not rest:
        raise InvalidParameter(f"invalid mirror: {url!r} is not an http or https URL")
    host = rest.split("/", 1)[0]
    verify = scheme == "https" and not is_insecure(host, options.insecure)
    return Endpoint(url.rstrip("/"), host, verify, mirror=True)


def is_insecure(host: str, insecure: Sequence[str]) -> bool:
    """Whether ``host[:port]`` may be reached without a checked certificate."""
    name = _name(host)
    if name == "localhost":
        return True
    for entry in insecure:
        if entry in (host, name):
            return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    if address.is_loopback:
        return True
    return any(address in network for network in _networks(insecure))


def _name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _networks(entries: Sequence[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    found = []
    for entry in entries:
        if "/" in entry:
            try:
                found.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                continue
    return found


def certificates(host: str, folders: Sequence[str], *, verify: bool) -> ssl.SSLContext:
    """The TLS settings for a host; raises InvalidParameter for a certificate without its key."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for folder in (os.path.join(folder, host) for folder in folders):
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith(".crt"):
                context.load_verify_locations(path)
            elif name.endswith(".cert"):
                key = path.removesuffix(".cert") + ".key"
                if not os.path.exists(key):
                    raise InvalidParameter(f"missing key {key} for client certificate {path}")
                context.load_cert_chain(path, key)
    return context
