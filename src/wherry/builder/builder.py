"""The builder of an engine: contexts in, images out, and the care of what it keeps."""

from __future__ import annotations

import asyncio
import errno
import os
import posixpath
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import asdict, dataclass, replace
from typing import IO, BinaryIO

from wherry.builder import fetch, solver
from wherry.builder.backend import Backend, Emit
from wherry.builder.cache import Step, StepCache
from wherry.builder.cachemounts import CacheMounts
from wherry.builder.context import SpooledTree, TarTree, copy_decompressed
from wherry.builder.copystep import EmptyTree
from wherry.builder.dockerfile import Dockerfile, parse
from wherry.builder.errors import DockerfileError
from wherry.builder.keptcontexts import KeptContexts
from wherry.builder.lint import Finding, lint
from wherry.builder.progress import Output, short
from wherry.builder.request import BuildRequest
from wherry.builder.solver import Solved
from wherry.builder.trees import Kind, Tree, normalise, resolve
from wherry.dockerignore import read_patterns
from wherry.errors import InvalidParameter, KernelError, NotFound
from wherry.filepath import BadPattern
from wherry.fs.removing import remove_path
from wherry.storage.statedb import StateDB

DEFAULT_DOCKERFILE = "Dockerfile"
_MAX_DOCKERFILE = 8 << 20
_IN_CONTEXT = "tar:"
_ARCHIVE_TYPES = (
    "application/x-tar",
    "application/tar",
    "application/gzip",
    "application/x-gzip",
    "application/x-bzip2",
    "application/x-xz",
    "application/zstd",
    "application/octet-stream",
)


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """One thing that the builder keeps; times are unix seconds, sizes bytes."""

    id: str
    kind: str
    description: str
    in_use: bool
    shared: bool
    size: int
    created: float
    used: float
    uses: int


@dataclass(frozen=True, slots=True)
class Built:
    """What a build made: the image's id and the names it got."""

    image: str
    names: tuple[str, ...]


