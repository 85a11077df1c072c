"""This server's file among the store's replicas: there while it serves, touched at every beat.

A server without a `url` is somebody's own and tells nobody of itself. A store that cannot be
written does not stop the serving. Knows nothing of requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from harness.store.replicas import BEAT_S, Replica, Replicas
from serve.asgi import Message, Send
from serve.config import Served

_log = logging.getLogger(__name__)


class Presence:
    """This server as other machines know it. One event loop uses it."""

    def __init__(self, served: Served, replicas: Replicas, *, beat_s: float = BEAT_S) -> None:
        self._replicas = replicas
        self._beat_s = beat_s
        self._beating: asyncio.Task[None] | None = None
        self._complaint = ""
        self.id = secrets.token_hex(6)
        self.started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._file = served.url and Replica(
            id=self.id,
            url=served.url.rstrip("/").removesuffix("/v1"),
            base_name=served.base_name,
            base_config=served.base_config,
            dtype=served.dtype,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=self.started_at,
        )

    @contextlib.asynccontextmanager
    async def announced(self, send: Send) -> AsyncIterator[Send]:
        """A `send` for the application's lifespan; the file is there from the moment the
        application has started until it says that it has ended, or the block ends."""

        async def forward(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self._leave()  # once it is sent, the process may end at any moment
            await send(message)
            if message["type"] == "lifespan.startup.complete" and self._file:
                self._beating = asyncio.create_task(self._beat(self._file))

        try:
            yield forward
        finally:
            await self._leave()

    async def _beat(self, file: Replica) -> None:
        """Register, then beat; register again where the file is gone or could not be written."""
        registered = False
        while True:
            try:
                if registered:
                    await asyncio.to_thread(self._replicas.beat, file.id)
                else:
                    await asyncio.to_thread(self._replicas.register, file)
                    registered, self._complaint = True, ""
            except OSError as error:
                if registered:  # somebody took the file away
                    registered = False
                    continue
                self._complain(error)
            await asyncio.sleep(self._beat_s)

    async def _leave(self) -> None:
        if not (self._beating and self._file):
            return
        beating, self._beating = self._beating, None
        beating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beating
        with contextlib.suppress(OSError):  # it is silent from now on all the same
            await asyncio.to_thread(self._replicas.forget, self._file.id)

    def _complain(self, error: OSError) -> None:
        reason = error.strerror or str(error)  # the rest names a file that is another every time
        if reason == self._complaint:  # once, not at every beat
            return
        self._complaint = reason
        _log.error("not among the store's replicas, so no promotion waits for this one: %s", error)
