"""Sessions: what each connected client offers, called over its own connection.

A client names its session when it opens the connection (``POST /session``) and again when it
asks for a build; either may come first.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpclib
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from wherry.builder.agents import served
from wherry.builder.buildkit.transport import SessionChannel
from wherry.builder.buildkit.wire.secrets_grpc import SecretsStub
from wherry.builder.buildkit.wire.secrets_pb2 import GetSecretRequest
from wherry.builder.buildkit.wire.session_grpc import AuthStub
from wherry.builder.buildkit.wire.session_pb2 import CredentialsRequest
from wherry.builder.buildkit.wire.ssh_grpc import SSHStub
from wherry.builder.buildkit.wire.ssh_pb2 import BytesMessage as AgentBytes
from wherry.builder.buildkit.wire.ssh_pb2 import CheckAgentRequest
from wherry.builder.buildkit.wire.upload_grpc import UploadStub
from wherry.builder.buildkit.wire.upload_pb2 import BytesMessage as UploadBytes
from wherry.errors import InvalidParameter, NotFound, Unavailable

log = logging.getLogger(__name__)

_PREFIX = "X-Docker-Expose-Session-"
_PATIENCE = 5.0
"""Seconds that a build waits for its session."""
_CHUNK = 32 << 10
LOST = (StreamTerminatedError, ConnectionError)
"""What calls raise when the client has gone away."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a client says of itself when it opens a session; ``methods`` are in lower case."""

    id: str
    name: str
    shared_key: str
    methods: frozenset[str]


def read_offer(headers: Mapping[str, str], methods: list[str]) -> Offer:
    """The headers of ``POST /session``. Raises InvalidParameter without an id."""
    session = headers.get(f"{_PREFIX}Uuid", "")
    if not session:
        raise InvalidParameter(f"invalid session: no {_PREFIX}Uuid header")
    return Offer(
        session,
        headers.get(f"{_PREFIX}Name", ""),
        headers.get(f"{_PREFIX}Sharedkey", ""),
        frozenset(method.lower() for method in methods),
    )


class Session:
    """One client's offers as methods; each raises Unavailable when the client is gone."""

    def __init__(self, offer: Offer, channel: Channel) -> None:
        self.offer = offer
        self.channel = channel

    def offers(self, method: str) -> bool:
        """Whether the client serves ``/package.Service/Method``."""
        return method.lower() in self.offer.methods

    async def credentials(self, domain: str) -> Mapping[str, Any] | None:
        """What to log in to a registry with; see `backend.Credentials`."""
        if not self.offers("/moby.filesync.v1.Auth/Credentials"):
            return None
        host = "registry-1.docker.io" if domain == "docker.io" else domain
        try:
            found = await AuthStub(self.channel).Credentials(CredentialsRequest(host=host))
        except GRPCError as error:
            raise Unavailable(f"cannot get credentials for {domain}: {error.message}") from None
        except LOST as error:
            raise _gone(self, error) from None
        if not found.secret:
            return None
        if not found.username:
            return {"identitytoken": found.secret}
        return {"username": found.username, "password": found.secret}

    async def secret(self, name: str) -> bytes | None:
        """The value of a secret; see `request.Secrets`."""
        if not self.offers("/moby.buildkit.secrets.v1.Secrets/GetSecret"):
            return None
        try:
            return (await SecretsStub(self.channel).GetSecret(GetSecretRequest(id=name))).data
        except GRPCError as error:
            if error.status is Status.NOT_FOUND:
                return None
            raise Unavailable(f"cannot get secret {name}: {error.message}") from None
        except LOST as error:
            raise _gone(self, error) from None

    async def agent(self, name: str, path: str, resources: AsyncExitStack) -> bool:
        """Have the client's SSH agent answer at a socket; see `request.Agents`."""
        if not self.offers("/moby.sshforward.v1.SSH/ForwardAgent"):
            return False
        try:
            await SSHStub(self.channel).CheckAgent(CheckAgentRequest(id=name))
        except GRPCError as error:
            log.debug("SSH agent %s: %s", name, error.message)
            return False
        except LOST as error:
            raise _gone(self, error) from None
        await resources.enter_async_context(served(path, partial(self._relay, name)))
        return True

    async def _relay(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass one connection to the agent on in both directions."""
        forward = SSHStub(self.channel).ForwardAgent.open(metadata={"buildkit.ssh.id": name})
        try:
            async with forward as stream:
                await stream.send_request()

                async def up() -> None:
                    while data := await reader.read(_CHUNK):
                        await stream.send_message(AgentBytes(data=data))
                    await stream.end()

                upward = asyncio.create_task(up())
                try:
                    while (message := await stream.recv_message()) is not None:
                        writer.write(message.data)
                        await writer.drain()
                finally:
                    upward.cancel()
                    await asyncio.gather(upward, return_exceptions=True)
        except (GRPCError, *LOST, grpclib.exceptions.ProtocolError) as error:
            log.debug("SSH agent %s: %s", name, error)

    async def upload(self, path: str) -> AsyncIterator[bytes]:
        """The archive that the client has at ``path`` of its own making."""
        pull = UploadStub(self.channel).Pull.open(metadata={"urlpath": path})
        try:
            async with pull as stream:
                await stream.send_request()
                await stream.send_message(UploadBytes(), end=True)
                while (message := await stream.recv_message()) is not None:
                    yield message.data
        except GRPCError as error:
            raise Unavailable(f"cannot read the build context: {error.message}") from None
        except LOST as error:
            raise _gone(self, error) from None


class Sessions:
    """All sessions that are open."""

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._sessions: dict[str, Session] = {}
        self._opened = asyncio.Condition()

    async def open(self, offer: Offer, sock: socket.socket, initial: bytes) -> None:
        """Take a client's connection; the session lasts as long as that."""
        channel = SessionChannel(sock, initial, lambda: self._forget(offer.id, channel))
        session = Session(offer, channel)
        try:
            await channel.__connect__()
            if channel.ended:  # while it was being taken over
                channel.close()
                return
            async with self._opened:
                if not channel.ended:
                    self._sessions[offer.id] = session
                    self._opened.notify_all()
                    log.debug("session %s (%s) opened", offer.id, offer.name)
        except BaseException:
            channel.close()
            raise

    async def find(self, session: str) -> Session:
        """The session of that id; raises NotFound when it is not opened in time."""
        try:
            async with asyncio.timeout(self._patience), self._opened:
                await self._opened.wait_for(lambda: session in self._sessions)
                return self._sessions[session]
        except TimeoutError:
            raise NotFound(f"no active session for {session}: context deadline exceeded") from None

    def close(self) -> None:
        """End all sessions."""
        for session in list(self._sessions.values()):
            session.channel.close()

    def _forget(self, session: str, channel: Channel) -> None:
        channel.close()
        known = self._sessions.get(session)
        if known is not None and known.channel is channel:
            del self._sessions[session]
            log.debug("session %s ended", session)


def _gone(session: Session, error: BaseException) -> Unavailable:
    return Unavailable(f"session {session.offer.id} ended: {error or 'the client is gone'}")
