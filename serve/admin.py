"""Routes for administrators: what this replica holds and sees, warming a version, metrics."""

from __future__ import annotations

from typing import Any

from serve.aliases import Aliases
from serve.config import Served
from serve.loader import Loader


def status(served: Served, aliases: Aliases, loader: Loader) -> dict[str, Any]:
    """What one replica says of itself."""
    table = aliases.table()
    return {
        "base": served.base_name,
        "base_config": served.base_config,
        "dtype": served.dtype,
        "aliases": table.aliases,
        "splits": table.splits,
        "loaded": loader.loaded(),
        "max_loaded": served.max_versions,
    }
