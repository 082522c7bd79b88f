"""DNS messages (RFC 1035) and the decision who answers what. Pure.

Names of containers are answered from the tables that the daemon sends; everything else is left
to the host's resolvers.
"""

from __future__ import annotations

import socket
import struct

TYPE_A, TYPE_PTR, TYPE_AAAA, TYPE_OPT, TYPE_ANY = 1, 12, 28, 41, 255
_CLASS_IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
_TTL = 600
_HEADER = struct.Struct(">HHHHHH")
_UDP_LIMIT = 512


class Query:
    """A question as it came: message id, name in lower case, type, and its own bytes."""

    __slots__ = ("flags", "id", "kind", "limit", "name", "question")

    def __init__(
        self, id: int, flags: int, name: str, kind: int, question: bytes, limit: int
    ) -> None:
        self.id = id
        self.flags = flags
        self.name = name
        self.kind = kind
        self.question = question
        self.limit = limit


def parse_query(data: bytes) -> Query | None:
    """The single question of a query message; None for anything else."""
    if len(data) < _HEADER.size:
        return None
    number, flags, questions, answers, authorities, additional = _HEADER.unpack_from(data)
    if flags & 0x8000 or questions != 1 or answers or authorities:
        return None
    labels = []
    offset = _HEADER.size
    while True:
        if offset >= len(data):
            return None
        length = data[offset]
        if length > 63:
            return None
        label = data[offset + 1 : offset + 1 + length]
        offset += 1 + length
        if not length:
            break
        if len(label) != length or offset - _HEADER.size > 255:
            return None
        labels.append(label)
    if offset + 4 > len(data):
        return None
    kind, class_ = struct.unpack_from(">HH", data, offset)
    if class_ != _CLASS_IN or flags & 0x7800:
        kind = 0
    end = offset + 4
    limit = _UDP_LIMIT
    # An OPT record with the root as its name tells how long an answer may be (RFC 6891).
    if additional and data[end : end + 3] == b"\0\0\x29" and len(data) >= end + 5:
        limit = max(_UDP_LIMIT, min(4096, struct.unpack_from(">H", data, end + 3)[0]))
    name = b".".join(labels).decode("latin-1").lower()
    return Query(number, flags, name, kind, data[_HEADER.size : end], limit)


def reply(query: Query, code: int, records: list[bytes] = [], *, limit: int | None = None) -> bytes:  # noqa: B006
    """An answer with these records; records over the limit are left out and that is said."""
    limit = query.limit if limit is None else limit
    size = _HEADER.size + len(query.question)
    kept: list[bytes] = []
    for record in records:
        size += len(record)
        if size > limit:
            break
        kept.append(record)
    flags = 0x8000 | query.flags & 0x0100 | 0x0080 | code
    if records:
        flags |= 0x0400
    if len(kept) < len(records):
        flags |= 0x0200
    header = _HEADER.pack(query.id, flags, 1, len(kept), 0, 0)
    return header + query.question + b"".join(kept)


def address_record(address: str) -> bytes:
    """An A or AAAA record for the question's name."""
    if ":" in address:
        kind, data = TYPE_AAAA, socket.inet_pton(socket.AF_INET6, address)
    else:
        kind, data = TYPE_A, socket.inet_pton(socket.AF_INET, address)
    # 0xC00C points to the name in the question.
    return struct.pack(">HHHIH", 0xC00C, kind, _CLASS_IN, _TTL, len(data)) + data


def pointer_record(name: str) -> bytes:
    """A PTR record for the question's name."""
    data = encode_name(name)
    return struct.pack(">HHHIH", 0xC00C, TYPE_PTR, _CLASS_IN, _TTL, len(data)) + data


def encode_name(name: str) -> bytes:
    """A name as DNS labels."""
    parts = [part.encode("latin-1", "replace")[:63] for part in name.split(".") if part]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def reverse_address(name: str) -> str | None:
    """The address that a name under in-addr.arpa or ip6.arpa stands for."""
    parts = name.split(".")
    try:
        if name.endswith(".in-addr.arpa") and len(parts) == 6:
            text = ".".join(reversed(parts[:4]))
            return socket.inet_ntop(socket.AF_INET, socket.inet_pton(socket.AF_INET, text))
        if name.endswith(".ip6.arpa") and len(parts) == 34:
            packed = bytes.fromhex("".join(reversed(parts[:32])))
            return socket.inet_ntop(socket.AF_INET6, packed)
    except (OSError, ValueError):
        return None
    return None


class Table:
    """The names of one network: name → addresses, address → name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._hosts: dict[str, tuple[list[str], list[str]]] = {}
        self._names: dict[str, dict[str, list[str]]] = {}
        self._addresses: dict[str, str] = {}

    def set(self, container: str, names: list[str], addresses: list[str]) -> None:
        """A container has these names and addresses, and no others, in this network."""
        self.remove(container)
        self._hosts[container] = (names, addresses)
        for name in names:
            self._names.setdefault(name.lower(), {})[container] = addresses
        for address in addresses:
            self._addresses[address] = names[0] if names else container[:12]

    def remove(self, container: str) -> None:
        """A container is not in this network."""
        names, addresses = self._hosts.pop(container, ([], []))
        for name in names:
            holders = self._names.get(name.lower(), {})
            holders.pop(container, None)
            if not holders:
                self._names.pop(name.lower(), None)
        for address in addresses:
            self._addresses.pop(address, None)

    @property
    def is_empty(self) -> bool:
        return not self._hosts

    def addresses(self, name: str) -> list[str] | None:
        """All addresses of a name, or None when nobody has it; ``name.network`` works, too."""
        suffix = "." + self.name.lower()
        holders = self._names.get(name) or (
            self._names.get(name[: -len(suffix)]) if name.endswith(suffix) else None
        )
        if not holders:
            return None
        return [address for addresses in holders.values() for address in addresses]

    def pointer(self, address: str) -> str | None:
        """The name of an address, with the network's name as its domain."""
        name = self._addresses.get(address)
        return f"{name}.{self.name}" if name else None


def answer(
    query: Query, tables: list[Table], links: dict[str, str], rotation: int
) -> tuple[int, list[bytes]] | None:
    """The code and records for a query, or None when the host's resolvers shall be asked.

    ``links`` are names that only the asking container knows; ``rotation`` turns the order of
    addresses (round robin).
    """
    if query.kind == TYPE_PTR:
        address = reverse_address(query.name)
        for table in tables:
            name = table.pointer(address) if address else None
            if name:
                return NOERROR, [pointer_record(name)]
        return None
    name = links.get(query.name, query.name).lower()
    for table in tables:
        found = table.addresses(name)
        if found is None:
            continue
        chosen = [
            address
            for address in found
            if query.kind == TYPE_ANY or (query.kind == TYPE_AAAA) == (":" in address)
        ]
        if query.kind not in (TYPE_A, TYPE_AAAA, TYPE_ANY):
            chosen = []
        turn = rotation % len(chosen) if chosen else 0
        return NOERROR, [address_record(address) for address in chosen[turn:] + chosen[:turn]]
    return None
