"""One tar header block and its extensions: ustar, pax, GNU (tar(5), pax(1))."""

from __future__ import annotations

import struct
from typing import NamedTuple

from wherry.errors import InvalidParameter

BLOCK = 512
ZERO_BLOCK = bytes(BLOCK)

REGULAR, HARD_LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO = (
    b"0", b"1", b"2", b"3", b"4", b"5", b"6",
)  # fmt: skip
PAX, PAX_GLOBAL, GNU_LONG_NAME, GNU_LONG_LINK, GNU_SPARSE = b"x", b"g", b"L", b"K", b"S"

_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_USTAR, _GNU = b"ustar\x0000", b"ustar  \x00"

XATTR_PREFIX = "SCHILY.xattr."


class Entry(NamedTuple):
    """What the archive says of one file.

    ``size`` counts the bytes stored in the archive; ``sparse`` holds (offset, length) of the
    stored pieces and ``real_size`` the size of the file that they make. Times are nanoseconds.
    """

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: tuple[tuple[str, bytes], ...] = ()
    sparse: tuple[tuple[int, int], ...] | None = None
    real_size: int = 0


def bad(name: bytes, why: str) -> InvalidParameter:
    """The error of an entry that cannot be accepted."""
    return InvalidParameter(f"archive entry {name.decode('utf-8', 'backslashreplace')!r}: {why}")


def text(field: bytes) -> bytes:
    """A field up to its first NUL."""
    return field.split(b"\0", 1)[0]


def number(field: bytes, name: bytes = b"") -> int:
    """An octal field, or GNU's base-256 form when the top bit is set."""
    if field[-1] in b"\0 " and (plain := field[:-1]).isdigit():  # as nearly all are
        try:
            return int(plain, 8)
        except ValueError:
            raise bad(name, f"number {field!r} is not octal") from None
    first = field[0]
    if first & 0x80:
        if first & 0x40:  # negative, two's complement
            return int.from_bytes(field, "big", signed=True)
        return int.from_bytes(bytes([first & 0x7F]) + field[1:], "big")
    digits = field.strip(b" \0")
    digits = digits.split(b"\0", 1)[0].rstrip(b" ")
    if not digits:
        return 0
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise bad(name, f"number {field!r} is not octal")
    return int(digits, 8)


def parse(block: bytes) -> Entry:
    """Read one header block. Raises InvalidParameter for what is no tar header."""
    (
        name, mode, uid, gid, size, mtime, checksum, kind, link, magic, _, _, major, minor, prefix,
    ) = _FIELDS.unpack(block)  # fmt: skip
    name = text(name)
    stored = number(checksum, name)
    plain = sum(block) - sum(checksum) + 8 * 32
    if stored != plain and stored != _signed_sum(block):
        raise InvalidParameter("archive is damaged: a header has a wrong checksum")
    if magic == _USTAR and (front := text(prefix)):
        name = front + b"/" + name
    length = number(size, name)
    if length < 0:
        raise bad(name, "negative size")
    if kind in (b"\0", b"7"):
        kind = REGULAR
    device = kind in (CHAR, BLOCK_DEVICE)
    return Entry(
        name,
        kind,
        number(mode, name),
        number(uid, name),
        number(gid, name),
        length,
        number(mtime, name) * 1_000_000_000,
        text(link),
        number(major, name) if device else 0,
        number(minor, name) if device else 0,
    )


def is_gnu(block: bytes) -> bool:
    """Whether the header uses the layout of GNU tar's own format."""
    return block[257:265] == _GNU


def _signed_sum(block: bytes) -> int:
    """The checksum as old tars with signed characters made it."""
    total = sum(byte - 256 if byte > 127 else byte for byte in block)
    field = block[148:156]
    return total - sum(byte - 256 if byte > 127 else byte for byte in field) + 8 * 32


def pax_records(data: bytes) -> list[tuple[str, bytes]]:
    """The key=value records of a pax extended header (pax(1), "Extended Header")."""
    records = []
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 20)
        digits = data[position:space] if space > 0 else b""
        if not digits.isdigit():
            if not data[position:].strip(b"\0"):
                break
            raise InvalidParameter("archive is damaged: a pax record has no length")
        end = position + int(digits)
        record = data[space + 1 : end]
        if end > len(data) or end <= space or record[-1:] != b"\n" or b"=" not in record:
            raise InvalidParameter("archive is damaged: a pax record has a wrong length")
        key, value = record[:-1].split(b"=", 1)
        records.append((key.decode("utf-8", "surrogateescape"), value))
        position = end
    return records


