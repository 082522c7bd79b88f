"""Settings of the host's own network that forwarding needs; runs in the worker thread."""

from __future__ import annotations

from wherry.network.kernel import Kernel, read_sysctl, write_sysctl


def enable_forwarding(kernel: Kernel, *, ipv6: bool) -> None:
    """Let the host route between bridges and the outside.

    A host that forwards IPv6 stops listening to its own router unless ``accept_ra`` is 2
    (Linux ip-sysctl documentation), so interfaces that listen now are told to go on.
    """
    write_sysctl("ipv4/ip_forward", "1")
    if not ipv6 or read_sysctl("ipv6/conf/all/forwarding") in ("", "1"):
        return
    for name in kernel.links():
        if read_sysctl(f"ipv6/conf/{name}/accept_ra") == "1" and name != "lo":
            write_sysctl(f"ipv6/conf/{name}/accept_ra", "2", missing_ok=True)
    write_sysctl("ipv6/conf/default/forwarding", "1")
    write_sysctl("ipv6/conf/all/forwarding", "1")
