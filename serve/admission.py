"""Fair turns: how many adapter versions have requests in the engine at once, and who is next.

vLLM skips waiting requests of a version that is not among those in the batch for as long as the
others keep coming (vllm-project/vllm#15422), so a rare version would starve beside a hot one. Here
newcomers queue in order, and once the first of them has waited PATIENCE_S nobody overtakes it: it
is served when a version has no more requests. A wait has no limit but that: as in vLLM's own queue
a request is late rather than refused, and one whose client leaves is forgotten.
Knows nothing of loading.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from time import monotonic
from typing import NamedTuple

from serve.asgi import Disconnected, Receive

PATIENCE_S = 0.25


class _Waiter(NamedTuple):
    version: str
    since: float


class Turns:
    """At most `limit` versions at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running: Counter[str] = Counter()
        """Requests in the engine."""
        self._waiting: OrderedDict[asyncio.Future[None], _Waiter] = OrderedDict()
        self._queued: Counter[str] = Counter()
        """Requests that wait."""

    @contextlib.asynccontextmanager
    async def turn(self, version: str, receive: Receive) -> AsyncIterator[None]:
        """Wait for `version`'s turn and keep it for the block.

        `receive` tells of the client's departure, with which the request leaves the queue. Raises
        Disconnected.
        """
        if self._may_pass(version):
            self._running[version] += 1
        else:
            await self._wait(version, receive)
        try:
            yield
        finally:
            self._leave(version)

    def _may_pass(self, version: str) -> bool:
        """Whether a newcomer goes straight in, past a queue whose head is still patient and in
        which no request of the same version waits."""
        if not self._waiting:
            return version in self._running or len(self._running) < self._limit
        head = next(iter(self._waiting.values()))
        patient = monotonic() - head.since < PATIENCE_S
        return patient and version in self._running and version not in self._queued

    async def _wait(self, version: str, receive: Receive) -> None:
        called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[called] = _Waiter(version, monotonic())
        self._queued[version] += 1
        departure = asyncio.create_task(_departure(receive))
        try:
            await asyncio.wait((called, departure), return_when=asyncio.FIRST_COMPLETED)
            if not called.done():
                raise Disconnected
        except BaseException:
            if called.done():
                self._leave(version)
            else:
                self._dequeue(called)
                self._call_in()
            raise
        finally:
            departure.cancel()

    def _leave(self, version: str) -> None:
        _subtract(self._running, version)
        self._call_in()

    def _call_in(self) -> None:
        """Call whoever is at the head of the queue, as long as there is room for its version."""
        while self._waiting:
            called, (version, _) = next(iter(self._waiting.items()))
            if version not in self._running and len(self._running) >= self._limit:
                return
            self._dequeue(called)
            self._running[version] += 1
            called.set_result(None)

    def _dequeue(self, called: asyncio.Future[None]) -> None:
        _subtract(self._queued, self._waiting.pop(called).version)


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _subtract(counts: Counter[str], version: str) -> None:
    counts[version] -= 1
    if not counts[version]:
        del counts[version]
