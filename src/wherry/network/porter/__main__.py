"""The porter's process: ``python -I -m wherry.network.porter DESCRIPTOR PATH``.

``DESCRIPTOR`` is the listening control socket, bound to ``PATH``.

Messages are JSON objects, one a packet, with descriptors beside them. A message that is longer
than a packet lies in a file whose descriptor comes with ``{"do": "read"}`` (see ``packets``).

- ``{"do": "publish", "container", "key", "protocol", "target": [address, port]}`` + listener
- ``{"do": "retarget", ...}`` with the same fields: new connections go there
- ``{"do": "resolve", "container"}`` + UDP socket, TCP socket
- ``{"do": "view", "container", "networks", "upstream", "inside", "links"}``: what its name server
  knows
- ``{"do": "name", "network", "network_name", "container", "names", "addresses"}``
- ``{"do": "unname", "network", "container"}``; an empty network means all
- ``{"do": "unpublish", "container"}``, ``{"do": "forget", "container"}``
- ``{"do": "report"}`` → ``{"published": {container: [key]}, "resolved": [container], "pid"}``;
  with ``"brief": true`` both are empty, and the answer tells that all before has been done
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys
import traceback
from typing import Any

from wherry.network.porter import packets
from wherry.network.porter.loop import READ, Loop
from wherry.network.porter.names import Table
from wherry.network.porter.resolver import Resolver
from wherry.network.porter.share import Share
from wherry.network.porter.tcp import TcpRelay
from wherry.network.porter.udp import UdpRelay


class Porter:
    """What the process holds."""

    def __init__(self, loop: Loop, share: Share, control: socket.socket) -> None:
        self._loop = loop
        self._share = share
        self._control = control
        self._daemons: set[socket.socket] = set()
        self._relays: dict[str, dict[str, TcpRelay | UdpRelay | socket.socket]] = {}
        self._resolvers: dict[str, Resolver] = {}
        self._tables: dict[str, Table] = {}
        loop.watch(control.fileno(), READ, self._accept)

    def _accept(self, _: int) -> None:
        peer, _ = self._control.accept()
        self._daemons.add(peer)
        self._loop.watch(peer.fileno(), READ, lambda events: self._receive(peer))

    def _receive(self, peer: socket.socket) -> None:
        try:
            message, descriptors = packets.receive(peer)
        except (OSError, EOFError):
            self._part(peer)
            return
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        try:
            self._do(peer, message, sockets)
        except ConnectionError:
            self._part(peer)
        except Exception:
            # One order that fails must not keep those behind it waiting.
            traceback.print_exc()

    def _part(self, peer: socket.socket) -> None:
        """A daemon is gone."""
        self._loop.forget(peer.fileno())
        peer.close()
        self._daemons.discard(peer)
        self._leave()

    def _leave(self) -> None:
        if not self._daemons and not self._relays and not self._resolvers:
            self._loop.running = False

    def _do(
        self, peer: socket.socket, message: dict[str, Any], sockets: list[socket.socket]
    ) -> None:
        container = message.get("container", "")
        match message["do"]:
            case "report":
                packets.send(peer, self._report(brief=message.get("brief", False)))
            case "forget":
                self._unpublish(container)
                if container in self._resolvers:
                    self._resolvers.pop(container).close()
                for network in list(self._tables):
                    self._unname(network, container)
            case "publish" | "retarget" | "unpublish":
                self._do_port(container, message, sockets)
            case "resolve" | "view" | "name" | "unname":
                self._do_names(container, message, sockets)

    def _do_port(
        self, container: str, message: dict[str, Any], sockets: list[socket.socket]
    ) -> None:
        match message["do"]:
            case "publish":
                self._publish(container, message, sockets[0])
            case "retarget":
                relay = self._relays.get(container, {}).get(message["key"])
                if isinstance(relay, (TcpRelay, UdpRelay)):
                    relay.target = (message["target"][0], message["target"][1])
            case "unpublish":
                self._unpublish(container)

    def _do_names(
        self, container: str, message: dict[str, Any], sockets: list[socket.socket]
    ) -> None:
        match message["do"]:
            case "resolve":
                if container in self._resolvers:
                    self._resolvers.pop(container).close()
                self._resolvers[container] = Resolver(self._loop, self._tables, *sockets)
            case "view" if container in self._resolvers:
                resolver = self._resolvers[container]
                resolver.networks = message["networks"]
                resolver.upstream = message["upstream"]
                resolver.inside = message["inside"]
                resolver.links = message["links"]
            case "name":
                network = message["network"]
                table = self._tables.setdefault(network, Table(message["network_name"]))
                table.set(container, message["names"], message["addresses"])
            case "unname":
                for network in [message["network"]] if message["network"] else list(self._tables):
                    self._unname(network, container)

    def _report(self, *, brief: bool) -> dict[str, Any]:
        if brief:
            return {"published": {}, "resolved": [], "pid": os.getpid()}
        published = {key: list(relays) for key, relays in self._relays.items()}
        return {
            "published": published,
            "resolved": list(self._resolvers),
            "pid": os.getpid(),
        }

    def _publish(self, container: str, message: dict[str, Any], listener: socket.socket) -> None:
        target = (message["target"][0], message["target"][1])
        relays = self._relays.setdefault(container, {})
        relay: TcpRelay | UdpRelay | socket.socket
        match message["protocol"]:
            case "tcp":
                relay = TcpRelay(self._loop, self._share, listener, target)
            case "udp":
                relay = UdpRelay(self._loop, self._share, listener, target)
            case _:
                relay = listener
        relays[message["key"]] = relay

    def _unpublish(self, container: str) -> None:
        for relay in self._relays.pop(container, {}).values():
            relay.close()

    def _unname(self, network: str, container: str) -> None:
        table = self._tables.get(network)
        if table is not None:
            table.remove(container)
            if table.is_empty:
                del self._tables[network]


def main(descriptor: int, path: str) -> None:
    """Serve until nothing is held and no daemon is connected."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    control = socket.socket(fileno=descriptor)
    own = os.stat(path).st_ino
    loop = Loop()
    Porter(loop, Share(loop, hard), control)
    loop.run()
    # Another porter may have been started in the moment since.
    with contextlib.suppress(FileNotFoundError):
        if os.stat(path).st_ino == own:
            os.unlink(path)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
