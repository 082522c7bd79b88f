"""The AppArmor profile of containers, where the host has AppArmor; apparmor.d(5).

A second wall behind capabilities, seccomp and the masked paths: it is about the same paths, and
holds when one of those is mounted or bound somewhere else.
"""

from __future__ import annotations

DEFAULT = "wherry-default"
UNCONFINED = "unconfined"

_ALLOWED = ("capability", "file", "network", "umount", "unix")
_UNSEEN = (
    "/proc/kcore",
    "/proc/sysrq-trigger",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/kernel/security",
)
# Namespaces and mount flags decide about what is left out: a process's own files, the
# parameters of the container's network and System V IPC, and its cgroups.
_UNCHANGED = (
    "/proc/[^0-9s]*",
    "/proc/[^0-9s]*/**",
    "/proc/sys/[^kn]*{,/**}",
    "/proc/sys/kernel/[^s]*{,/**}",
    "/proc/sys/kernel/s[^eh]*{,/**}",
    "/sys/[^f]*{,/**}",
    "/sys/f[^s]*{,/**}",
    "/sys/fs/[^c]*{,/**}",
)


def profile_name(asked: str, *, privileged: bool) -> str:
    """The profile of a container; ``asked`` is that of ``--security-opt``, "" for none."""
    return asked or (UNCONFINED if privileged else DEFAULT)


def policy(name: str = DEFAULT) -> str:
    """The profile as text for the parser."""
    rules = [
        *_ALLOWED,
        # The engine, its shims and people on the host end containers and look into them.
        "signal (receive)",
        f"signal (send) peer={name}",
        "ptrace (readby, tracedby)",
        f"ptrace (read, trace) peer={name}",
        "deny mount",
        *(f"deny {path}{{,/**}} rwklmx" for path in _UNSEEN),
        *(f"deny {pattern} wkl" for pattern in _UNCHANGED),
    ]
    body = "".join(f"  {rule},\n" for rule in rules)
    return f"profile {name} flags=(attach_disconnected,mediate_deleted) {{\n{body}}}\n"
