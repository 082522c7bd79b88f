"""libnftables(3) through ctypes: apply a ruleset text in one transaction.

Only the process of ``wherry.network.nft`` may use this, see there.

The texts are nft(8) syntax, made by ``firewall`` from typed values only. A text is applied as a
whole or not at all.
"""

from __future__ import annotations

import ctypes
import functools

from wherry.errors import Unavailable

_NFT_CTX_DEFAULT = 0


class Refused(Exception):
    """The text was not applied; the message is libnftables' own explanation."""


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError as error:
        raise Unavailable(
            f"load libnftables: {error}; install it (Debian: libnftables1) or use --network none"
        ) from error
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = (ctypes.c_uint32,)
    library.nft_ctx_free.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_buffer_output.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_buffer_error.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_get_output_buffer.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    library.nft_ctx_get_error_buffer.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    library.nft_run_cmd_from_buffer.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
    return library


def apply(text: bytes) -> bytes:
    """Apply ``text`` in the calling thread's network namespace and return nft's output.

    Raises Refused when anything in it was refused (then nothing of it is in effect), Unavailable
    when the library is not installed.
    """
    library = _library()
    # A context's socket belongs to the namespace it was made in.
    context = library.nft_ctx_new(_NFT_CTX_DEFAULT)
    try:
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)
        if library.nft_run_cmd_from_buffer(context, text) != 0:
            reason = library.nft_ctx_get_error_buffer(context) or b""
            raise Refused(reason.decode(errors="replace"))
        return bytes(library.nft_ctx_get_output_buffer(context) or b"")
    finally:
        library.nft_ctx_free(context)
