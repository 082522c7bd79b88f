"""What the builder needs of an engine; the engine implements it over its own rooms."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from wherry.builder.trees import Tree
from wherry.errors import WherryError
from wherry.images.platforms import Platform

Emit = Callable[[Mapping[str, Any]], None]
Credentials = Callable[[str], Awaitable[Mapping[str, Any] | None]]
"""The domain of a registry → what to log in with (an ``AuthConfig`` of the API), or None."""


class CommandFailed(WherryError):
    """A RUN ended with a code other than 0."""

    def __init__(self, command: str, code: int) -> None:
        super().__init__(f"The command '{command}' returned a non-zero code: {code}")
        self.command = command
        self.code = code


@dataclass(frozen=True, slots=True)
class BaseImage:
    """An image to build on: its id, its configuration blob, parsed, and its layers."""

    id: str
    config: Mapping[str, Any]
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunMount:
    """A mount of a RUN: a host path bound to ``target``, or a tmpfs when ``source`` is empty.

    ``size`` is in bytes for a tmpfs, 0 for no limit. ``subpath`` leads on inside ``source`` and
    never out of it.
    """

    target: str
    source: str = ""
    readonly: bool = False
    size: int = 0
    subpath: str = ""


@dataclass(frozen=True, slots=True)
class Resources:
    """Limits of every RUN of a build, as the API gives them; 0 or empty for none."""

    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    shm_size: int = 0
    cgroup_parent: str = ""
    ulimits: tuple[Mapping[str, Any], ...] = ()
    extra_hosts: tuple[str, ...] = ()
    security_options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One RUN: what is executed on which layers."""

    layers: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    working_directory: str
    user: str
    network: str = "default"
    privileged: bool = False
    mounts: tuple[RunMount, ...] = ()
    resources: Resources = field(default_factory=Resources)
    clamp: int | None = None  # latest mtime in the layer, in nanoseconds
    hostname: str = ""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a RUN ended; ``layer`` is the diff id of what it changed, empty if it failed."""

    code: int
    layer: str = ""
    size: int = 0


class Backend(Protocol):
    """The engine as the builder sees it. Plain methods may block and are called in threads."""

    @property
    def directory(self) -> str:
        """A directory of the builder's own, on the file system of the layers."""

    async def base_image(
        self,
        name: str,
        platform: Platform | None,
        *,
        pull: bool,
        emit: Emit,
        credentials: Credentials,
    ) -> BaseImage:
        """The image of that name; pulled when it is not here, or always with ``pull``."""

    def lease(self) -> AbstractContextManager[Callable[[str], None]]:
        """Protects layers from removal while the context lasts."""

    def has_layer(self, layer: str) -> bool:
        """Whether the layer is stored."""

    def layer_size(self, layer: str) -> int:
        """Bytes of a layer's files."""

    def tree(self, layers: Sequence[str]) -> Tree:
        """The files of a stack of layers."""

    def add_layer(self, chunks: Iterable[bytes]) -> str:
        """Store a layer from its tar stream; returns its diff id."""

    async def run(
        self, request: RunRequest, started: Callable[[str], None], output: Callable[[bytes], None]
    ) -> RunResult:
        """Execute a RUN; ``started`` is told the container's id, ``output`` what it writes."""

    def mounted(self, layers: Sequence[str]) -> AbstractContextManager[str]:
        """The files of a stack of layers as a host directory; changes to it are thrown away."""

    def in_memory(self) -> AbstractContextManager[str]:
        """A new directory that is on no disk; gone when the context ends."""

    def hold_layer(self, owner: str, layer: str) -> None:
        """Keep a layer until ``release_layers`` of the same owner."""

    def release_layers(self, owners: Iterable[str]) -> None:
        """Let layers go that were held, and remove those that nobody needs."""

    def create_image(self, config: bytes, parent: str) -> str:
        """Register an image; returns its id."""

    def local_image(self, name: str) -> BaseImage | None:
        """The image of that name, if it is here."""

    async def tag(self, image: str, reference: str) -> str:
        """Give an image a name; returns the name in full, as the user sees it."""

    async def push(self, reference: str, emit: Emit, *, credentials: Credentials) -> None:
        """Send the image of that name to its registry."""

    def archive(
        self, config: bytes, layers: Sequence[str], names: Sequence[str]
    ) -> Iterator[bytes]:
        """An image as ``docker save`` writes it; it need not be in the store."""

    @property
    def host_gateway(self) -> str:
        """The address that ``host-gateway`` stands for, empty when there is none."""
