"""COPY, ADD and WORKDIR: from sources to a layer."""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wherry.builder import fetch, imageconfig
from wherry.builder.context import TarTree, copy_decompressed
from wherry.builder.copying import CopyError, LayerPlan, Options, Origin, find_sources
from wherry.builder.errors import SyntaxProblem
from wherry.builder.heredoc import Heredoc
from wherry.builder.instructions import Add, Copy, Workdir
from wherry.builder.instructions.files import Transfer, expanded
from wherry.builder.job import Job, Made, Place, layers_digest
from wherry.builder.layertar import layer_tar
from wherry.builder.modes import ModeChange, parse_chmod, parse_chown
from wherry.builder.progress import Lane
from wherry.builder.state import StageState, change
from wherry.builder.trees import Entry, Kind, Tree, entry_digest, normalise, resolve, walk
from wherry.builder.words import Expander
from wherry.errors import InvalidParameter

_MAX_ARCHIVE = 1 << 40


class EmptyTree:
    """A tree without anything in it: what ``--link`` copies on."""

    def entry(self, path: str) -> Entry | None:
        """See `trees.Tree`."""
        return None if path else Entry(Kind.DIRECTORY, 0o755)

    def children(self, path: str) -> list[str]:
        """See `trees.Tree`."""
        return []

    def open(self, path: str) -> Any:
        """See `trees.Tree`."""
        raise CopyError(f"open {path}: no such file")

    def digest(self, path: str) -> str:
        """See `trees.Tree`."""
        raise CopyError(f"open {path}: no such file")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One source found: where it is, whether it is an archive to unpack, whose owners to keep."""

    origin: Origin
    unpack: bool = False
    keep_owner: bool = False


async def copy_step(
    job: Job, state: StageState, instruction: Copy | Add, lane: Lane, place: Place
) -> StageState:
    """Copy files or take the layer from the cache. Raises CopyError or SyntaxProblem."""
    expander = state.scope.expander
    wanted: Copy | Add = expanded(instruction, expander.word)
    documents = [(document.name, _document_data(state, document)) for document in wanted.documents]
    try:
        arrivals = await _arrivals(job, wanted, place)
        destination = _destination(state, wanted, len(arrivals) + len(documents))
        root = job.backend.tree(state.layers)
        owner = _owner(wanted, root)
        chmod = parse_chmod(wanted.chmod) if wanted.chmod else None
        files = await asyncio.to_thread(_digests, arrivals, owner is None)
    except CopyError as error:
        raise CopyError(f"{wanted.NAME} failed: {error}") from None
    for name, data in documents:
        files[f"<<{name}"] = hashlib.sha256(data).hexdigest()
    content = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
    facts = {
        "step": wanted.NAME,
        "instruction": instruction.origin.text,
        "parent": "" if wanted.link else layers_digest(state.layers),
        "destination": destination,
        "owner": owner,
        "mode": wanted.chmod,
        "exclude": wanted.exclude,
        "content": content,
        "parents": getattr(wanted, "parents", False),
        "latest file time": job.clamp,
    }
    keyed = {**facts, "arriving": sorted(files)}
    noun = _noun(arrivals, len(documents))
    flags = "".join(f"--{flag} " for flag in _told_flags(wanted))
    text = f"{wanted.NAME} {flags}{noun}:{content} in {wanted.destination} "
    created_by = imageconfig.history_command(imageconfig.shell_of(state.config), text, files=True)

    async def make() -> Made:
        base: Tree = EmptyTree() if wanted.link else root
        return await asyncio.to_thread(
            _make_layer, job, base, wanted, arrivals, documents, destination, owner, chmod
        )

    try:
        return await job.step(
            state, lane, place, {**keyed, "files": _explained(files)}, created_by, make
        )
    except CopyError as error:
        raise CopyError(f"{wanted.NAME} failed: {error}") from None


async def workdir_step(
    job: Job, state: StageState, instruction: Workdir, lane: Lane, place: Place
) -> StageState:
    """Set the working directory, and make it when it is not there."""
    changed = change(state, instruction)
    path = changed.state.config["WorkingDir"]
    root = job.backend.tree(state.layers)
    shell = imageconfig.shell_of(state.config)
    created_by = imageconfig.history_command(shell, changed.text, files=True)
    found = resolve(root, normalise(path))
    entry = root.entry(found) if found is not None else None
    if entry is not None and not entry.is_directory:
        raise CopyError(f"cannot mkdir: {path} is not a directory")
    facts = {
        "step": "WORKDIR",
        "instruction": instruction.origin.text,
        "parent": layers_digest(state.layers) if entry is None else state.image_id(),
        "path": path,
        "latest file time": job.clamp,
    }

    async def make() -> Made:
        plan = LayerPlan(root, Options(now=job.file_time()))
        plan.directory(path)
        return await asyncio.to_thread(_store, job, plan)

    return await job.step(
        changed.state, lane, place, facts, created_by, make if entry is None else None
    )


def _store(job: Job, plan: LayerPlan) -> Made:
    layer = job.backend.add_layer(layer_tar(plan.items()))
    return Made(layer, job.backend.layer_size(layer))


def _noun(arrivals: Sequence[Arrival], documents: int) -> str:
    """What arrives, as the history calls it."""
    if len(arrivals) + documents != 1:
        return "multi"
    directory = arrivals and (entry := _entry(arrivals[0].origin)) and entry.is_directory
    return "dir" if directory else "file"


def _entry(origin: Origin) -> Entry | None:
    return origin.tree.entry(origin.path)


def _told_flags(wanted: Transfer) -> list[str]:
    """The flags that change what arrives, for the history."""
    flags = [f"exclude={pattern}" for pattern in wanted.exclude]
    for name in ("chown", "chmod", "link", "parents", "unpack"):
        value = getattr(wanted, name, None)
        if value not in (None, "", False):
            flags.append(name if value is True else f"{name}={value}")
    return flags


def _owner(wanted: Transfer, root: Tree) -> tuple[int, int] | None:
    """The ids that ``--chown`` names, looked up in the image. Raises SyntaxProblem."""
    if not wanted.chown:
        return None
    try:
        return parse_chown(wanted.chown, root)
    except SyntaxProblem as problem:
        raise SyntaxProblem(
            f"unable to convert uid/gid chown string to host mapping: {problem}"
        ) from None


def _document_data(state: StageState, document: Heredoc) -> bytes:
    """The content of a file in the Dockerfile, variables replaced unless its name was quoted."""
    text = document.text
    if document.expand:
        text = Expander(state.scope.variables, state.scope.escape, plain_quotes=True).word(text)
    return text.encode("utf-8", "surrogateescape")


def _destination(state: StageState, wanted: Transfer, sources: int) -> str:
    where = wanted.destination
    slash = where.endswith("/") or posixpath.basename(where) == "."
    if sources > 1 and not slash:
        raise CopyError(
            f"When using {wanted.NAME} with more than one source file, the destination must be a"
            " directory and end with a /"
        )
    path = imageconfig.working_directory(state.config.get("WorkingDir") or "", where)
    return f"{path.rstrip('/')}/" if slash else path


async def _arrivals(job: Job, wanted: Copy | Add, place: Place) -> list[Arrival]:
    if isinstance(wanted, Copy):
        tree = job.context
        if wanted.source_name:
            tree = await job.find_source(wanted.source_name, place.stage, place.line)
        return [
            Arrival(origin, keep_owner=bool(wanted.source_name))
            for source in wanted.sources
            for origin in await asyncio.to_thread(
                find_sources,
                tree,
                source,
                parents=wanted.parents,
                context=not wanted.source_name,
            )
        ]
    found: list[Arrival] = []
    for source in wanted.sources:
        if fetch.is_remote(source):
            found.append(await _remote(job, wanted, source))
            continue
        if wanted.checksum:
            raise SyntaxProblem("checksum can't be specified for non-HTTP(S) sources")
        for origin in await asyncio.to_thread(find_sources, job.context, source):
            unpack = wanted.unpack is not False and await asyncio.to_thread(_is_archive, origin)
            found.append(Arrival(origin, unpack=unpack))
    return found


async def _remote(job: Job, wanted: Add, source: str) -> Arrival:
    if fetch.is_git(source):
        tree = await fetch.git_tree(
            source,
            job.backend.directory,
            job.resources,
            keep_git_dir=wanted.keep_git_dir,
            checksum=wanted.checksum,
        )
        return Arrival(Origin(tree, "", ""))
    file = await fetch.http_file(
        source, job.backend.directory, job.resources, checksum=wanted.checksum
    )
    name = posixpath.basename(file.name)
    if not name and not wanted.destination.endswith("/"):
        name = posixpath.basename(wanted.destination)
    if not name:
        raise CopyError(f"cannot determine filename for source {source}")
    return Arrival(Origin(file, file.path, name), unpack=bool(wanted.unpack))


def _is_archive(origin: Origin) -> bool:
    entry = origin.tree.entry(origin.path)
    if entry is None or entry.kind is not Kind.FILE:
        return False
    try:
        with origin.tree.open(origin.path) as file:
            return fetch.begins_archive(file)
    except InvalidParameter:
        return False


def _archive_tree(job: Job, origin: Origin) -> TarTree:
    plain = tempfile.TemporaryFile(dir=job.backend.directory)  # noqa: SIM115  the tree owns it
    with origin.tree.open(origin.path) as file:
        copy_decompressed(file, plain, _MAX_ARCHIVE)
    plain.seek(0)
    return TarTree(plain)


def _digests(arrivals: Sequence[Arrival], keep: bool) -> dict[str, str]:
    """Digests of all that arrives, by the name under which it does."""
    files: dict[str, str] = {}
    for arrival in arrivals:
        tree, root = arrival.origin.tree, arrival.origin.path
        entry = tree.entry(root)
        assert entry is not None
        ownership = keep and arrival.keep_owner
        prefix = arrival.origin.name or "."
        if not (entry.is_directory and arrival.origin.contents):
            files[prefix] = entry_digest(tree, root, entry, ownership=ownership).hex()
        if not entry.is_directory:
            continue
        cut = len(root) + 1 if root else 0
        base = "" if arrival.origin.contents else f"{prefix}/"
        for path in walk(tree, root):
            inner = tree.entry(path)
            if inner is not None:
                digest = entry_digest(tree, path, inner, ownership=ownership)
                files[base + path[cut:]] = digest.hex()
    return files


def _explained(files: Mapping[str, str]) -> dict[str, str]:
    return {name: digest[:16] for name, digest in files.items()}


def _make_layer(
    job: Job,
    base: Tree,
    wanted: Copy | Add,
    arrivals: Sequence[Arrival],
    documents: Sequence[tuple[str, bytes]],
    destination: str,
    owner: tuple[int, int] | None,
    chmod: ModeChange | None,
) -> Made:
    keep = any(arrival.keep_owner for arrival in arrivals)
    options = Options(
        owner=owner if owner is not None or keep else (0, 0),
        chmod=chmod,
        exclude=wanted.exclude,
        clamp=job.clamp,
        now=job.file_time(),
    )
    plan = LayerPlan(base, options)
    origins = [arrival.origin for arrival in arrivals if not arrival.unpack]
    if origins:
        plan.copy(origins, destination)
    several = len(arrivals) + len(documents) > 1
    for name, data in documents:
        plan.document(name, data, destination, several=several)
    for arrival in arrivals:
        if arrival.unpack:
            tree = _archive_tree(job, arrival.origin)
            plan.unpacked(Origin(tree, "", ""), destination, keep_owner=owner is None)
    return _store(job, plan)
