"""Fixtures: an engine's networks on a small segment of network namespaces."""

from tests.netlab import containers, make_networks, namespaces, networks, segment

__all__ = ["containers", "make_networks", "namespaces", "networks", "segment"]
