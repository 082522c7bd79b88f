"""The operations of the API, one resource a file."""

from __future__ import annotations

from wherry.api.router import Route
from wherry.api.routes import (
    archive,
    audit,
    build,
    buildkit,
    containers,
    distribution,
    exec,
    images,
    networks,
    streams,
    swarm,
    system,
    volumes,
)

ALL: tuple[Route, ...] = (
    *system.ROUTES,
    *streams.ROUTES,
    *archive.ROUTES,
    *containers.ROUTES,
    *exec.ROUTES,
    *images.ROUTES,
    *networks.ROUTES,
    *volumes.ROUTES,
    *distribution.ROUTES,
    *build.ROUTES,
    *buildkit.ROUTES,
    *audit.ROUTES,
    *swarm.ROUTES,
)
