"""Sessions: what clients offer, called over connections in this process."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from wherry.builder.buildkit.sessions import Session, Sessions, read_offer
from wherry.builder.buildkit.transport import GrpcServer
from wherry.builder.buildkit.wire.secrets_grpc import SecretsBase
from wherry.builder.buildkit.wire.secrets_pb2 import GetSecretResponse
from wherry.builder.buildkit.wire.session_grpc import AuthBase
from wherry.builder.buildkit.wire.session_pb2 import CredentialsResponse
from wherry.builder.buildkit.wire.ssh_grpc import SSHBase
from wherry.builder.buildkit.wire.ssh_pb2 import CheckAgentResponse
from wherry.builder.buildkit.wire.upload_grpc import UploadBase
from wherry.builder.buildkit.wire.upload_pb2 import BytesMessage
from wherry.errors import InvalidParameter, NotFound, Unavailable

ACCOUNTS = {
    "registry-1.docker.io": CredentialsResponse(username="hub", secret="password"),
    "tokens.example": CredentialsResponse(secret="token"),
}


class Vault(SecretsBase):
    async def GetSecret(self, stream: Any) -> None:
        request = await stream.recv_message()
        if request.id == "broken":
            raise GRPCError(Status.INTERNAL, "the vault is shut")
        if request.id != "known":
            raise GRPCError(Status.NOT_FOUND, "no such secret")
        await stream.send_message(GetSecretResponse(data=b"\0value"))


class Accounts(AuthBase):
    async def Credentials(self, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(ACCOUNTS.get(request.host, CredentialsResponse()))


class Agent(SSHBase):
    async def CheckAgent(self, stream: Any) -> None:
        request = await stream.recv_message()
        if request.id != "default":
            raise GRPCError(Status.NOT_FOUND, "unset ssh forward key")
        await stream.send_message(CheckAgentResponse())

    async def ForwardAgent(self, stream: Any) -> None:
        assert stream.metadata["buildkit.ssh.id"] == "default"
        async for message in stream:
            message.data = message.data.upper()
            await stream.send_message(message)


class Archive(UploadBase):
    async def Pull(self, stream: Any) -> None:
        path = stream.metadata["urlpath"].encode()
        for piece in (b"archive ", b"at ", path):
            await stream.send_message(BytesMessage(data=piece))


@asynccontextmanager
async def opened(*services: Any) -> AsyncIterator[Session]:
    """A session with a client that serves ``services`` and says so."""
    methods = [method for service in services for method in service.__mapping__()]
    offer = read_offer({"X-Docker-Expose-Session-Uuid": "s"}, methods)
    ours, theirs = socket.socketpair()
    server = GrpcServer(services)
    await server.serve(theirs, b"")
    sessions = Sessions()
    await sessions.open(offer, ours, b"")
    try:
        yield await sessions.find("s")
    finally:
        server.close_connections()
        sessions.close()


async def test_secrets() -> None:
    async with opened(Vault()) as session:
        assert await session.secret("known") == b"\0value"
        assert await session.secret("other") is None
        with pytest.raises(Unavailable, match="the vault is shut"):
            await session.secret("broken")


async def test_credentials() -> None:
    async with opened(Accounts()) as session:
        hub = {"username": "hub", "password": "password"}
        assert await session.credentials("docker.io") == hub
        assert await session.credentials("tokens.example") == {"identitytoken": "token"}
        assert await session.credentials("public.example") is None


async def test_an_agent_answers_at_a_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "agent")
    async with opened(Agent()) as session:
        async with AsyncExitStack() as resources:
            assert not await session.agent("other", path, resources)
            assert await session.agent("default", path, resources)
            replies = await asyncio.gather(*(_ask(path, word) for word in (b"one", b"two")))
            assert replies == [b"ONE", b"TWO"]
        assert not os.path.exists(path)


async def _ask(path: str, word: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(word)
    answer = await reader.readexactly(len(word))
    writer.close()
    return answer


async def test_uploads() -> None:
    async with opened(Archive()) as session:
        pieces = [piece async for piece in session.upload("/x")]
        assert b"".join(pieces) == b"archive at /x"


async def test_what_is_not_offered_is_not_asked_for(tmp_path: Path) -> None:
    async with opened() as session, AsyncExitStack() as resources:
        assert await session.secret("known") is None
        assert await session.credentials("docker.io") is None
        assert not await session.agent("default", str(tmp_path / "agent"), resources)


async def test_a_client_that_is_gone_is_named() -> None:
    async with opened(Vault()) as session:
        session.channel.close()
        with pytest.raises(Unavailable, match="session s ended"):
            await session.secret("known")


async def test_a_session_ends_with_its_connection() -> None:
    sessions = Sessions(patience=0.01)
    ours, theirs = socket.socketpair()
    await sessions.open(read_offer({"X-Docker-Expose-Session-Uuid": "s"}, []), ours, b"")
    assert await sessions.find("s")
    theirs.close()
    with pytest.raises(NotFound, match="no active session for s"):
        while True:
            await sessions.find("s")
            await asyncio.sleep(0)


async def test_a_build_may_come_before_its_session() -> None:
    sessions = Sessions()
    finding = asyncio.create_task(sessions.find("s"))
    await asyncio.sleep(0)
    ours, theirs = socket.socketpair()
    await sessions.open(read_offer({"X-Docker-Expose-Session-Uuid": "s"}, []), ours, b"")
    assert (await finding).offer.id == "s"
    theirs.close()
    sessions.close()


def test_a_session_has_an_id() -> None:
    with pytest.raises(InvalidParameter, match="Uuid"):
        read_offer({}, [])
