"""The few ASGI moves the middleware needs: read a body, replay it, refuse, send JSON.

Knows nothing of models or adapters.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    408: "RequestTimeoutError",
    409: "ConflictError",
    413: "RequestTooLargeError",
    503: "ServiceUnavailableError",
}


class Refusal(Exception):
    """A request that is answered with an error, in OpenAI's shape."""

    def __init__(self, status: int, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param

    def body(self) -> dict[str, Any]:
        error = {"message": str(self), "type": _TYPES[self.status], "param": self.param}
        return {"error": error | {"code": self.status}}


class Disconnected(Exception):
    """The client left before its request was complete."""


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body. Raises Refusal 413 beyond `limit` bytes, Disconnected when it never ends."""
    length = dict(scope["headers"]).get(b"content-length", b"0")
    size, chunks = 0, []
    too_large = Refusal(413, f"the request body is larger than {limit} bytes")
    if length.isdigit() and int(length) > limit:
        raise too_large
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise too_large
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` once and then whatever the client sends (its departure)."""
    pending = [body]

    async def next_message() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return next_message


def with_body(scope: Scope, body: bytes) -> Scope:
    """The scope for a replaced body, without headers that could choose another model."""
    headers = [(name, value) for name, value in scope["headers"] if not _dropped(name.lower())]
    headers.append((b"content-length", str(len(body)).encode()))
    return {**scope, "headers": headers}


def _dropped(name: bytes) -> bool:
    framing = (b"content-length", b"transfer-encoding")
    return name.startswith(b"x-amzn-") or name in framing


def with_header(send: Send, name: bytes, value: bytes) -> Send:
    """A `send` that adds a header to the response."""

    async def forward(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (name, value)]}
        await send(message)

    return forward


async def call(app: App, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    """Ask an application from inside this process: (status, body)."""
    status, parts = 500, []
    request = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        return next(request, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    headers.append((b"content-length", b"%d" % len(body)))
    await app(_scope(method, path, headers), receive, send)
    return status, b"".join(parts)


def _scope(method: str, path: str, headers: list[tuple[bytes, bytes]]) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": None,
        "server": None,
    }


async def send_json(send: Send, status: int, value: Any) -> None:
    await send_bytes(send, status, b"application/json", msgspec.json.encode(value))


async def send_bytes(send: Send, status: int, content_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    if status == 413:  # the rest of the body is not read, so the connection cannot be reused
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
