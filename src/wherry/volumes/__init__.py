"""Volume drivers and their mounts."""
