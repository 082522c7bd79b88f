"""rtnetlink(7): links, addresses and routes, as far as containers need them.

Why not a library: a container's network is two dozen messages, always the same. Sent as batches
(one sendmsg(2) for all messages of one namespace) they take well under a millisecond, and the
codec needs no memory to speak of; see docs/dependencies.md.

Requests are data (``Request``), made by pure functions; ``RouteSocket.run`` sends them in order
and raises KernelError for the first one that the kernel refused.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_network,
)
from typing import TypeAlias

from wherry.errors import KernelError

Address: TypeAlias = IPv4Address | IPv6Address
Interface: TypeAlias = IPv4Interface | IPv6Interface
Subnet: TypeAlias = IPv4Network | IPv6Network

# linux/netlink.h
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 0x1, 0x4, 0x300
_NLM_F_REPLACE, _NLM_F_EXCL, _NLM_F_CREATE = 0x100, 0x200, 0x400
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK = 270, 10, 11, 12
_NLM_F_CAPPED, _NLM_F_ACK_TLVS, _NLMSGERR_ATTR_MSG = 0x100, 0x200, 1
_NLA_F_NESTED = 0x8000

# linux/rtnetlink.h
_RTMGRP_LINK = 1
_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK = 16, 17, 18
_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_RTM_NEWROUTE, _RTM_DELROUTE, _RTM_GETROUTE = 24, 25, 26
_RTM_NEWNSID, _RTM_GETNSID, _NETNSA_NSID, _NETNSA_FD = 88, 90, 1, 3  # linux/net_namespace.h
_NAMESPACE = bytes(4)  # struct rtgenmsg, padded
_RT_TABLE_MAIN, _RT_TABLE_LOCAL, _RTPROT_BOOT, _RTN_UNICAST = 254, 255, 3, 1
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 1, 4, 5, 6
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253

# linux/if_link.h, linux/if_addr.h, linux/veth.h
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER = 1, 3, 4, 5, 10
_IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_NET_NS_FD, _IFLA_TARGET_NETNSID = 18, 20, 28, 46
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFLA_INFO_SLAVE_KIND, _IFLA_INFO_SLAVE_DATA = 4, 5
_IFLA_BRPORT_MODE, _IFLA_BRPORT_ISOLATED = 4, 33
_IFLA_MACVLAN_MODE, _IFLA_IPVLAN_MODE, _IFLA_IPVLAN_FLAGS, _IFLA_VLAN_ID = 1, 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS, _IFA_F_NODAD = 1, 2, 4, 8, 0x02
_IFF_UP = 1
_SO_RCVBUFFORCE, _WATCH_BUFFER = 33, 1 << 23

MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")


@dataclass(frozen=True, slots=True)
class Request:
    """One netlink message and, for error texts, what it does to what."""

    kind: int
    flags: int
    body: bytes
    step: str
    target: str
    missing_ok: bool = False
    ignored: int = 0  # an errno that is as good as done


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface as the kernel reports it."""

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    master: int
    up: bool
    alias: str


