"""``attach/ws``: a container's streams over a WebSocket, unframed, in both directions."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from wherry.api.call import Call

if TYPE_CHECKING:
    from wherry.engine.attach import AttachOptions

_CHUNK = 32 << 10


async def attach_websocket(call: Call, options: AttachOptions) -> web.StreamResponse:
    """Relay between the WebSocket and a socket that the container's shim owns the other end of."""
    await call.engine.containers.attachable(call.name, options.detach_keys)
    websocket = web.WebSocketResponse(heartbeat=60, max_msg_size=4 << 20)
    websocket.headers.update(call.common_headers)
    await websocket.prepare(call.request)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    with ours:
        await call.engine.containers.attach(call.name, options, theirs, b"", False)
        output = asyncio.create_task(_send_output(websocket, ours))
        try:
            async for message in websocket:
                if message.type == WSMsgType.TEXT:
                    await loop.sock_sendall(ours, message.data.encode())
                elif message.type == WSMsgType.BINARY:
                    await loop.sock_sendall(ours, message.data)
                else:
                    break
        except ConnectionError:
            pass  # the container has ended
        finally:
            output.cancel()
            await asyncio.gather(output, return_exceptions=True)
    return websocket


async def _send_output(websocket: web.WebSocketResponse, ours: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(ours, _CHUNK):
        await websocket.send_bytes(data)
    await websocket.close()
