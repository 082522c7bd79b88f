"""Forgetting connections that the kernel tracks, so that new rules apply to old UDP senders.

A UDP sender that never pauses keeps its tracked connection, and with it the way its packets went
before a port was published or unpublished. Deleting what is tracked makes the next packet meet
the rules anew (conntrack netlink, linux/netfilter/nfnetlink_conntrack.h).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

_NETLINK_NETFILTER = 12
_SUBSYS_CTNETLINK, _CT_DELETE = 1, 2
_REQUEST, _ACK, _NESTED = 0x1, 0x4, 0x8000
_CTA_TUPLE_ORIG, _CTA_FILTER = 1, 25
_CTA_TUPLE_PROTO, _CTA_PROTO_NUM, _CTA_PROTO_DST_PORT = 2, 1, 3
_CTA_FILTER_ORIG_FLAGS, _BY_PROTO_NUM, _BY_DST_PORT = 1, 1 << 3, 1 << 5
_HEADER = struct.Struct("=IHHII")


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def forget_udp(ports: Iterable[tuple[int, int]]) -> None:
    """Forget UDP connections to these (IP version, port) of the host.

    Kernels before 6.3 cannot filter by port and are left alone: there a sender meets the new
    rules after a pause.
    """
    messages = []
    for number, (version, port) in enumerate(ports, 1):
        proto = _attribute(_CTA_PROTO_NUM, bytes([socket.IPPROTO_UDP]))
        proto += _attribute(_CTA_PROTO_DST_PORT, struct.pack("!H", port))
        tuple_ = _attribute(_CTA_TUPLE_PROTO | _NESTED, proto)
        flags = struct.pack("=I", _BY_PROTO_NUM | _BY_DST_PORT)
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        body = struct.pack("=BBH", family, 0, 0)
        body += _attribute(_CTA_TUPLE_ORIG | _NESTED, tuple_)
        body += _attribute(_CTA_FILTER | _NESTED, _attribute(_CTA_FILTER_ORIG_FLAGS, flags))
        kind = _SUBSYS_CTNETLINK << 8 | _CT_DELETE
        header = _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _ACK, number, 0)
        messages.append(header + body)
    if not messages:
        return
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
        netlink.bind((0, 0))
        for message in messages:
            netlink.send(message)
            netlink.recv(4096)  # "no such connection" is as good as done
