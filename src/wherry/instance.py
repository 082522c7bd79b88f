"""Names that one engine instance puts into the kernel.

Several engines share one kernel: each names its cgroups, bridges, links and firewall table after
its instance, and cleans up only what carries that name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

DEFAULT_NAME = "wherry"


@dataclass(frozen=True, slots=True)
class Instance:
    """The identity of an engine; ``name`` is ``wherry`` or ``wherry-`` and 6 hex digits."""

    name: str = DEFAULT_NAME

    @classmethod
    def of_data_root(cls, data_root: str, default_data_root: str) -> Instance:
        """The instance that owns ``data_root``: the default one has the plain name."""
        if data_root == default_data_root:
            return cls()
        return cls(f"{DEFAULT_NAME}-{hashlib.sha256(data_root.encode()).hexdigest()[:6]}")

    @property
    def tag(self) -> str:
        """Six hex digits that fit into interface names (at most 15 bytes, netdevice(7))."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:6]

    @property
    def cgroup_parent(self) -> str:
        """Parent of the containers' cgroups, relative to each hierarchy's root."""
        return f"/{self.name}"

    @property
    def default_bridge(self) -> str:
        """Interface name of the default bridge network."""
        return "wherry0" if self.name == DEFAULT_NAME else f"wh{self.tag}0"

    @property
    def nft_table(self) -> str:
        """Name of the nftables table (families inet and bridge) that belongs to this engine."""
        return self.name.replace("-", "_")

    def veth(self, serial: str) -> str:
        """Host-side name of a veth pair; ``serial`` is at most 7 characters."""
        return f"v{self.tag}{serial}"
