"""Every shipped recipe loads; the pocket's also passes its check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.recipe import load
from tests.families import FAMILIES
from tests.workbench import ROOT, harness, write_recipe

RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))


def test_there_are_recipes() -> None:
    assert {each.stem for each in RECIPES} > set(FAMILIES)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_a_shipped_recipe_loads_and_explains_itself(path: Path) -> None:
    load(path)
    assert "harness round" in path.read_text().partition("name:")[0]


def test_the_pocket_recipe_passes_its_check(tmp_path: Path) -> None:
    write_recipe(tmp_path)
    data = tmp_path / "train.jsonl"
    done = harness(
        "check",
        ROOT / "recipes" / "pocket.yaml",
        "--set",
        f"data.sources=[{{path: {data}}}]",
        "--json",
        home=tmp_path / "home",
    )
    assert json.loads(done.stdout)["n_items"] == 280, done.stderr
