"""Fair turns: how many adapter versions have requests in the engine at once, and who is next.

vLLM skips waiting requests of a version that is not among those in the batch for as long as the
others keep coming (vllm-project/vllm#15422), so a rare version would starve beside a hot one. Here
newcomers queue in order, and once the first of them has waited PATIENCE_S nobody overtakes it.
Knows nothing of loading.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

PATIENCE_S = 0.25


class Turns:
    """At most `limit` versions at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    @contextlib.asynccontextmanager
    async def turn(self, version: str) -> AsyncIterator[None]:
        """Wait for `version`'s turn and keep it for the block."""
        yield
