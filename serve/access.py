"""The access log: one JSON object a line for every request, without any content."""

from __future__ import annotations

from serve.exchange import Exchange


def log(exchange: Exchange) -> None:
    """Write the line of a finished request."""
