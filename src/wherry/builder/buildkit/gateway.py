"""BuildKit's gateway service: the calls of a client that runs its front ends itself.

Each call names in its metadata the build that ``Control.Solve`` has begun.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from wherry.builder.backend import Backend
from wherry.builder.buildkit.attributes import FRONTENDS, read_attributes, with_caches
from wherry.builder.buildkit.control import Control, GatewaySolve, Solves
from wherry.builder.buildkit.errors import grpc_error
from wherry.builder.buildkit.filesync import write_stat
from wherry.builder.buildkit.wire import gateway_pb2 as pb
from wherry.builder.buildkit.wire.control_pb2 import VertexWarning
from wherry.builder.buildkit.wire.gateway_grpc import LLBBridgeBase
from wherry.builder.trees import Tree, normalise, resolve
from wherry.errors import InvalidParameter, NotImplementedHere, WherryError

_BUILD = "buildkit-controlapi-buildid"
_MAX_READ = 16 << 20
_GATEWAY_CAPABILITIES = (
    "solve.base",
    "solve.inlinereturn",
    "readfile",
    "readdir",
    "statfile",
    "return",
    "returnmap",
    "proto.refarray",
    "frontend.inputs",
    "frontend.caps",
    "gateway.solve.metadata",
    "gateway.solve.evaluate",
    "gateway.evaluate",
    "gateway.warnings",
)
_BUILD_CAPABILITIES = (
    "source.image",
    "source.local",
    "source.local.unique",
    "source.local.sessionid",
    "source.local.includepatterns",
    "source.local.followpaths",
    "source.local.excludepatterns",
    "source.local.sharedkeyhint",
    "source.git",
    "source.git.keepgitdir",
    "source.git.fullurl",
    "source.http",
    "source.http.checksum",
    "exec.meta.base",
    "exec.meta.proxyenv",
    "exec.meta.network",
    "exec.meta.ulimit",
    "exec.mount.bind",
    "exec.mount.cache",
    "exec.mount.cache.sharing",
    "exec.mount.selector",
    "exec.mount.tmpfs",
    "exec.mount.secret",
    "exec.mount.ssh",
    "exporter.multiple",
    "constraints",
    "platform",
    "meta.ignorecache",
    "meta.description",
)


class Gateway(LLBBridgeBase):
    """See wire/gateway.proto."""

    def __init__(self, control: Control, solves: Solves, backend: Backend) -> None:
        self._control = control
        self._solves = solves
        self._backend = backend

    async def Ping(self, stream: Stream[pb.PingRequest, pb.PongResponse]) -> None:
        """What can be asked for."""
        await self._solve_of(stream)
        await stream.recv_message()
        await stream.send_message(
            pb.PongResponse(
                frontend_api_caps=_capabilities(_GATEWAY_CAPABILITIES),
                llb_caps=_capabilities(_BUILD_CAPABILITIES),
                workers=[self._control.worker()],
            )
        )

    async def Solve(self, stream: Stream[pb.SolveRequest, pb.SolveResponse]) -> None:
        """Run a front end to the end of its build."""
        solve = await self._solve_of(stream)
        request = await stream.recv_message()
        assert request is not None
        reference, metadata = "", {}
        try:
            if request.frontend or request.definition.ByteSize():
                _refuse(request)
                frontend = read_attributes(request.frontend_opt, solve.entitlements)
                if frontend.subrequest:
                    metadata = await solve.answer(frontend)
                else:
                    imports = [(entry.type, entry.attrs) for entry in request.cache_imports]
                    frontend = with_caches(frontend, imports, solve.caches)
                    reference = secrets.token_hex(12)
                    solve.results[reference] = await solve.build(frontend)
        except WherryError as error:
            raise grpc_error(error) from error
        if request.allow_result_array_ref:
            result = pb.Result(ref=pb.Ref(id=reference), metadata=metadata)
        else:
            result = pb.Result(ref_id=reference, metadata=metadata)
        await stream.send_message(pb.SolveResponse(ref=reference, result=result))

    async def Return(self, stream: Stream[pb.ReturnRequest, pb.ReturnResponse]) -> None:
        """The end of the client's part: what it wants to have exported, or its error."""
        solve = await self._solve_of(stream)
        request = await stream.recv_message()
        assert request is not None
        if solve.returned.done():
            raise GRPCError(Status.UNKNOWN, "the build has returned already")
        if request.HasField("error"):
            error = request.error
            solve.returned.set_exception(
                GRPCError(_status(error.code), error.message, list(error.details))
            )
        else:
            try:
                reference = _returned(request.result)
                solve.returned.set_result(solve.results[reference] if reference else None)
            except KeyError as unknown:
                solve.returned.set_exception(
                    GRPCError(Status.UNKNOWN, f"no such result {unknown.args[0]}")
                )
            except WherryError as refused:
                solve.returned.set_exception(grpc_error(refused))
        await stream.send_message(pb.ReturnResponse())

    async def Evaluate(self, stream: Stream[pb.EvaluateRequest, pb.EvaluateResponse]) -> None:
        """Results are complete when they are handed out."""
        await self._tree_of(stream)
        await stream.send_message(pb.EvaluateResponse())

    async def ReadFile(self, stream: Stream[pb.ReadFileRequest, pb.ReadFileResponse]) -> None:
        """The content of a file of a result."""
        request, tree = await self._tree_of(stream)
        data = await asyncio.to_thread(_read, tree, request)
        await stream.send_message(pb.ReadFileResponse(data=data))

    async def ReadDir(self, stream: Stream[pb.ReadDirRequest, pb.ReadDirResponse]) -> None:
        """What is in a directory of a result."""
        request, tree = await self._tree_of(stream)
        path = _resolved(tree, request.dir_path)
        names = await asyncio.to_thread(lambda: list(tree.children(path)))
        found = [(name, tree.entry(f"{path}/{name}" if path else name)) for name in names]
        entries = [write_stat(name, entry) for name, entry in found if entry is not None]
        await stream.send_message(pb.ReadDirResponse(entries=entries))

    async def StatFile(self, stream: Stream[pb.StatFileRequest, pb.StatFileResponse]) -> None:
        """One file of a result."""
        request, tree = await self._tree_of(stream)
        path = _resolved(tree, request.path)
        entry = tree.entry(path)
        assert entry is not None
        await stream.send_message(
            pb.StatFileResponse(stat=write_stat(path.rpartition("/")[2], entry))
        )

    async def Inputs(self, stream: Stream[pb.InputsRequest, pb.InputsResponse]) -> None:
        """Builds here have no inputs but files and images."""
        await self._solve_of(stream)
        await stream.recv_message()
        await stream.send_message(pb.InputsResponse())

    async def Warn(self, stream: Stream[pb.WarnRequest, pb.WarnResponse]) -> None:
        """Pass a warning of the client's own on to those who watch."""
        solve = await self._solve_of(stream)
        request = await stream.recv_message()
        assert request is not None
        solve.feed.warn(
            VertexWarning(
                vertex=request.digest,
                level=request.level,
                short=request.short,
                detail=request.detail,
                url=request.url,
                info=request.info,
                ranges=request.ranges,
            )
        )
        await stream.send_message(pb.WarnResponse())

    async def ResolveImageConfig(
        self, stream: Stream[pb.ResolveImageConfigRequest, pb.ResolveImageConfigResponse]
    ) -> None:
        """Images are resolved by the builder itself."""
        raise GRPCError(Status.UNIMPLEMENTED, "images are resolved by the builder itself")

    async def _solve_of(self, stream: Stream[Any, Any]) -> GatewaySolve:
        """The build that a call is about. Raises GRPCError."""
        metadata = stream.metadata
        build = str(metadata.get(_BUILD, "")) if metadata is not None else ""
        solve = await self._solves.find(build)
        if not isinstance(solve, GatewaySolve):
            raise GRPCError(Status.UNKNOWN, f"build {build} has no gateway")
        return solve

    async def _tree_of(self, stream: Stream[Any, Any]) -> tuple[Any, Tree]:
        solve = await self._solve_of(stream)
        request = await stream.recv_message()
        assert request is not None
        solved = solve.results.get(request.ref)
        if solved is None:
            raise GRPCError(Status.UNKNOWN, f"no such ref: {request.ref}")
        return request, self._backend.tree(solved.layers)


