"""Options of the local driver (``type``, ``o``, ``device``) as a mount(2) call. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wherry.errors import InvalidParameter
from wherry.linux import mounts

_KNOWN = ("type", "o", "device", "size")
_MS_REMOUNT, _MS_BIND, _MS_MANDLOCK, _MS_SYNCHRONOUS, _MS_DIRSYNC = 0x20, 0x1000, 0x40, 0x10, 0x80
_MS_NOATIME, _MS_NODIRATIME, _MS_RELATIME, _MS_STRICTATIME = 0x400, 0x800, 1 << 21, 1 << 24
_FLAGS: Mapping[str, int] = {
    "defaults": 0,
    "rw": 0,
    "ro": mounts.MS_RDONLY,
    "nosuid": mounts.MS_NOSUID,
    "nodev": mounts.MS_NODEV,
    "noexec": mounts.MS_NOEXEC,
    "suid": 0,
    "dev": 0,
    "exec": 0,
    "sync": _MS_SYNCHRONOUS,
    "async": 0,
    "dirsync": _MS_DIRSYNC,
    "mand": _MS_MANDLOCK,
    "nomand": 0,
    "noatime": _MS_NOATIME,
    "atime": 0,
    "nodiratime": _MS_NODIRATIME,
    "diratime": 0,
    "relatime": _MS_RELATIME,
    "norelatime": 0,
    "strictatime": _MS_STRICTATIME,
    "nostrictatime": 0,
    "bind": _MS_BIND,
    "rbind": _MS_BIND | mounts.MS_REC,
}
_PROPAGATION: Mapping[str, int] = {
    "private": mounts.MS_PRIVATE,
    "rprivate": mounts.MS_PRIVATE | mounts.MS_REC,
    "slave": mounts.MS_SLAVE,
    "rslave": mounts.MS_SLAVE | mounts.MS_REC,
    "shared": mounts.MS_SHARED,
    "rshared": mounts.MS_SHARED | mounts.MS_REC,
    "unbindable": mounts.MS_UNBINDABLE,
    "runbindable": mounts.MS_UNBINDABLE | mounts.MS_REC,
}


@dataclass(frozen=True, slots=True)
class MountCall:
    """The arguments of mount(2); ``propagation`` needs a second call.

    ``address`` is the host in NFS's ``addr=`` that must be resolved before.
    """

    device: str
    kind: str
    flags: int
    data: str
    propagation: int = 0
    address: str = ""


def check(options: Mapping[str, str]) -> None:
    """Raise InvalidParameter in Docker's words for options that the local driver does not have."""
    for key in options:
        if key not in _KNOWN:
            raise InvalidParameter(f'invalid option: "{key}"')
    wanted = [key for key in ("type", "device", "o") if options.get(key)]
    if not wanted:
        return
    call = mount_call(options)
    if not call.flags & _MS_BIND and not options.get("type"):
        raise InvalidParameter('missing required option: "type"')
    if not options.get("device"):
        raise InvalidParameter('missing required option: "device"')


def is_mounted(options: Mapping[str, str]) -> bool:
    """Whether a volume with these options is a mount, not just a folder."""
    return any(options.get(key) for key in ("type", "device", "o"))


def mount_call(options: Mapping[str, str]) -> MountCall:
    """The mount(2) call for ``options``; what is no flag is for the file system."""
    flags = propagation = 0
    data = []
    address = ""
    for word in filter(None, (options.get("o") or "").split(",")):
        if word in _FLAGS:
            flags |= _FLAGS[word]
        elif word in _PROPAGATION:
            propagation |= _PROPAGATION[word]
        else:
            data.append(word)
            key, _, value = word.partition("=")
            if key == "addr":
                address = value
    kind = options.get("type") or ""
    if kind in ("none", "bind"):
        kind = ""
        flags |= _MS_BIND
    if not kind.startswith("nfs") and kind != "cifs":
        address = ""
    return MountCall(options.get("device") or "", kind, flags, ",".join(data), propagation, address)


def with_address(call: MountCall, resolved: str) -> MountCall:
    """The call with ``addr=`` as an address instead of a name."""
    words = [
        f"addr={resolved}" if word.startswith("addr=") else word for word in call.data.split(",")
    ]
    return MountCall(call.device, call.kind, call.flags, ",".join(words), call.propagation)
