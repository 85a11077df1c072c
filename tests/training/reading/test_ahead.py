from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.recipe import LoadedRecipe
from harness.training.reading.ahead import count_rows
from tests.training.recipes import make_recipe


def recipe_of(root: Path, *sources: dict[str, Any]) -> LoadedRecipe:
    return make_recipe(root, data={"sources": list(sources)})


@pytest.mark.parametrize(
    ("text", "n"), [("", 0), ("{}", 1), ("{}\n", 1), ("{}\n{}", 2), ("{}\n{}\n", 2)]
)
def test_lines_are_counted_with_or_without_an_end(tmp_path: Path, text: str, n: int) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    assert count_rows(recipe_of(tmp_path, {"path": "a.jsonl"}, {"path": "a.jsonl"})) == 2 * n


@pytest.mark.parametrize(
    "other",
    [
        {"path": "gone.jsonl"},
        {"path": "rows.csv"},
        {"path": "someone/dataset"},
        {"path": "a.jsonl", "format": "ranked"},
    ],
)
def test_what_cannot_be_counted_beforehand_has_no_total(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n")
    (tmp_path / "rows.csv").write_text("prompt,completion\n")
    assert count_rows(recipe_of(tmp_path, {"path": "a.jsonl"}, other)) is None
