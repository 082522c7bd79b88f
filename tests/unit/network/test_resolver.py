"""The name server of a container."""

from __future__ import annotations

import socket
import struct

from wherry.network.porter import names
from wherry.network.porter.loop import Loop
from wherry.network.porter.resolver import Resolver


def _query(kind: int) -> bytes:
    header = struct.pack(">HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0)
    return header + names.encode_name("web") + struct.pack(">HH", kind, 1)


def test_two_addresses_share_the_questions_of_clients_that_ask_for_both_kinds() -> None:
    table = names.Table("net")
    table.set("c1", ["web"], ["10.0.0.2"])
    table.set("c2", ["web"], ["10.0.0.3"])
    udp, tcp = socket.socketpair()
    with udp, tcp:
        resolver = Resolver(Loop(), {"net": table}, udp, tcp)
        resolver.networks = ["net"]
        last = set()
        for _ in range(2):
            answers: list[bytes] = []
            resolver.handle(_query(names.TYPE_A), answers.append, tcp=False)
            resolver.handle(_query(names.TYPE_AAAA), answers.append, tcp=False)
            last.add(answers[0][-4:])
        assert last == {bytes([10, 0, 0, 2]), bytes([10, 0, 0, 3])}
