"""The kernel as typed functions. Knows nothing of containers."""
