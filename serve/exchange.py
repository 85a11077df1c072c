"""One request and its answer, as the access log and the metrics see it: names, counts and times,
never content."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from serve.asgi import Disconnected, Message, Receive, Send

CLIENT_LEFT = 499
"""What nginx logs for a client that closed its connection before it had its answer."""
SEND_S = 30.0
"""Time for a client to take a piece of its answer. One that does not read keeps the turn of its
version, and a few of them would keep all."""


@dataclass
class Exchange:
    """Filled in while a request is answered."""

    method: str
    path: str
    request_id: str
    key: str = "-"
    """Name of the caller's key."""
    asked: str | None = None
    """The model named in the request."""
    alias: str | None = None
    """`asked`, where it is an alias."""
    version: str | None = None
    """What answers: a version or the base."""
    status: int | None = None
    """None: no answer began."""
    started: float = field(default_factory=time.monotonic)
    first_byte_s: float | None = None
    duration_s: float | None = None
    streamed: bool = False
    n_prompt_tokens: int | None = None
    n_completion_tokens: int | None = None
    left: bool = False
    """The client went away before its answer was complete."""
    complete: bool = False
    """The answer was given to its end."""

    @property
    def outcome(self) -> int:
        """The status as it is counted: that of the answer, 499 when the client left, 500 when the
        server broke off."""
        if self.complete and self.status is not None:
            return self.status
        return CLIENT_LEFT if self.left else 500

    @property
    def is_health_check(self) -> bool:
        return self.path == "/health"

    def watch(self, send: Send) -> Send:
        """A `send` that notes status and times, and adds `x-request-id`. Raises Disconnected for a
        client that does not read for SEND_S."""

        async def forward(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                headers = list(message.get("headers", ()))
                self.streamed = _is_stream(headers)
                headers.append((b"x-request-id", self.request_id.encode()))
                message = {**message, "headers": headers}
            elif self.first_byte_s is None:
                self.first_byte_s = time.monotonic() - self.started
            try:
                async with asyncio.timeout(SEND_S):
                    await send(message)
            except TimeoutError:
                self.left = True
                raise Disconnected from None
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self.complete = not self.left

        return forward

    def heed(self, receive: Receive) -> Receive:
        """A `receive` that notes when the client leaves."""

        async def next_message() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect" and not self.complete:
                self.left = True
            return message

        return next_message


def _is_stream(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in headers
    )