def _capabilities(names: tuple[str, ...]) -> list[pb.Capability]:
    return [pb.Capability(id=name, enabled=True) for name in names]


def _refuse(request: pb.SolveRequest) -> None:
    if request.definition.ByteSize():
        raise NotImplementedHere("operation graphs (LLB) are not built: send a Dockerfile")
    if request.frontend not in FRONTENDS:
        raise InvalidParameter(f"frontend {request.frontend} not found")
    if request.source_policies:
        raise NotImplementedHere("source policies are not offered")
    if request.frontend_inputs:
        raise NotImplementedHere("operation graphs (LLB) as contexts are not offered")


def _returned(result: pb.Result) -> str:
    """The one result that a client returned, in whichever form; empty for none."""
    match result.WhichOneof("result"):
        case "ref":
            return result.ref.id
        case "ref_id":
            return result.ref_id
        case "refs":
            found = [reference.id for reference in result.refs.refs.values()]
        case "ref_ids":
            found = list(result.ref_ids.refs.values())
        case _:
            found = []
    if len(found) > 1:
        raise NotImplementedHere("results of many platforms are not offered")
    return found[0] if found else ""


def _status(code: int) -> Status:
    try:
        return Status(code)
    except ValueError:
        return Status.UNKNOWN


def _resolved(tree: Tree, path: str) -> str:
    found = resolve(tree, normalise(path))
    if found is None or tree.entry(found) is None:
        raise GRPCError(Status.UNKNOWN, f"{path}: no such file or directory")
    return found


def _read(tree: Tree, request: pb.ReadFileRequest) -> bytes:
    path = _resolved(tree, request.file_path)
    with tree.open(path) as file:
        if request.HasField("range"):
            file.seek(request.range.offset)
            return file.read(min(request.range.length, _MAX_READ))
        return file.read(_MAX_READ)
