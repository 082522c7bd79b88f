"""RUN: what it is executed with, what its key is made of, and its mounts."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import posixpath
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from wherry.builder import imageconfig
from wherry.builder.backend import CommandFailed, RunMount, RunRequest
from wherry.builder.context import unpack, unpack_file
from wherry.builder.errors import SyntaxProblem
from wherry.builder.instructions import Mount, Run
from wherry.builder.instructions.run import SCRIPT_DIRECTORY
from wherry.builder.job import Job, Made, Place, layers_digest
from wherry.builder.layertree import LayerTree
from wherry.builder.progress import Lane
from wherry.builder.state import StageState
from wherry.builder.trees import Kind, Tree, entry_digest, normalise, resolve, walk
from wherry.errors import InvalidParameter
from wherry.fs.making import make_file
from wherry.fs.opening import DIRECTORY
from wherry.fs.removing import remove_path
from wherry.golang import quote


async def run_step(
    job: Job, state: StageState, instruction: Run, lane: Lane, place: Place
) -> StageState:
    """Execute a RUN or take its result from the cache.

    Raises CommandFailed, SyntaxProblem, or what the backend raises.
    """
    if instruction.security == "insecure" and not job.request.allow_insecure:
        raise SyntaxProblem(
            "security.insecure is not allowed: RUN --security=insecure needs the build to be"
            " started with --allow security.insecure"
        )
    if instruction.network == "host" and not job.request.allow_host_network:
        raise SyntaxProblem(
            "network.host is not allowed: RUN --network=host needs the build to be started with"
            " --allow network.host"
        )
    if instruction.devices:
        raise SyntaxProblem("RUN --device: no such device is offered to builds")
    arguments = state.scope.run_arguments()
    mounts = _named_agents(instruction.expanded_mounts(state.scope.expander.word))
    sources = [await _source(job, mount, place) for mount in mounts]
    shell = imageconfig.shell_of(state.config)
    command = instruction.effective_command.with_shell(shell)
    facts = {
        "step": "RUN",
        "instruction": instruction.origin.text,
        "command": command,
        "heredocs": [heredoc.text for heredoc in instruction.heredocs],
        "parent": layers_digest(state.layers),
        "environment": imageconfig.environment_of(state.config),
        "arguments": arguments,
        "user": state.config.get("User") or "",
        "working directory": state.config.get("WorkingDir") or "",
        "network": instruction.network,
        "security": instruction.security,
        "mounts": [
            await asyncio.to_thread(_mount_facts, mount, tree)
            for mount, tree in zip(mounts, sources, strict=True)
        ],
        "latest file time": job.clamp,
    }
    prefix = [f"|{len(arguments)}", *(f"{k}={v}" for k, v in sorted(arguments.items()))]
    created_by = " ".join([*(prefix if arguments else ()), *command])

    privileged = instruction.security == "insecure"

    async def make() -> Made:
        async with AsyncExitStack() as stack:
            host_mounts = [
                await _host_mount(job, mount, tree, stack, privileged=privileged)
                for mount, tree in zip(mounts, sources, strict=True)
            ]
            if script := instruction.script:
                host_mounts.append(await _script(job, script.name, script.text, stack))
            secrets = await _secret_environment(job, mounts)
            request = RunRequest(
                layers=state.layers,
                arguments=command,
                environment={
                    **state.scope.hidden_arguments(),
                    **arguments,
                    **_agent_environment(mounts, host_mounts),
                    **imageconfig.environment_of(state.config),
                    **secrets,
                },
                working_directory=state.config.get("WorkingDir") or "/",
                user=state.config.get("User") or "",
                network=_network(job, instruction),
                privileged=privileged,
                mounts=tuple(mount for mount in host_mounts if mount),
                resources=job.request.resources,
                clamp=job.clamp,
            )
            return await _execute(job, request, command, lane)

    plain = not instruction.mounts and instruction.script is None
    told = plain and instruction.network == "default" and instruction.security == "sandbox"
    return await job.step(state, lane, place, facts, created_by, make, told=told)


async def _execute(job: Job, request: RunRequest, command: tuple[str, ...], lane: Lane) -> Made:
    containers: list[str] = []

    def started(container: str) -> None:
        containers.append(container)
        lane.running(container)

    result = await job.backend.run(request, started, lane.wrote)
    for container in containers:
        lane.removed(container)
    if result.code:
        raise CommandFailed(" ".join(command), result.code)
    return Made(result.layer, result.size)


def _network(job: Job, instruction: Run) -> str:
    if instruction.network != "default":
        return instruction.network
    return job.request.network or "default"


async def _source(job: Job, mount: Mount, place: Place) -> Tree | None:
    if mount.type not in ("bind", "cache"):
        return None
    if mount.origin:
        return await job.find_source(mount.origin, place.stage, place.line)
    return job.context if mount.type == "bind" else None


def _mount_facts(mount: Mount, tree: Tree | None) -> Mapping[str, Any]:
    """A mount as part of a key: a bind counts with its content, all others by their form."""
    facts: dict[str, Any] = {
        "type": mount.type,
        "target": mount.target,
        "readonly": mount.readonly,
    }
    if mount.type == "bind" and tree is not None:
        facts["content"] = _content_digest(tree, mount.source)
    if mount.type == "cache":
        facts["id"] = mount.id or mount.target
    if mount.type == "secret":
        facts.update(id=mount.id or mount.source, env=mount.env, required=mount.required)
    if mount.type == "tmpfs":
        facts["size"] = mount.size
    return facts


def _content_digest(tree: Tree, source: str) -> str:
    root = resolve(tree, normalise(source))
    entry = tree.entry(root) if root is not None else None
    if root is None or entry is None:
        raise SyntaxProblem(f"failed to calculate checksum of {source or '/'}: not found")
    digest = hashlib.sha256(entry_digest(tree, root, entry, ownership=True))
    if entry.is_directory:
        for path in walk(tree, root):
            inner = tree.entry(path)
            if inner is not None:
                digest.update(path.encode("utf-8", "surrogateescape") + b"\0")
                digest.update(entry_digest(tree, path, inner, ownership=True))
    return digest.hexdigest()


async def _host_mount(
    job: Job, mount: Mount, tree: Tree | None, stack: AsyncExitStack, *, privileged: bool
) -> RunMount | None:
    match mount.type:
        case "tmpfs":
            return RunMount(mount.target, size=mount.size)
        case "cache":
            return await _cache(job, mount, tree, stack)
        case "secret":
            return await _secret_file(job, mount, stack)
        case "ssh":
            return await _agent(job, mount, stack)
    assert tree is not None
    # A privileged command could make a mount writable.
    shared = mount.readonly and not privileged
    return await _bind(job, mount, tree, stack, shared=shared)


async def _cache(job: Job, mount: Mount, tree: Tree | None, stack: AsyncExitStack) -> RunMount:
    """A cache; with ``from=`` a new one begins with the files of ``source`` there."""
    if tree is None:
        directory = await stack.enter_async_context(job.mounts.use(mount))
        return RunMount(mount.target, directory, mount.readonly, subpath=mount.source)
    root = resolve(tree, normalise(mount.source))
    if root is None:
        raise SyntaxProblem(f"cache mount {mount.target}: {mount.source or '/'} not found")
    origin = f"{mount.origin}:/{normalise(mount.source)}"
    used = job.mounts.use(mount, functools.partial(unpack, tree, root), origin)
    return RunMount(mount.target, await stack.enter_async_context(used), mount.readonly)


async def _bind(
    job: Job, mount: Mount, tree: Tree, stack: AsyncExitStack, *, shared: bool
) -> RunMount:
    """Real files for a bind: a copy, so that writes to them are lost afterwards.

    With ``shared`` those of a stage are mounted where they are, when one layer holds them.
    """
    root = resolve(tree, normalise(mount.source))
    entry = tree.entry(root) if root is not None else None
    if root is None or entry is None:
        raise SyntaxProblem(f"bind mount {mount.target}: {mount.source or '/'} not found")
    if shared and isinstance(tree, LayerTree) and (path := tree.plain_path(root)):
        return RunMount(mount.target, path, readonly=True)
    if entry.kind not in (Kind.FILE, Kind.DIRECTORY):
        raise SyntaxProblem(f"bind mount {mount.target}: {mount.source} is no file")
    path, directory = _scratch(job, stack)
    if entry.is_directory:
        await asyncio.to_thread(unpack, tree, root, directory)
        os.fchmod(directory, entry.mode)
        return RunMount(mount.target, path, mount.readonly)
    with tree.open(root) as source:
        await asyncio.to_thread(unpack_file, source, entry, directory, "file")
    return RunMount(mount.target, f"{path}/file", mount.readonly)


async def _script(job: Job, name: str, text: str, stack: AsyncExitStack) -> RunMount:
    path, directory = _scratch(job, stack)
    with open(make_file(directory, posixpath.basename(name)), "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
        os.fchmod(file.fileno(), 0o755)
    return RunMount(SCRIPT_DIRECTORY, path, readonly=True)


def _named_agents(mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
    """The mounts; sockets of SSH agents without a target get one."""
    count = 0
    named = []
    for mount in mounts:
        if mount.type == "ssh" and not mount.target:
            mount = replace(mount, target=f"/run/buildkit/ssh_agent.{count}")
            count += 1
        named.append(mount)
    return tuple(named)


def _agent_environment(
    mounts: tuple[Mount, ...], made: Sequence[RunMount | None]
) -> dict[str, str]:
    """Where ssh(1) finds the first agent."""
    for mount, host_mount in zip(mounts, made, strict=False):
        if mount.type == "ssh" and host_mount is not None:
            return {"SSH_AUTH_SOCK": mount.target}
    return {}


async def _agent(job: Job, mount: Mount, stack: AsyncExitStack) -> RunMount | None:
    name = mount.id or "default"
    path = f"{stack.enter_context(job.backend.in_memory())}/agent"
    if not await job.request.agents(name, path, stack):
        if mount.required:
            raise InvalidParameter(f"no SSH key {quote(name)} forwarded from the client")
        return None
    os.chown(path, mount.uid or 0, mount.gid or 0)
    os.chmod(path, 0o600 if mount.mode is None else mount.mode)
    return RunMount(mount.target, path)


async def _secret_value(job: Job, mount: Mount) -> bytes | None:
    name = mount.id or mount.source or posixpath.basename(mount.target)
    value = await job.request.secrets(name)
    if value is None and mount.required:
        raise InvalidParameter(f"secret {name}: not found")
    return value


async def _secret_file(job: Job, mount: Mount, stack: AsyncExitStack) -> RunMount | None:
    value = await _secret_value(job, mount)
    if value is None or (mount.env is not None and not mount.target):
        return None
    name = mount.id or mount.source or posixpath.basename(mount.target)
    path = f"{stack.enter_context(job.backend.in_memory())}/secret"
    with open(path, "xb", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
        file.write(value)
    os.chown(path, mount.uid or 0, mount.gid or 0)
    os.chmod(path, 0o400 if mount.mode is None else mount.mode)
    target = mount.target or f"/run/secrets/{posixpath.basename(name)}"
    return RunMount(target, path, readonly=True)


async def _secret_environment(job: Job, mounts: tuple[Mount, ...]) -> dict[str, str]:
    values = {}
    for mount in mounts:
        if mount.type == "secret" and mount.env is not None:
            value = await _secret_value(job, mount)
            if value is not None:
                name = mount.env or mount.id
                values[name] = value.decode("utf-8", "surrogateescape")
    return values


def _scratch(job: Job, stack: AsyncExitStack) -> tuple[str, int]:
    """A new directory for one command: its path, and itself open until then."""
    path = tempfile.mkdtemp(prefix=f"mount-{uuid.uuid4().hex[:8]}-", dir=job.backend.directory)
    stack.push_async_callback(asyncio.to_thread, remove_path, path)
    directory = os.open(path, DIRECTORY)
    stack.callback(os.close, directory)
    os.fchmod(directory, 0o755)
    return path, directory
