"""From a container's configuration to an OCI runtime spec: pure functions, no effects."""

from wherry.engine.spec.runtimespec import SpecInput, build

__all__ = ["SpecInput", "build"]
