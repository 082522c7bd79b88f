"""The image ``hello-world``, made here: no registry is needed to see a container run.

It is put into the store when somebody asks for it. Its one file is a static program of some
hundred bytes, assembled below: write the greeting, exit with 0 (write(2), _exit(2)).
"""

from __future__ import annotations

import hashlib
import struct

from wherry.images import config as configs
from wherry.images.platforms import this_platform
from wherry.images.reference import Reference
from wherry.images.store import Image, ImageStore
from wherry.storage.archive.writer import END, tar_file

NAME = Reference("docker.io", "library/hello-world", tag="latest")
CREATED = "2026-01-01T00:00:00Z"
_LOAD_ADDRESS = 0x400000
_HEADERS = 64 + 56

GREETING = """
Ahoy from a container: Wherry works on this machine.

What just happened:
  1. The client asked the daemon for a container of the image "hello-world".
  2. The daemon had the image built in, so nothing was fetched.
  3. A shim gave this program namespaces, limits and a root file system of its own.
  4. The program wrote this text, and the text came back to your terminal.

Something with more to look at:
  wherry run -it debian bash
"""


def _x86_64(length: int) -> bytes:
    tail = bytes.fromhex("0f05 b83c000000 31ff 0f05")  # syscall; mov eax,60; xor edi,edi; syscall
    size_of_mov = struct.pack("<BI", 0xBA, length)  # mov edx, length
    to_text = len(size_of_mov) + len(tail)
    return (
        bytes.fromhex("b801000000 bf01000000")  # mov eax, 1 (write); mov edi, 1 (stdout)
        + b"\x48\x8d\x35"  # lea rsi, [rip + to_text]
        + struct.pack("<i", to_text)
        + size_of_mov
        + tail
    )


def _aarch64(length: int) -> bytes:
    def adr(offset: int) -> int:  # adr x1, offset
        return 0x10000001 | (offset & 3) << 29 | (offset >> 2) << 5

    words = [
        0xD2800020,  # mov x0, 1 (stdout)
        adr(7 * 4),
        0xD2800002 | length << 5,  # mov x2, length
        0xD2800808,  # mov x8, 64 (write)
        0xD4000001,  # svc 0
        0xD2800000,  # mov x0, 0
        0xD2800BA8,  # mov x8, 93 (exit)
        0xD4000001,  # svc 0
    ]
    return struct.pack("<8I", *words)


_MACHINES = {"amd64": (62, _x86_64), "arm64": (183, _aarch64)}


def program(architecture: str, message: bytes) -> bytes:
    """A static ELF program that writes ``message`` and exits with 0 (elf(5)).

    Raises KeyError for an architecture without an assembler here.
    """
    machine, assemble = _MACHINES[architecture]
    code = assemble(len(message)) + message
    size = _HEADERS + len(code)
    identity = b"\x7fELF" + bytes([2, 1, 1, 0]) + bytes(8)
    entry = _LOAD_ADDRESS + _HEADERS
    header = identity + struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack(
        "<IIQQQQQQ", 1, 5, 0, _LOAD_ADDRESS, _LOAD_ADDRESS, size, size, 0x1000
    )  # PT_LOAD, readable and executable
    return header + segment + code


def provides(reference: Reference) -> bool:
    """Whether ``reference`` is the image that `install` makes on this machine."""
    return reference.tagged() == NAME and this_platform().architecture in _MACHINES


def install(store: ImageStore) -> Image:
    """Put the image into the store, tagged ``hello-world:latest``; the same bytes every time."""
    platform = this_platform()
    greeting = GREETING.encode()
    layer = tar_file(b"hello", program(platform.architecture, greeting), mode=0o755) + END
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    config = configs.dump(
        {
            "architecture": platform.architecture,
            "os": platform.os,
            "created": CREATED,
            "config": {"Cmd": ["/hello"], "Env": ["PATH=/"], "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": CREATED, "created_by": "wherry built-in hello-world"}],
        }
    )
    with store.layers.lease() as protect:
        protect(diff_id)
        if not store.layers.has(diff_id):
            store.layers.add([layer], diff_id)
        image = store.create(config)
    store.tag(image.id, NAME, "built-in")
    return store.get(image.id)
