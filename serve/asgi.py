"""The few ASGI moves the middleware needs: read a body, replay it, refuse, send JSON.

What passes between a client and vLLM is listed here, in both directions: vLLM 0.32 acts on headers
that choose an adapter (x-amzn-*), an engine (x-data-parallel-rank), a session, a priority and the
name of a request, and none of these is a client's to choose. Knows nothing of models or adapters.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
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
    415: "UnsupportedMediaTypeError",
    500: "InternalServerError",
    503: "ServiceUnavailableError",
}
_CLOSE = (b"connection", b"close")
_REFUSED = {
    401: (b"www-authenticate", b"Bearer"),
    408: _CLOSE,  # the rest of the body is not read, so the connection cannot be reused
    413: _CLOSE,
}
"""The header that goes with a status."""
_PASSED = (b"traceparent", b"tracestate")
"""Headers of a request that reach vLLM beside those that say what its body is."""
_ANSWERED = (b"content-type", b"content-length")
"""Headers of vLLM's answer that reach the client."""

MAX_BODY_BYTES = 8_000_000
BODY_S = 60.0
"""Time for a whole body to arrive."""


class Refusal(Exception):
    """A request that is answered with an error, in OpenAI's shape."""

    def __init__(self, status: int, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param

    def body(self) -> dict[str, Any]:
        error = {"message": str(self), "type": _TYPES[self.status], "param": self.param}
        return {"error": error | {"code": self.status}}


def place(error: Exception) -> str:
    """Type and line of an error, without its message: that may quote what a client sent."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {frame.filename}:{frame.lineno}"


class Disconnected(Exception):
    """The client left before its request was complete."""


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body of JSON. Raises Refusal 415 for another kind of body, 413 beyond
    MAX_BODY_BYTES, 408 after BODY_S, and Disconnected when it never ends."""
    headers = dict(scope["headers"])
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/json":  # a web page can send other types without being asked first
        raise Refusal(415, "the content-type must be application/json")
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise Refusal(415, "a compressed body is not accepted")
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise _too_large()
    try:
        async with asyncio.timeout(BODY_S):
            return await _pieces(receive)
    except TimeoutError:
        raise Refusal(408, f"the request body did not arrive within {BODY_S:.0f} s") from None


async def _pieces(receive: Receive) -> bytes:
    size, pieces = 0, []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        piece = message.get("body", b"")
        size += len(piece)
        if size > MAX_BODY_BYTES:
            raise _too_large()
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


def _too_large() -> Refusal:
    return Refusal(413, f"the request body is larger than {MAX_BODY_BYTES} bytes")


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` once and then whatever the client sends (its departure)."""
    pending = [body]

    async def next_message() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return next_message


def inward(scope: Scope, body: bytes | None = None) -> Scope:
    """The scope as vLLM may see it: the path that was looked at, no query, and of the headers only
    those that no decision hangs on."""
    headers = [(name, value) for name, value in scope["headers"] if name.lower() in _PASSED]
    if body is not None:
        headers.append((b"content-type", b"application/json"))
        headers.append((b"content-length", b"%d" % len(body)))
    path = scope["path"].encode()
    plain = {"root_path": "", "raw_path": path, "query_string": b"", "headers": headers}
    return {**scope, **plain}


def outward(send: Send, added: Mapping[bytes, bytes]) -> Send:
    """A `send` for vLLM's answer: its own headers but the two that describe the body are left out,
    `added` ones join."""

    async def forward(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [pair for pair in message.get("headers", ()) if pair[0].lower() in _ANSWERED]
            message = {**message, "headers": [*kept, *added.items()]}
        await send(message)

    return forward


async def call(
    app: App, method: str, path: str, body: bytes, *, application: Any = None
) -> tuple[int, bytes]:
    """Ask an application from inside this process: (status, body). `application` is what its routes
    find as their request's `app`."""
    status, parts = 500, []
    request = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        for message in request:
            return message
        return await asyncio.Future()  # the asker stays: vLLM ends the work of one that left

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    headers.append((b"content-length", b"%d" % len(body)))
    scope = {**_scope(method, path, headers), "app": application}
    await app(scope, receive, send)
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
    if status in _REFUSED:
        headers.append(_REFUSED[status])
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
