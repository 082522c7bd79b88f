"""One solve: where its files come from, the build, and its outputs."""

from __future__ import annotations

import asyncio
import tempfile
import time
import urllib.parse
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, Any

from wherry.builder.backend import Backend
from wherry.builder.builder import (
    Builder,
    apply_ignore,
    check_syntax,
    find_dockerfile,
    ignore_patterns,
)
from wherry.builder.buildkit import filesync, subrequests
from wherry.builder.buildkit.attributes import Frontend
from wherry.builder.buildkit.errors import Location, grpc_error
from wherry.builder.buildkit.exporters import Export, Exporters
from wherry.builder.buildkit.progress import Feed, VertexOutput, VertexProgress
from wherry.builder.buildkit.sessions import Session, Sessions
from wherry.builder.buildkit.wire.control_pb2 import VertexWarning
from wherry.builder.buildkit.wire.ops_pb2 import Position, Range, SourceInfo
from wherry.builder.copystep import EmptyTree
from wherry.builder.dockerfile import Dockerfile, parse
from wherry.builder.errors import DockerfileError
from wherry.builder.fetch import RemoteFile
from wherry.builder.keptcontexts import Spool
from wherry.builder.lint import lint, violation
from wherry.builder.solver import Solved
from wherry.builder.trees import Tree
from wherry.errors import InvalidParameter, NotImplementedHere, WherryError

_UPLOAD_HOST = "buildkit-session"
_IGNORE = ".dockerignore"


@dataclass(frozen=True, slots=True)
class Definition:
    """A Dockerfile as the client sent it."""

    name: str
    content: bytes
    patterns: tuple[str, ...] | None  # of its own ignore file
    vertex: str


