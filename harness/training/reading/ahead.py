"""How many rows a recipe's files hold, before one of them is read: for a progress bar alone.

Counts lines. Knows nothing of what is in them.
"""

from __future__ import annotations

from pathlib import Path

from harness.recipe import LoadedRecipe

_CHUNK = 1 << 20


def count_rows(loaded: LoadedRecipe) -> int | None:
    """Lines of the recipe's files; None where one of them is not a .jsonl file that can be read, or
    its rows are no examples yet (several answers to one prompt)."""
    total = 0
    for source in loaded.recipe.data.sources:
        if not source.path.endswith(".jsonl") or source.format == "ranked":
            return None
        try:
            total += _lines(loaded.locate(source.path))
        except (OSError, ValueError):
            return None
    return total


def _lines(path: Path) -> int:
    n, last = 0, b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            n += chunk.count(b"\n")
            last = chunk
    return n + (not last.endswith(b"\n") if last else 0)