def pax_time(value: bytes, name: bytes) -> int:
    """A pax time ("seconds.fraction") in nanoseconds."""
    whole, _, fraction = value.partition(b".")
    sign = -1 if whole.startswith(b"-") else 1
    digits = whole.lstrip(b"-") or b"0"
    if not digits.isdigit() or (fraction and not fraction.isdigit()) or len(digits) > 18:
        raise bad(name, f"time {value!r} is not a number")
    return sign * (int(digits) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0")))


def pax_number(value: bytes, name: bytes) -> int:
    """A decimal, non-negative pax number."""
    if not value.isdigit() or len(value) > 19:
        raise bad(name, f"number {value!r} is not decimal")
    return int(value)


def old_sparse_map(block: bytes, offset: int, count: int) -> list[tuple[int, int]]:
    """Pairs of GNU's old sparse header at ``offset`` of ``block``; empty pairs are left out."""
    pairs = []
    for index in range(count):
        at = offset + index * 24
        start, length = number(block[at : at + 12]), number(block[at + 12 : at + 24])
        if block[at]:
            pairs.append((start, length))
    return pairs


def pack(entry: Entry) -> bytes:
    """The header block (or blocks, with a pax header where ustar has no room) of ``entry``.

    The same entry always gives the same bytes. Names are cut for readers without pax.
    """
    records: list[tuple[str, bytes]] = []
    name, prefix = _split_name(entry.name)
    if prefix is None:
        records.append(("path", entry.name))
        name, prefix = entry.name[:100], b""
    if len(entry.link) > 100:
        records.append(("linkpath", entry.link))
    seconds, nanoseconds = divmod(entry.mtime, 1_000_000_000)
    if nanoseconds or not 0 <= seconds < 8**11:
        records.append(("mtime", _seconds(entry.mtime)))
    for key, value, limit in (("uid", entry.uid, 8**7), ("gid", entry.gid, 8**7),
                              ("size", entry.size, 8**11)):  # fmt: skip
        if value >= limit:
            records.append((key, str(value).encode()))
    records += [(XATTR_PREFIX + key, value) for key, value in sorted(entry.xattrs)]
    front = b""
    if records:
        data = b"".join(_record(key, value) for key, value in records)
        base = entry.name.rstrip(b"/").rsplit(b"/", 1)[-1][:80]
        front = _ustar(b"PaxHeaders.0/" + base, b"", Entry(b"", PAX, 0o644, 0, 0, len(data), 0))
        front += data + bytes(-len(data) % BLOCK)
    return front + _ustar(name, prefix, entry)


def _split_name(name: bytes) -> tuple[bytes, bytes | None]:
    """Name and prefix fields, or a None prefix when ustar has no room for the name."""
    if len(name) <= 100:
        return name, b""
    cut = name.rfind(b"/", 0, min(len(name) - 1, 156))
    if cut <= 0 or len(name) - cut - 1 > 100:
        return name, None
    return name[cut + 1 :], name[:cut]


def _seconds(nanoseconds: int) -> bytes:
    sign = "-" if nanoseconds < 0 else ""
    whole, part = divmod(abs(nanoseconds), 1_000_000_000)
    return f"{sign}{whole}.{part:09d}".rstrip("0").rstrip(".").encode()


def _record(key: str, value: bytes) -> bytes:
    body = b" " + key.encode("utf-8", "surrogateescape") + b"=" + value + b"\n"
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body


def _ustar(name: bytes, prefix: bytes, entry: Entry) -> bytes:
    def octal(value: int, width: int) -> bytes:
        limit = 8 ** (width - 1)
        return b"%0*o\0" % (width - 1, value if 0 <= value < limit else 0)

    block = bytearray(
        _FIELDS.pack(
            name,
            octal(entry.mode & 0o7777, 8),
            octal(entry.uid, 8),
            octal(entry.gid, 8),
            octal(entry.size, 12),
            octal(entry.mtime // 1_000_000_000, 12),
            b" " * 8,
            entry.kind,
            entry.link[:100],
            _USTAR,
            b"",
            b"",
            octal(entry.major, 8),
            octal(entry.minor, 8),
            prefix,
        )
    )
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