def _attribute(kind: int, data: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _u32(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def _s32(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=i", value))


def _nested(kind: int, *attributes: bytes) -> bytes:
    return _attribute(kind | _NLA_F_NESTED, b"".join(attributes))


def _mac(value: str) -> bytes:
    return _attribute(_IFLA_ADDRESS, bytes.fromhex(value.replace(":", "")))


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += length + 3 & ~3


def _link(index: int = 0, up: bool | None = None) -> bytes:
    change = 0 if up is None else _IFF_UP
    return _LINK.pack(socket.AF_UNSPEC, 0, index, _IFF_UP if up else 0, change)


_NEW = _NLM_F_CREATE | _NLM_F_EXCL


def add_bridge(name: str, mac: str | None = None, mtu: int | None = None) -> Request:
    """A bridge device without ports, down."""
    body = _link() + _text(_IFLA_IFNAME, name)
    body += _mac(mac) if mac else b""
    body += _u32(_IFLA_MTU, mtu) if mtu else b""
    body += _nested(_IFLA_LINKINFO, _text(_IFLA_INFO_KIND, "bridge"))
    return Request(_RTM_NEWLINK, _NEW, body, "create bridge", name)


def add_dummy(name: str) -> Request:
    """An interface that leads nowhere: the parent of internal macvlan and ipvlan networks."""
    body = _link(up=True) + _text(_IFLA_IFNAME, name)
    body += _nested(_IFLA_LINKINFO, _text(_IFLA_INFO_KIND, "dummy"))
    return Request(_RTM_NEWLINK, _NEW, body, "create interface", name)


def set_alias(name: str, alias: str) -> Request:
    """Write on an interface whose it is; the kernel ignores this in the message that creates it."""
    body = _link() + _text(_IFLA_IFNAME, name) + _text(_IFLA_IFALIAS, alias)
    return Request(_RTM_NEWLINK, 0, body, "mark interface", name)


def add_vlan(name: str, parent: int, tag: int) -> Request:
    """An 802.1q sub-interface of ``parent``, up."""
    body = _link(up=True) + _text(_IFLA_IFNAME, name) + _u32(_IFLA_LINK, parent)
    data = _nested(_IFLA_INFO_DATA, _attribute(_IFLA_VLAN_ID, struct.pack("=H", tag)))
    body += _nested(_IFLA_LINKINFO, _text(_IFLA_INFO_KIND, "vlan"), data)
    return Request(_RTM_NEWLINK, _NEW, body, "create VLAN interface", name)


def add_veth(
    name: str, bridge: int, peer: str, peer_mac: str, namespace_fd: int, mtu: int
) -> Request:
    """A veth pair at once: ``name`` here, up and enslaved; ``peer`` born in the namespace."""
    data = _link() + _text(_IFLA_IFNAME, peer) + _mac(peer_mac)
    data += _u32(_IFLA_NET_NS_FD, namespace_fd) + _u32(_IFLA_MTU, mtu)
    body = _link(up=True) + _text(_IFLA_IFNAME, name)
    body += _u32(_IFLA_MASTER, bridge) + _u32(_IFLA_MTU, mtu)
    body += _nested(
        _IFLA_LINKINFO,
        _text(_IFLA_INFO_KIND, "veth"),
        _nested(_IFLA_INFO_DATA, _nested(_VETH_INFO_PEER, data)),
    )
    return Request(_RTM_NEWLINK, _NEW, body, "create veth", name)


def add_macvlan(name: str, parent: int, mode: str, namespace_fd: int, mac: str) -> Request:
    """A macvlan of ``parent``, born in the namespace; ``mode`` is a key of MACVLAN_MODES."""
    body = _link() + _text(_IFLA_IFNAME, name) + _u32(_IFLA_LINK, parent) + _mac(mac)
    body += _u32(_IFLA_NET_NS_FD, namespace_fd)
    data = _nested(_IFLA_INFO_DATA, _u32(_IFLA_MACVLAN_MODE, MACVLAN_MODES[mode]))
    body += _nested(_IFLA_LINKINFO, _text(_IFLA_INFO_KIND, "macvlan"), data)
    return Request(_RTM_NEWLINK, _NEW, body, "create macvlan", name)


def add_ipvlan(name: str, parent: int, mode: str, flag: str, namespace_fd: int) -> Request:
    """An ipvlan of ``parent``, born in the namespace; see IPVLAN_MODES and IPVLAN_FLAGS."""
    body = _link() + _text(_IFLA_IFNAME, name) + _u32(_IFLA_LINK, parent)
    body += _u32(_IFLA_NET_NS_FD, namespace_fd)
    data = _nested(
        _IFLA_INFO_DATA,
        _attribute(_IFLA_IPVLAN_MODE, struct.pack("=H", IPVLAN_MODES[mode])),
        _attribute(_IFLA_IPVLAN_FLAGS, struct.pack("=H", IPVLAN_FLAGS[flag])),
    )
    body += _nested(_IFLA_LINKINFO, _text(_IFLA_INFO_KIND, "ipvlan"), data)
    return Request(_RTM_NEWLINK, _NEW, body, "create ipvlan", name)


def set_link(index: int, name: str, *, up: bool | None = None, mtu: int | None = None) -> Request:
    """Change the state or the MTU of an interface."""
    body = _link(index, up) + (_u32(_IFLA_MTU, mtu) if mtu else b"")
    return Request(_RTM_NEWLINK, 0, body, "set up interface", name)


def set_bridge_port(name: str, *, hairpin: bool, isolated: bool) -> Request:
    """Set flags of a bridge port (bridge(8)).

    ``hairpin``: what came in may go out the same way. ``isolated``: other isolated ports are out
    of reach.
    """
    data = _attribute(_IFLA_BRPORT_MODE, bytes([hairpin]))
    data += _attribute(_IFLA_BRPORT_ISOLATED, bytes([isolated]))
    body = _link() + _text(_IFLA_IFNAME, name)
    body += _nested(
        _IFLA_LINKINFO,
        _text(_IFLA_INFO_SLAVE_KIND, "bridge"),
        _nested(_IFLA_INFO_SLAVE_DATA, data),
    )
    return Request(_RTM_NEWLINK, 0, body, "set up bridge port", name)


def set_down(name: str) -> Request:
    """Take an interface down by name; one that is gone already is no error."""
    body = _link(up=False) + _text(_IFLA_IFNAME, name)
    return Request(_RTM_NEWLINK, 0, body, "take down interface", name, missing_ok=True)


def leave_bridge(name: str) -> Request:
    """Take an interface off its bridge by name; one that is gone already is no error."""
    body = _link() + _text(_IFLA_IFNAME, name) + _u32(_IFLA_MASTER, 0)
    return Request(_RTM_NEWLINK, 0, body, "take off its bridge interface", name, missing_ok=True)


def delete_link(name: str, namespace: int | None = None) -> Request:
    """Remove an interface by name; one that is gone already is no error.

    ``namespace`` is the number of another network namespace (``RouteSocket.namespace_number``);
    one that is gone took its interfaces along.
    """
    body = _link() + _text(_IFLA_IFNAME, name)
    if namespace is None:
        return Request(_RTM_DELLINK, 0, body, "delete interface", name, missing_ok=True)
    body += _s32(_IFLA_TARGET_NETNSID, namespace)
    step = "delete interface of an ended container"
    return Request(_RTM_DELLINK, 0, body, step, name, missing_ok=True, ignored=errno.EINVAL)


def number_namespace(number: int, namespace_fd: int) -> Request:
    """Give a network namespace a number, which lasts as long as it does (ip-netns(8), set)."""
    body = _NAMESPACE + _s32(_NETNSA_NSID, number) + _u32(_NETNSA_FD, namespace_fd)
    return Request(_RTM_NEWNSID, 0, body, "number network namespace", str(number))


def add_address(index: int, interface: Interface, name: str) -> Request:
    """Give an interface an address, without IPv6 duplicate detection (IPAM gives nothing twice)."""
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    packed = interface.ip.packed
    prefix = interface.network.prefixlen
    body = _ADDRESS.pack(family, prefix, 0, _SCOPE_UNIVERSE, index)
    body += _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)
    if interface.version == 6:
        body += _u32(_IFA_FLAGS, _IFA_F_NODAD)
    elif prefix < 31:
        body += _attribute(_IFA_BROADCAST, interface.network.broadcast_address.packed)
    return Request(
        _RTM_NEWADDR, _NLM_F_CREATE | _NLM_F_REPLACE, body, f"add address {interface} to", name
    )


def _route(version: int, index: int, gateway: Address | None) -> bytes:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    scope = _SCOPE_UNIVERSE if gateway or version == 6 else _SCOPE_LINK
    body = _ROUTE.pack(family, 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, scope, _RTN_UNICAST, 0)
    return (
        body
        + _u32(_RTA_OIF, index)
        + (_attribute(_RTA_GATEWAY, gateway.packed) if gateway else b"")
    )


def add_default_route(version: int, index: int, gateway: Address | None, name: str) -> Request:
    """Set the default route of IP ``version`` over a gateway or straight over the interface."""
    body = _route(version, index, gateway)
    flags = _NLM_F_CREATE | _NLM_F_REPLACE
    return Request(_RTM_NEWROUTE, flags, body, f"set default route via {gateway or name} on", name)


class RouteSocket:
    """A netlink socket in the network namespace that its maker was in; not for several threads."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> RouteSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def run(self, requests: Sequence[Request]) -> None:
        """Send all requests at once; raises KernelError for the first that failed.

        The kernel goes on after a failed message, so what follows must not depend on it to be
        harmless: callers undo the whole batch.
        """
        if not requests:
            return
        first = self._sequence + 1
        messages = []
        for number, request in enumerate(requests, first):
            flags = _NLM_F_REQUEST | _NLM_F_ACK | request.flags
            length = _HEADER.size + len(request.body)
            messages.append(_HEADER.pack(length, request.kind, flags, number, 0) + request.body)
        self._sequence += len(requests)
        self._socket.sendall(b"".join(messages))
        waiting = set(range(first, first + len(requests)))
        failed: tuple[int, int, str] | None = None
        while waiting:
            for kind, flags, number, payload in self._receive():
                if kind != _NLMSG_ERROR or number not in waiting:
                    continue
                waiting.remove(number)
                code = -struct.unpack_from("=i", payload)[0]
                gone = code in (errno.ENODEV, errno.ESRCH, errno.EADDRNOTAVAIL)
                asked = requests[number - first]
                fine = (gone and asked.missing_ok) or code == asked.ignored
                if code and not fine and not failed:
                    failed = (number - first, code, _explanation(flags, payload))
        if failed:
            request = requests[failed[0]]
            step = request.step + (f" ({failed[2]})" if failed[2] else "")
            raise KernelError(step, request.target, failed[1])

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        data = self._socket.recv(1 << 17)
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, flags, number, _ = _HEADER.unpack_from(data, offset)
            yield kind, flags, number, data[offset + _HEADER.size : offset + length]
            offset += length + 3 & ~3

    def _dump(self, kind: int, body: bytes, flags: int = _NLM_F_DUMP) -> Iterator[bytes]:
        self._sequence += 1
        expected = self._sequence
        header = _HEADER.pack(_HEADER.size + len(body), kind, _NLM_F_REQUEST | flags, expected, 0)
        self._socket.sendall(header + body)
        while True:
            for answer, _, number, payload in self._receive():
                if number != expected:
                    continue
                if answer == _NLMSG_DONE:
                    return
                if answer == _NLMSG_ERROR:
                    code = -struct.unpack_from("=i", payload)[0]
                    if code == errno.ENODEV:
                        return
                    raise KernelError("read network configuration", "", code)
                yield payload
                if flags != _NLM_F_DUMP:
                    return

    def links(self) -> list[Link]:
        """All interfaces of the namespace."""
        return [_parse_link(payload) for payload in self._dump(_RTM_GETLINK, _link())]

    def link(self, name: str) -> Link | None:
        """The interface called ``name``, or None."""
        for payload in self._dump(_RTM_GETLINK, _link() + _text(_IFLA_IFNAME, name), flags=0):
            return _parse_link(payload)
        return None

    def namespace_number(self, namespace_fd: int) -> int | None:
        """The number that another network namespace has here, if it has one."""
        for payload in self._dump(_RTM_GETNSID, _NAMESPACE + _u32(_NETNSA_FD, namespace_fd), 0):
            values = dict(_attributes(payload[len(_NAMESPACE) :]))
            number = int(struct.unpack("=i", values[_NETNSA_NSID])[0])
            return number if number >= 0 else None
        return None

    def addresses(self, index: int | None = None) -> list[Interface]:
        """Addresses of one interface, or of all."""
        found = []
        for payload in self._dump(_RTM_GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0)):
            _, prefix, _, _, owner = _ADDRESS.unpack_from(payload)
            values = dict(_attributes(payload[_ADDRESS.size :]))
            packed = values.get(_IFA_LOCAL) or values.get(_IFA_ADDRESS)
            if packed and index in (None, owner):
                found.append(_interface(packed, prefix))
        return found

    def route_networks(self, without: str = "") -> list[Subnet]:
        """Destinations of the main table but for those of the interface ``without``.

        Default routes are left out.
        """
        own = self.link(without) if without else None
        wanted = _ROUTE.pack(0, 0, 0, 0, _RT_TABLE_MAIN, 0, 0, 0, 0)
        found = []
        for payload in self._dump(_RTM_GETROUTE, wanted):
            _, length, _, _, table, *_ = _ROUTE.unpack_from(payload)
            values = dict(_attributes(payload[_ROUTE.size :]))
            if table != _RT_TABLE_MAIN or not length or _RTA_DST not in values:
                continue
            if own is None or _number(values.get(_RTA_OIF)) != own.index:
                found.append(ip_network((values[_RTA_DST], length), strict=False))
        return found


def hear_bursts(listener: socket.socket) -> None:
    """Let a netlink socket keep what many starts and ends at once have to tell.

    What is lost counts as changed by others, and all is repaired for nothing.
    """
    with contextlib.suppress(PermissionError):  # only the host's root may
        listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _WATCH_BUFFER)


class LinkWatch:
    """Hears of interfaces that are deleted, by whomever; ``fileno()`` becomes readable."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
            socket.NETLINK_ROUTE,
        )
        hear_bursts(self._socket)
        self._socket.bind((0, _RTMGRP_LINK))

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def deleted(self) -> set[str] | None:
        """Names of interfaces deleted since the last call; None when messages were lost."""
        names: set[str] = set()
        lost = False
        while True:
            try:
                data = self._socket.recv(1 << 17)
            except BlockingIOError:
                return None if lost else names
            except OSError:
                lost = True
                continue
            offset = 0
            while offset + _HEADER.size <= len(data):
                length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
                if length < _HEADER.size:
                    break
                if kind == _RTM_DELLINK:
                    payload = data[offset + _HEADER.size : offset + length]
                    family = payload[0]
                    # A port that leaves its bridge is told with the bridge's family.
                    if family == socket.AF_UNSPEC:
                        names.add(_parse_link(payload).name)
                offset += length + 3 & ~3


def _interface(packed: bytes, prefix: int) -> Interface:
    if len(packed) == 4:
        return IPv4Interface((packed, prefix))
    return IPv6Interface((packed, prefix))


def _parse_link(payload: bytes) -> Link:
    _, _, index, flags, _ = _LINK.unpack_from(payload)
    values = dict(_attributes(payload[_LINK.size :]))
    info = dict(_attributes(values.get(_IFLA_LINKINFO, b"")))
    return Link(
        index=index,
        name=_string(values.get(_IFLA_IFNAME, b"")),
        kind=_string(info.get(_IFLA_INFO_KIND, b"")),
        mac=values.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=_number(values.get(_IFLA_MTU)),
        master=_number(values.get(_IFLA_MASTER)),
        up=bool(flags & _IFF_UP),
        alias=_string(values.get(_IFLA_IFALIAS, b"")),
    )


def _string(value: bytes) -> str:
    return os.fsdecode(value.rstrip(b"\0"))


def _number(value: bytes | None) -> int:
    return int(struct.unpack("=I", value)[0]) if value else 0


def _explanation(flags: int, payload: bytes) -> str:
    """The kernel's own words about a refusal (NLMSGERR_ATTR_MSG), or an empty string."""
    if not flags & _NLM_F_ACK_TLVS:
        return ""
    for kind, value in _attributes(payload[4 + _HEADER.size :]):
        if kind == _NLMSGERR_ATTR_MSG:
            return _string(value)
    return ""