class Builder:
    """Builds images; one for each engine."""

    def __init__(self, backend: Backend, db: StateDB) -> None:
        self._backend = backend
        self._cache = StepCache(db)
        self.contexts = KeptContexts()
        self._mounts = CacheMounts(db, f"{backend.directory}/caches")
        self._db = db
        self._clean()

    def _clean(self) -> None:
        """Remove what interrupted builds left."""
        for entry in os.scandir(self._backend.directory):
            if entry.name != "caches":
                remove_path(entry.path)

    async def build(
        self, request: BuildRequest, body: BinaryIO | None, remote: str, emit: Emit
    ) -> Built | None:
        """Build from a context in ``body`` (a tar archive, compressed or not) or at ``remote``.

        Returns None when only a check was asked for. Raises InvalidParameter (DockerfileError
        among them), CommandFailed, and what the engine raises.
        """
        output = Output(emit, quiet=request.quiet)
        async with AsyncExitStack() as resources:
            context = await self.open_context(body, remote, resources)
            request = _with_trees(request, context)
            name, dockerfile_tree = request.dockerfile, context
            if isinstance(context, fetch.RemoteFile):  # a lone Dockerfile
                content, name = await asyncio.to_thread(_read, context, context.path), "Dockerfile"
                tree: Tree = EmptyTree()
            else:
                name, content = await asyncio.to_thread(
                    find_dockerfile, dockerfile_tree, request.dockerfile
                )
                await asyncio.to_thread(apply_ignore, context, name)
                tree = context
            dockerfile = await asyncio.to_thread(parse, content, name)
            check_syntax(dockerfile)
            if request.check:
                findings = await asyncio.to_thread(lint, dockerfile, request.arguments)
                _report(findings, dockerfile, output)
                return None
            solved = await resources.enter_async_context(
                self.solve(request, dockerfile, tree, output)
            )
            return await self._register(solved, request, output)

    def solve(
        self, request: BuildRequest, dockerfile: Dockerfile, context: Tree, output: Output
    ) -> AbstractAsyncContextManager[Solved]:
        """Take all steps, make no image yet; see `solver.solve`."""
        return solver.solve(
            self._backend, self._cache, self._mounts, request, dockerfile, context, output
        )

    async def _register(self, solved: Solved, request: BuildRequest, output: Output) -> Built:
        image = await self.create_image(solved)
        output.aux({"ID": image})
        if output.quiet:
            output.emit({"stream": f"{image}\n"})
        else:
            output.text(f"Successfully built {short(image)}\n")
        names = []
        for tag in request.tags:
            names.append(await self._backend.tag(image, tag))
            output.text(f"Successfully tagged {names[-1]}\n")
        return Built(image, tuple(names))

    async def create_image(self, solved: Solved) -> str:
        """Put what was solved into the store; returns the image's id."""
        if solved.image == solved.base:
            return solved.base
        return await asyncio.to_thread(self._backend.create_image, solved.config, solved.base)

    async def open_context(
        self, body: IO[bytes] | None, remote: str, resources: AsyncExitStack
    ) -> Tree:
        """A context from an archive or an address; a lone file when that leads to one.

        Its files are removed when ``resources`` close. Raises InvalidParameter and Unavailable.
        """
        directory = self._backend.directory
        if not remote or remote == "client-session":
            if body is None:
                raise InvalidParameter("build needs a context: the request has no body")
            source = body
        elif fetch.is_git(remote):
            return await fetch.git_tree(remote, directory, resources)
        elif fetch.is_remote(remote):
            file = await fetch.http_file(remote, directory, resources)
            media_type = file.content_type.partition(";")[0].strip().lower()
            with file.open(file.path) as content:
                archive = await asyncio.to_thread(fetch.begins_archive, content)
            if not archive:
                if media_type in _ARCHIVE_TYPES[:-1]:
                    raise InvalidParameter(f"{remote} is no tar archive")
                return file
            source = resources.enter_context(file.open(file.path))
        else:
            raise InvalidParameter(f"remote is not a git or http(s) address: {remote}")
        free = shutil.disk_usage(directory).free
        spool = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  closed with the others
        resources.callback(spool.close)
        full = KernelError("unpack build context in", directory, errno.ENOSPC)
        await asyncio.to_thread(copy_decompressed, source, spool, free, full)
        spool.seek(0)
        return await asyncio.to_thread(TarTree, spool)

    def restore(self, prefix: str) -> bool:
        """Make an image of what some step led to, known by its id's beginning; False for others.

        Clients see ids of steps; the images are made when they are asked for.
        """
        config = self._cache.state(prefix)
        if config is None:
            return False
        try:
            self._backend.create_image(config, "")
        except NotFound:  # a layer of it was pruned
            return False
        self._cache.forget_state(config)
        return True

    # What is kept ------------------------------------------------------------------------

    def usage(self) -> list[CacheRecord]:
        """Everything that the builder keeps, least recently used first."""
        records = [_record(step) for step in self._cache.all() if step.layer]
        for name, size, made, used, busy in self._mounts.usage():
            records.append(
                CacheRecord(
                    name, "exec.cachemount", f"cache mount {name}", busy, False, size, made, used, 0
                )
            )
        for kept in self.contexts.all():
            text = f"local source for {kept.directory}"
            records.append(
                CacheRecord(
                    *(kept.key, "source.local", text, False, False, kept.size),
                    *(kept.made, kept.used, kept.uses),
                )
            )
        return sorted(records, key=lambda record: record.used)

    def prune(
        self,
        *,
        until: float | None = None,
        keep_bytes: int = 0,
        wanted: Callable[[CacheRecord], bool] = lambda _: True,
    ) -> tuple[list[str], int]:
        """Forget steps and cache mounts; returns their ids and the bytes that were freed.

        ``until``: only what was last used before that time. ``keep_bytes``: the most recently
        used that fit are kept. What a running build uses stays.
        """
        kept = 0
        doomed: list[CacheRecord] = []
        for record in reversed(self.usage()):
            fits = kept + record.size <= keep_bytes
            young = until is not None and record.used >= until
            if record.in_use or young or (keep_bytes and fits) or not wanted(record):
                kept += record.size
                continue
            doomed.append(record)
        doomed = [record for record in doomed if self._remove(record)]
        keys = [record.id for record in doomed if record.kind == "regular"]
        if not keep_bytes and until is None:
            layered = set(keys)
            configuration = [step.key for step in self._cache.all() if not step.layer]
            self._cache.remove([*layered, *configuration])
        else:
            self._cache.remove(keys)
        self._backend.release_layers(f"build:{key}" for key in keys)
        return [record.id for record in doomed], sum(record.size for record in doomed)

    def close(self) -> None:
        """Let go of what is open; nothing is built any more."""
        self._mounts.close()

    def _remove(self, record: CacheRecord) -> bool:
        """Remove a cache mount or a kept context; False when a build has begun to use it."""
        if record.kind == "exec.cachemount":
            return self._mounts.remove(record.id)
        if record.kind == "source.local":
            self.contexts.remove(record.id)
        return True


