"""Prometheus metrics per alias and version, for administrators.

Every series of a version goes when the version leaves the engine, so that memory stays flat over
any number of versions; unknown names share one label. Knows nothing of HTTP.
"""

from __future__ import annotations

from serve.exchange import Exchange


class Metrics:
    """Counters of one server process."""

    def observe(self, exchange: Exchange) -> None:
        """Count a finished request."""

    def loaded(self, version: str, seconds: float) -> None:
        """Count a load into the engine."""

    def evicted(self, version: str) -> None:
        """Count an eviction and drop the version's series."""

    def refused(self, version: str) -> None:
        """Count a version that could not be loaded."""

    def render(self) -> bytes:
        """The exposition format (text, version 0.0.4)."""
        return b""
