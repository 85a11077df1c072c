"""The middleware behind the real uvicorn on a real socket, with a small application beneath, and
clients that write bytes no HTTP library would."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import uvicorn
from uvicorn.server import ServerState

from serve.middleware import VersionMiddleware
from tests.serve.fakes import started


class Heard(NamedTuple):
    """The head of an answer, and what followed it until the connection was closed or idle."""

    status: int
    headers: dict[str, str]
    rest: bytes


@contextlib.asynccontextmanager
async def listening(middleware: VersionMiddleware) -> AsyncIterator[int]:
    """The port of uvicorn's protocol, as vLLM chooses it."""
    config = uvicorn.Config(middleware, log_level="critical", lifespan="off")
    config.load()
    state = ServerState()

    made: Callable[..., asyncio.Protocol] = config.http_protocol_class

    def protocol() -> asyncio.Protocol:
        return made(config=config, server_state=state, app_state={})

    async with started(middleware):
        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
        yield server.sockets[0].getsockname()[1]
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()


@contextlib.asynccontextmanager
async def connected(
    port: int,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers of the next answer."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = [line.split(": ", 1) for line in lines[1:] if line]
    return int(lines[0].split()[1]), {name.lower(): value for name, value in pairs}


async def tell(port: int, *pieces: bytes) -> Heard:
    """Write bytes on a connection of their own."""
    async with connected(port) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            with contextlib.suppress(OSError):  # an answer may come before the end
                await writer.drain()
        status, headers = await head(reader)
        rest = b""
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(0.2):
                while piece := await reader.read(65536):
                    rest += piece
        return Heard(status, headers, rest)


def request(
    method: str, target: str, body: bytes = b"", *headers: str, kind: str = "application/json"
) -> bytes:
    """A request as bytes, closed after its answer."""
    lines = [f"{method} {target} HTTP/1.1", "host: here", "connection: close", *headers]
    lines += [f"content-type: {kind}"] if kind else []
    lines += [f"content-length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
