"""One request and its answer, as the access log and the metrics see it: names, counts and times,
never content."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from serve.asgi import Message, Send


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
    """None: the client left, or the server broke, before an answer began."""
    started: float = field(default_factory=time.monotonic)
    first_byte_s: float | None = None
    duration_s: float | None = None
    n_prompt_tokens: int | None = None
    n_completion_tokens: int | None = None

    def watch(self, send: Send) -> Send:
        """A `send` that notes status, times and token counts, and adds `x-request-id`."""

        async def forward(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode())]
                message = {**message, "headers": headers}
            elif self.first_byte_s is None:
                self.first_byte_s = time.monotonic() - self.started
            await send(message)

        return forward