def _record(step: Step) -> CacheRecord:
    return CacheRecord(
        step.key,
        "regular",
        step.description,
        False,
        False,
        step.size,
        step.used - step.seconds if not step.uses else step.used,
        step.used,
        step.uses,
    )


def _with_trees(request: BuildRequest, context: Tree) -> BuildRequest:
    """The request with named contexts that came with the context, below ``tar:PATH``."""
    trees = dict(request.context_trees)
    for name, address in request.contexts.items():
        if not address.startswith(_IN_CONTEXT):
            continue
        if not isinstance(context, SpooledTree):
            raise InvalidParameter(f"build context {name}: the request has no archive")
        tree = context.take(address.removeprefix(_IN_CONTEXT))

        async def fetch_tree(tree: Tree = tree) -> Tree:
            return tree

        trees[name.lower()] = fetch_tree
    return replace(request, context_trees=trees) if trees else request


def find_dockerfile(tree: Tree, wanted: str) -> tuple[str, bytes]:
    """Its name and content; ``dockerfile`` is tried when none was named."""
    if posixpath.normpath(wanted).startswith("../"):
        raise InvalidParameter(f"forbidden path outside the build context: {wanted} ()")
    names = [wanted] if wanted else [DEFAULT_DOCKERFILE, DEFAULT_DOCKERFILE.lower()]
    for name in names:
        found = resolve(tree, normalise(name))
        entry = tree.entry(found) if found is not None else None
        if found is not None and entry is not None and entry.kind is Kind.FILE:
            if entry.size > _MAX_DOCKERFILE:
                raise DockerfileError("it is larger than 8 MiB", file=name)
            content = _read(tree, found)
            if not content:
                raise InvalidParameter(f"the Dockerfile ({name}) cannot be empty")
            return posixpath.normpath(name), content
    raise InvalidParameter(f"Cannot locate specified Dockerfile: {names[0]}")


def _read(tree: Tree, path: str) -> bytes:
    with tree.open(path) as file:
        return file.read(_MAX_DOCKERFILE + 1)


def apply_ignore(tree: Tree, dockerfile: str) -> None:
    """Apply the file's own ignore file, or that of the context. Raises InvalidParameter.

    A client has filtered already; contexts from elsewhere come whole.
    """
    if not isinstance(tree, SpooledTree):
        return
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        patterns = ignore_patterns(tree, name)
        if patterns is not None:
            try:
                tree.exclude(patterns)
            except (BadPattern, ValueError) as error:
                raise InvalidParameter(f"error reading {name}: {error}") from None
            return


def ignore_patterns(tree: Tree, name: str) -> tuple[str, ...] | None:
    """The patterns of an ignore file; None when there is no such file."""
    entry = tree.entry(name)
    if entry is None or entry.kind is not Kind.FILE or entry.size > _MAX_DOCKERFILE:
        return None
    return tuple(read_patterns(_read(tree, name).decode("utf-8", "surrogateescape")))


def check_syntax(dockerfile: Dockerfile) -> None:
    """Raise InvalidParameter for another front end than a Dockerfile's.

    Those are programs in images, and are not run.
    """
    syntax = dockerfile.directives.syntax.partition(" ")[0]
    name = syntax.rpartition("/")[2].partition(":")[0].partition("@")[0]
    if syntax and not name.startswith("dockerfile"):
        raise InvalidParameter(f"unsupported syntax {syntax}: only docker/dockerfile is known")


def _report(findings: Iterable[Finding], dockerfile: Dockerfile, output: Output) -> None:
    count = 0
    for finding in findings:
        count += 1
        output.text(
            f"WARNING: {finding.rule} - {finding.url}\n{finding.message}\n"
            f"{dockerfile.file}:{finding.line}\n\n"
        )
        shown = asdict(finding) | {"description": finding.description, "url": finding.url}
        output.aux({"lint": shown})
    noun = "warning" if count == 1 else "warnings"
    output.text(
        f"Check complete, {count} {noun} have been found!\n"
        if count
        else "Check complete, no warnings found.\n"
    )
