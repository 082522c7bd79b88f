"""Docker's notation of key sequences: ``ctrl-p,ctrl-q``, ``a,b``."""

from __future__ import annotations

from wherry.errors import InvalidParameter

DEFAULT = b"\x10\x11"
_CONTROL = {chr(ord("a") + n): n + 1 for n in range(26)} | {
    "@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31,
}  # fmt: skip


def parse_keys(text: str | None) -> bytes:
    """The bytes of a key sequence, ctrl-p ctrl-q when None; raises InvalidParameter."""
    if text is None or text == "":
        return DEFAULT
    keys = bytearray()
    for key in text.split(","):
        if key.startswith("ctrl-") and key[5:] in _CONTROL:
            keys.append(_CONTROL[key[5:]])
        elif len(key) == 1 and key.isascii():
            keys += key.encode()
        elif key == "DEL":
            keys.append(127)
        else:
            raise InvalidParameter(f"Invalid escape keys ({text}) provided")
    return bytes(keys)
