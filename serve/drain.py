"""The end of a server that was asked to end: no new requests, time for the running ones, then out.

vLLM's own answer to SIGTERM stops the engine first, so its signal handlers are replaced, at the
start of the application's lifespan, just after it has set them. Stopping is left to uvicorn, which
vLLM ends through in the same way when its engine dies. Knows requests only by their number.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from typing import Any

from harness.errors import EnvironmentFault
from serve.asgi import Message, Refusal, Send

END_S = 3
"""Time for answers on their way to clients that do not read, once nothing else runs (whole)."""
LAME_DUCK_S = 2.0
"""How long a server that has nothing to do still answers 503: a load balancer is told to ask
another replica, instead of finding the door shut in the middle of a connection."""
RETRY_S = b"5"
TO_THE_END = ("/admin/status", "/metrics")
"""Routes for those who watch: answered while draining, and not counted."""

STOP_ASKED = threading.Event()
"""Set by the signal that ends this process; without it an end is a crash."""

_log = logging.getLogger(__name__)


class Drain:
    """SIGTERM: refuse new requests, end within `limit_s` seconds. A second one, or SIGINT: end at
    once."""

    def __init__(self, limit_s: float) -> None:
        self.n_running = 0
        self._limit_s = limit_s
        self._idle = asyncio.Event()
        self._idle.set()
        self._ending: asyncio.Task[None] | None = None
        self._server: Any = None

    @property
    def draining(self) -> bool:
        return self._ending is not None

    def install(self, state: Any) -> None:
        """Take SIGTERM and SIGINT over, in the event loop of the application whose `state` this
        is. Raises EnvironmentFault where vLLM does not keep its uvicorn server there."""
        server: Any = getattr(state, "server", None)
        known = hasattr(server, "should_exit") and hasattr(server, "config")
        if not (known and hasattr(server.config, "timeout_graceful_shutdown")):
            raise EnvironmentFault(
                "this vLLM cannot be ended in order; missing: app.state.server of uvicorn",
                hint="install the vLLM that pyproject.toml names: make setup",
            )
        server.config.timeout_graceful_shutdown = END_S  # else a client that never reads holds it
        self._server = server
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._begin)
        loop.add_signal_handler(signal.SIGINT, self._end_now)

    @contextlib.contextmanager
    def request(self, path: str = "") -> Iterator[None]:
        """Count the block as a running request. Raises Refusal 503 while draining."""
        if path in TO_THE_END:
            yield
            return
        if self._ending:
            raise Refusal(503, "the server is shutting down; another replica may answer")
        self.n_running += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.n_running -= 1
            if not self.n_running:
                self._idle.set()

    def watch(self, send: Send) -> Send:
        """A `send` that, while draining, ends the connection with the answer, and says in a 503
        when to come again."""

        async def forward(message: Message) -> None:
            if self._ending and message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (b"connection", b"close")]
                if message["status"] == 503:
                    headers.append((b"retry-after", RETRY_S))
                message = {**message, "headers": headers}
            await send(message)

        return forward

    def _begin(self) -> None:
        if self._ending:
            self._end_now()
            return
        STOP_ASKED.set()
        _log.info("asked to stop; %d requests have %g s to end", self.n_running, self._limit_s)
        self._ending = asyncio.get_running_loop().create_task(self._end_in_order())

    async def _end_in_order(self) -> None:
        try:
            async with asyncio.timeout(self._limit_s):
                await asyncio.sleep(LAME_DUCK_S)
                await self._idle.wait()
        except TimeoutError:
            self._end_now()
        self._server.should_exit = True

    def _end_now(self) -> None:
        STOP_ASKED.set()
        if self.n_running:
            _log.warning("stopped before %d requests had ended", self.n_running)
            self._server.config.timeout_graceful_shutdown = 0
        self._server.should_exit = True
