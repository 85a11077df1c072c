"""What a recipe comes to before anything is spent."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError, RecipeError
from harness.recipe import LoadedRecipe
from harness.training.prepare import prepare, train_key
from tests.training.recipes import chats, make_recipe, write_rows


@pytest.fixture
def recipe(tmp_path: Path) -> LoadedRecipe:
    write_rows(tmp_path / "rows.jsonl", chats(20))
    return make_recipe(tmp_path)


def test_counts_add_up(recipe: LoadedRecipe) -> None:
    prepared = prepare(recipe)
    rows, counts = prepared.rows, prepared.counts
    assert (counts.n_examples, counts.n_rows, counts.n_dropped) == (20, 20, 0)
    assert counts.n_tokens == sum(len(row.input_ids) for row in rows)
    assert counts.n_trained_tokens == sum(sum(x >= 0 for x in row.labels) for row in rows)
    assert counts.longest_tokens == max(len(row.input_ids) for row in rows)
    assert rows[4].source == "rows.jsonl:5 turn 1"
    assert prepared.n_steps == 10


def test_weights_take_a_seeded_share_or_repeat(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", chats(20))

    def sources(weight: float, seed: int = 0) -> list[str]:
        source = {"path": "rows.jsonl", "weight": weight}
        prepared = prepare(make_recipe(tmp_path, data={"sources": [source], "seed": seed}))
        return [row.source for row in prepared.rows]

    assert len(sources(0.25)) == 5
    assert len(set(sources(0.25))) == 5
    assert sources(0.25) == sources(0.25)
    assert sources(0.25) != sources(0.25, seed=1)
    assert len(sources(2.5)) == 50
    assert len(set(sources(2.5))) == 20
    assert len(sources(0.01)) == 1


def test_long_rows_are_an_error_that_names_them(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", chats(20))
    recipe = make_recipe(tmp_path, data={"max_length": 30})
    with pytest.raises(DataError, match=r"rows are longer than 30 tokens.*rows\.jsonl:\d+ turn 1"):
        prepare(recipe)


def test_long_rows_can_be_dropped_and_are_counted(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", chats(20))
    prepared = prepare(make_recipe(tmp_path, data={"max_length": 30, "overflow": "drop"}))
    assert prepared.counts.n_dropped == len(prepared.dropped) > 0
    assert prepared.counts.n_rows + prepared.counts.n_dropped == 20
    assert max(len(row.input_ids) for row in prepared.rows) <= 30
    with pytest.raises(
        DataError, match=r"all 20 rows are longer than 8 tokens.*the shortest has \d\d$"
    ):
        prepare(make_recipe(tmp_path, data={"max_length": 8, "overflow": "drop"}))


def test_more_than_the_base_can_attend_to(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", chats(2))
    with pytest.raises(RecipeError, match=r"data\.max_length = 4096.*1024"):
        prepare(make_recipe(tmp_path, data={"max_length": 4096}))


def test_a_row_beyond_the_base_is_long_even_by_default(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [{"prompt": "hat " * 1100, "completion": "no"}])
    with pytest.raises(DataError, match="longer than 1024 tokens"):
        prepare(make_recipe(tmp_path))


def test_the_key_covers_what_determines_the_weights(recipe: LoadedRecipe) -> None:
    key = train_key(recipe, prepare(recipe))

    def changed(**sections: dict[str, Any]) -> bool:
        other = make_recipe(recipe.root, **sections)
        return train_key(other, prepare(other)) != key

    assert not changed()
    assert not changed(compute={"threads": 2})
    assert not changed(train={"save_every": 7})
    assert not changed(eval={"max_tokens": 9})
    assert changed(train={"lr": 1e-3})
    assert changed(train={"seed": 1})
    assert changed(data={"seed": 1})
    assert changed(lora={"r": 16})
    assert changed(base={"dtype": "bfloat16"})
    write_rows(recipe.root / "rows.jsonl", chats(21))
    assert changed()


def test_a_base_is_known_by_its_files_not_its_name(recipe: LoadedRecipe, tmp_path: Path) -> None:
    prepared = prepare(recipe)
    shutil.copytree(prepared.base_dir, tmp_path / "base")
    copied = prepare(make_recipe(tmp_path, base={"model": "base"}))
    assert copied.base.weights == prepared.base.weights
    assert train_key(recipe, copied) == train_key(recipe, prepared)