class Solve:
    """A build from its request to its outputs; closing it lets go of all that it holds."""

    def __init__(
        self, ref: str, session: str, builder: Builder, backend: Backend, sessions: Sessions
    ) -> None:
        self.ref = ref
        self.feed = Feed(ref)
        self._session_id = session
        self._builder = builder
        self._backend = backend
        self._sessions = sessions
        self._resources = AsyncExitStack()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def session(self) -> Session:
        """The client's session; raises InvalidParameter when the build has none."""
        if not self._session_id:
            raise InvalidParameter("the build has no session: nothing of the client can be used")
        return await self._sessions.find(self._session_id)

    async def close(self) -> None:
        """Stop what still runs, let go of layers and files, end the feed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._resources.aclose()
        self.feed.close()

    # Building ----------------------------------------------------------------------------

    async def build(self, frontend: Frontend, archive: IO[bytes] | None = None) -> Solved:
        """Build; what is solved is held until the solve is closed. Raises GRPCError.

        ``archive`` is the context when it is neither in the session nor elsewhere.
        """
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            return await self._build(frontend, archive)
        except (WherryError, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and task.cancelling():
                raise
            raise grpc_error(error) from error
        finally:
            self._tasks.discard(task)

    async def _build(self, frontend: Frontend, archive: IO[bytes] | None) -> Solved:
        definition, context = await self._sources(frontend, archive)
        output = VertexOutput(self.feed, (definition.vertex,))
        try:
            dockerfile = await asyncio.to_thread(parse, definition.content, definition.name)
            check_syntax(dockerfile)
            await self._warn(dockerfile, frontend, definition)
            tree = context
            if tree is None:
                tree = await self._local_context(frontend, definition)
            request = replace(
                frontend.request,
                dockerfile=definition.name,
                credentials=self._credentials,
                secrets=self._secret,
                agents=self._agent,
                context_trees={
                    name: partial(self._named_context, name, directory)
                    for name, directory in frontend.local_contexts.items()
                },
            )
            return await self._resources.enter_async_context(
                self._builder.solve(request, dockerfile, tree, output)
            )
        except WherryError as error:
            line = error.line if isinstance(error, DockerfileError) else output.failed_line
            raise grpc_error(
                error, _location(definition, line), output.failed_vertex or definition.vertex
            ) from error

    async def answer(self, frontend: Frontend) -> dict[str, bytes]:
        """Answer a question about the Dockerfile; see `subrequests`. Raises NotImplementedHere."""
        name = frontend.subrequest
        if name not in subrequests.KNOWN:
            raise NotImplementedHere(f"unsupported request {name}")
        if name == subrequests.DESCRIBE:
            return subrequests.describe()
        definition, _ = await self._sources(frontend, None)
        dockerfile = await asyncio.to_thread(parse, definition.content, definition.name)
        findings = await asyncio.to_thread(lint, dockerfile, frontend.request.arguments)
        return subrequests.lint_result(definition.name, definition.content, findings)

    async def _warn(
        self, dockerfile: Dockerfile, frontend: Frontend, definition: Definition
    ) -> None:
        """Run the lint rules; raises InvalidParameter when their findings fail the build."""
        info = SourceInfo(filename=definition.name, data=definition.content)
        findings = await asyncio.to_thread(lint, dockerfile, frontend.request.arguments)
        for finding in findings:
            here = Position(line=finding.line)
            self.feed.warn(
                VertexWarning(
                    vertex=definition.vertex,
                    level=1,
                    short=f"{finding.rule}: {finding.message} (line {finding.line})".encode(),
                    detail=[finding.description.encode()],
                    url=finding.url,
                    info=info,
                    ranges=[Range(start=here, end=here)],
                )
            )
        if reason := violation(dockerfile, findings):
            raise InvalidParameter(reason)

    # Where files come from ---------------------------------------------------------------

    async def _sources(
        self, frontend: Frontend, archive: IO[bytes] | None
    ) -> tuple[Definition, Tree | None]:
        """The Dockerfile, and the context when it is not a directory of the client."""
        context = await self._context_from_elsewhere(frontend, archive)
        name = frontend.filename
        with self.feed.step(f"[internal] load build definition from {name}") as vertex:
            if isinstance(context, RemoteFile):  # a lone Dockerfile
                with context.open(context.path) as file:
                    return Definition(name, file.read(), None, vertex.digest), EmptyTree()
            if context is None or (frontend.dockerfile_key and archive is None):
                wanted = filesync.Wanted(
                    frontend.dockerfile_key,
                    follow=(name, f"{name}{_IGNORE}", name.lower()),
                )
                source: Tree = await self._receive(vertex, wanted, "dockerfile")
            else:
                source = context
            found, content = await asyncio.to_thread(find_dockerfile, source, name)
            own = await asyncio.to_thread(ignore_patterns, source, f"{found}{_IGNORE}")
        if source is context:
            await asyncio.to_thread(apply_ignore, context, found)
        return Definition(found, content, own, vertex.digest), context

    async def _context_from_elsewhere(
        self, frontend: Frontend, archive: IO[bytes] | None
    ) -> Tree | None:
        if archive is not None:
            with self.feed.step("[internal] load build context"):
                return await self._builder.open_context(archive, "", self._resources)
        if not frontend.context:
            return None
        with self.feed.step(f"[internal] load remote build context {frontend.context}"):
            return await self._remote_context(frontend.context)

    async def _remote_context(self, address: str) -> Tree:
        parts = urllib.parse.urlsplit(address)
        if parts.hostname != _UPLOAD_HOST:
            return await self._builder.open_context(None, address, self._resources)
        session = await self.session()
        with tempfile.TemporaryFile(dir=self._backend.directory) as body:
            async for piece in session.upload(parts.path):
                body.write(piece)
            body.seek(0)
            return await self._builder.open_context(body, "", self._resources)

    async def _local_context(self, frontend: Frontend, definition: Definition) -> Tree:
        patterns = definition.patterns
        if patterns is None:
            with self.feed.step(f"[internal] load {_IGNORE}") as vertex:
                wanted = filesync.Wanted(frontend.context_key, follow=(_IGNORE,))
                tree = await self._receive(vertex, wanted, "context")
                patterns = await asyncio.to_thread(ignore_patterns, tree, _IGNORE)
        with self.feed.step("[internal] load build context") as vertex:
            wanted = filesync.Wanted(frontend.context_key, exclude=patterns or ())
            return await self._receive(vertex, wanted, "context", keep=True)

    async def _named_context(self, name: str, directory: str) -> Tree:
        with self.feed.step(f"[context {name}] load from client") as vertex:
            ignored = await self._receive(
                vertex, filesync.Wanted(directory, follow=(_IGNORE,)), name
            )
            patterns = await asyncio.to_thread(ignore_patterns, ignored, _IGNORE)
            wanted = filesync.Wanted(directory, exclude=patterns or ())
            return await self._receive(vertex, wanted, name, keep=True)

    async def _receive(
        self, vertex: VertexProgress, wanted: filesync.Wanted, what: str, *, keep: bool = False
    ) -> Tree:
        """Fetch a directory; with ``keep`` only what changed since the last time."""
        session = await self.session()
        contexts = self._builder.contexts
        key = contexts.key(session.offer.shared_key, wanted.directory) if keep else ""
        known = contexts.find(key)
        spool = known.spool.use() if known is not None else Spool(self._backend.directory)
        self._resources.callback(spool.release)
        began = time.time()
        report = _Transfer(vertex, f"transferring {what}:")
        tree = await filesync.receive(session, wanted, spool, report, known)
        if key:
            contexts.keep(key, wanted.directory, tree, spool, began)
        return tree

    # What the client is asked for --------------------------------------------------------

    async def _credentials(self, domain: str) -> Any:
        return await (await self.session()).credentials(domain) if self._session_id else None

    async def _secret(self, name: str) -> bytes | None:
        return await (await self.session()).secret(name) if self._session_id else None

    async def _agent(self, name: str, path: str, resources: AsyncExitStack) -> bool:
        if not self._session_id:
            return False
        return await (await self.session()).agent(name, path, resources)

    # Outputs -----------------------------------------------------------------------------

    async def export(self, solved: Solved, exports: Sequence[Export]) -> dict[str, str]:
        """Make all outputs; returns what the client is told. Raises GRPCError."""
        exporters = Exporters(
            self._backend,
            self.feed,
            self.session,
            self._credentials,
            self._builder.create_image,
        )
        told: dict[str, str] = {}
        for export in exports:
            try:
                told |= await exporters.run(export, solved)
            except WherryError as error:
                raise grpc_error(error) from error
        return told


class _Transfer:
    """Says how much of a directory has come, not more often than people can read."""

    _PAUSE = 0.15  # seconds

    def __init__(self, vertex: VertexProgress, label: str) -> None:
        self._vertex = vertex
        self._label = label
        self._began = time.time()
        self._told = 0.0

    def __call__(self, size: int, done: bool) -> None:
        moment = time.monotonic()
        if done or moment - self._told >= self._PAUSE:
            self._told = moment
            self._vertex.status(self._label, size, began=self._began, done=done)


def _location(definition: Definition, line: int) -> Location | None:
    """The lines around an error; None when it is of no line."""
    if line < 1:
        return None
    return Location(definition.name, definition.content, line, line)
