"""A small training on the pocket base that the training tests share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.recipe import LoadedRecipe, Recipe

COLOURS = ("red", "blue", "green", "black", "white", "grey", "brown", "pink")
NAMES = ("Mara", "Oskar", "Tilda", "Bruno", "Nia", "Felix")


def chats(n: int) -> list[dict[str, Any]]:
    """Rows of different lengths, all different."""
    rows = []
    for i in range(n):
        name, colour = NAMES[i % len(NAMES)], COLOURS[i % len(COLOURS)]
        question = f"{name} has {i} hats. " * (1 + i % 3) + "Which colour?"
        rows.append(
            {
                "messages": [
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": f"{name} has {i} {colour} hats."},
                ]
            }
        )
    return rows


def write_rows(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_recipe(root: Path, **sections: dict[str, Any]) -> LoadedRecipe:
    """The recipe over rows.jsonl in `root`, with sections changed key by key."""
    values: dict[str, Any] = {
        "name": "test",
        "base": {"model": "pocket"},
        "data": {"sources": [{"path": "rows.jsonl"}]},
        "lora": {"r": 8, "alpha": 16, "dropout": 0.1},
        "train": {"max_steps": 10, "batch": 16, "lr": 2e-3, "save_every": 4, "warmup_steps": 2},
        "compute": {"threads": 1},
        "eval": {"evalset": "pocket"},
    }
    for name, section in sections.items():
        values[name] = values.get(name, {}) | section
    return LoadedRecipe(Recipe.model_validate(values), root, root / "recipe.yaml")
