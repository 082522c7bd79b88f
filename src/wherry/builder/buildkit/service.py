"""BuildKit's API of one engine, as the engine sees it."""

from __future__ import annotations

import asyncio
import base64
import secrets
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from typing import IO

from grpclib.exceptions import GRPCError

from wherry.builder.backend import Backend, Emit
from wherry.builder.builder import Builder
from wherry.builder.buildkit.control import Control, Solves
from wherry.builder.buildkit.gateway import Gateway
from wherry.builder.buildkit.sessions import Offer, Sessions, read_offer
from wherry.builder.buildkit.transport import GrpcServer
from wherry.builder.buildkit.wire import control_pb2 as pb
from wherry.errors import InvalidParameter, Unavailable

_PATIENCE = 10.0
"""Seconds that a build and the upload of its context wait for each other."""


class BuildFailed(InvalidParameter):
    """A build of ``POST /build?version=2`` failed; its text is for the client."""


class BuildKit:
    """Serves connections and sessions, and builds for ``POST /build?version=2``."""

    def __init__(self, builder: Builder, backend: Backend) -> None:
        self._backend = backend
        self._sessions = Sessions()
        self._solves = Solves()
        self._control = Control(builder, backend, self._sessions, self._solves)
        gateway = Gateway(self._control, self._solves, backend)
        self._server = GrpcServer([self._control, gateway])
        self._builds: dict[str, asyncio.Task[object]] = {}
        self._uploads: dict[str, asyncio.Future[IO[bytes]]] = {}

    async def serve(self, sock: socket.socket, initial: bytes) -> None:
        """Serve the control and gateway services on a connection (``POST /grpc``)."""
        await self._server.serve(sock, initial)

    def read_offer(self, headers: Mapping[str, str], methods: list[str]) -> Offer:
        """What a client offers in its session; see `sessions.read_offer`."""
        return read_offer(headers, methods)

    async def open_session(self, offer: Offer, sock: socket.socket, initial: bytes) -> None:
        """Take a client's session (``POST /session``)."""
        await self._sessions.open(offer, sock, initial)

    async def close(self) -> None:
        """Stop all builds and end all connections."""
        await self._solves.close()
        self._sessions.close()
        self._server.close_connections()

    # POST /build?version=2 ---------------------------------------------------------------

    async def build(
        self,
        *,
        build_id: str,
        session: str,
        attributes: Mapping[str, str],
        exporter: tuple[str, Mapping[str, str]],
        context: AsyncIterator[bytes] | None,
        awaits_upload: bool,
        quiet: bool,
        emit: Emit,
    ) -> None:
        """Build; news go out as ``moby.buildkit.trace``, the image's id at the end.

        ``quiet`` leaves the id alone, as text.

        The context is in the session, or an archive in ``context`` or in an upload to come.
        Raises BuildFailed.
        """
        task = asyncio.current_task()
        assert task is not None
        if build_id:
            self._builds[build_id] = task
        spool: IO[bytes] | None = None
        news: Emit = (lambda _: None) if quiet else emit
        try:
            if awaits_upload:
                spool = await self._uploaded(build_id)
            elif context is not None:
                spool = await self._spooled(context)
            image = await self._solve(session, attributes, exporter, spool, news)
            if quiet:
                emit({"stream": f"{image}\n"})
            elif image:
                emit({"id": "moby.image.id", "aux": {"ID": image}})
        finally:
            self._builds.pop(build_id, None)
            if spool is not None:
                spool.close()

    async def _solve(
        self,
        session: str,
        attributes: Mapping[str, str],
        exporter: tuple[str, Mapping[str, str]],
        context: IO[bytes] | None,
        emit: Emit,
    ) -> str:
        kind, exporter_attributes = exporter
        request = pb.SolveRequest(
            ref=secrets.token_hex(16),
            session=session,
            frontend="dockerfile.v0",
            frontend_attrs=attributes,
            exporters=[pb.Exporter(type=kind, attrs=exporter_attributes)] if kind else (),
        )
        if attributes.get("force-network-mode") == "host":
            request.entitlements.append("network.host")
        watching = asyncio.create_task(self._watch(request.ref, emit))
        try:
            told = await self._control.solve(request, context)
            await watching
        except GRPCError as error:
            await watching
            raise BuildFailed(error.message or error.status.name) from None
        finally:
            watching.cancel()
        return told.get("containerimage.digest", "")

    async def _watch(self, ref: str, emit: Emit) -> None:
        feed = await self._solves.feed(ref)
        async for news in feed.watch():
            data = base64.b64encode(news.SerializeToString()).decode()
            emit({"id": "moby.buildkit.trace", "aux": data})

    def cancel(self, build_id: str) -> None:
        """Stop the build with that id, if there is one."""
        if (task := self._builds.get(build_id)) is not None:
            task.cancel()

    # Contexts that come in a request of their own ----------------------------------------

    async def upload(self, build_id: str, body: AsyncIterator[bytes]) -> None:
        """Take the context of a build that waits for it, or soon will."""
        spool = await self._spooled(body)
        waiting = self._upload(build_id)
        if waiting.done():
            spool.close()
            raise Unavailable(f"build {build_id} has its context already")
        waiting.set_result(spool)

    async def _uploaded(self, build_id: str) -> IO[bytes]:
        waiting = self._upload(build_id)
        try:
            async with asyncio.timeout(_PATIENCE):
                return await asyncio.shield(waiting)
        except TimeoutError:
            raise Unavailable("the build context was not sent: context deadline exceeded") from None
        finally:
            self._uploads.pop(build_id, None)

    def _upload(self, build_id: str) -> asyncio.Future[IO[bytes]]:
        if build_id not in self._uploads:
            self._uploads[build_id] = asyncio.get_running_loop().create_future()
        return self._uploads[build_id]

    async def _spooled(self, body: AsyncIterator[bytes]) -> IO[bytes]:
        spool = tempfile.TemporaryFile(dir=self._backend.directory)  # noqa: SIM115
        try:
            async for piece in body:
                spool.write(piece)
        except BaseException:
            spool.close()
            raise
        spool.seek(0)
        return spool
