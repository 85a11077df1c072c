"""Recipes are strict, and their errors name the place, the value and the next step."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import RecipeError
from harness.recipe import load, parse_threshold

GOOD = """\
name: bot
base: {model: pocket}
data:
  sources: [{path: train.jsonl}]
eval: {evalset: pocket}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def problem(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load(write(folder, text), overrides)
    return str(caught.value).replace(str(folder) + "/", "")


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    recipe, root, path = load(write(tmp_path, GOOD))
    assert recipe.lora.r == 16
    assert recipe.gate.margin == 0.2
    assert root == tmp_path
    assert path == tmp_path / "recipe.yaml"


def test_paths_start_from_the_recipes_folder(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, GOOD))
    assert loaded.locate(loaded.recipe.data.sources[0].path) == tmp_path / "train.jsonl"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("train: {epoch: 3}", "recipe.yaml:6: unknown key 'train.epoch': did you mean 'epochs'?"),
        ("trian: {}", "recipe.yaml:6: unknown key 'trian': did you mean 'train'?"),
        ("train:\n  lr: -1", "recipe.yaml:7: train.lr = -1: Input should be greater than 0"),
        ("train: {lr: fast}", "recipe.yaml:6: train.lr = 'fast': Input should be a valid number"),
        ("lora: {use_dora: true}", "'use_dora' cannot be served: vLLM refuses DoRA adapters"),
        ("lora: {bias: all}", "recipe.yaml:6: lora: 'bias' cannot be served"),
        ("lora: {modules_to_save: [lm_head]}", "'modules_to_save' cannot be served"),
        ("lora: {init_lora_weights: pissa}", "PiSSA"),
        ("lora: {targets: [lm_head]}", "'lm_head' cannot be a target"),
        ("lora: {r: 1024}", "lora.r = 1024: Input should be less than or equal to 512"),
        ("gate: {thresholds: ['mean > 4']}", "'mean > 4' is not a threshold; accepted: 'mean >="),
        ("gate: {thresholds: ['pass_share >= 4']}", "pass_share lies between 0 and 1"),
        ("name: again", "name is set twice (first in line 1)"),
        ("gate: {slices: {min: 3}}", "unknown key 'gate.slices.min': did you mean 'min_n'?"),
        ("x: [", "not YAML"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, extra: str, message: str) -> None:
    assert message in problem(tmp_path, GOOD + extra + "\n")


def test_an_unknown_key_inside_a_list_offers_the_nearest(tmp_path: Path) -> None:
    text = GOOD.replace("path: train.jsonl", "path: train.jsonl, wieght: 2")
    found = problem(tmp_path, text)
    assert "unknown key 'data.sources.0.wieght': did you mean 'weight'?" in found


def test_missing_keys_and_files_are_named(tmp_path: Path) -> None:
    assert "required key 'base' is missing" in problem(tmp_path, "name: x\n")
    assert "a recipe is a mapping" in problem(tmp_path, "")
    with pytest.raises(RecipeError, match="no such recipe file"):
        load(tmp_path / "none.yaml")


def test_overrides_are_yaml_values(tmp_path: Path) -> None:
    recipe, _, _ = load(write(tmp_path, GOOD), ["train.lr=1e-3", "gate.slices.critical=[code]"])
    assert recipe.train.lr == 1e-3
    assert recipe.gate.slices.critical == ("code",)
    assert "accepted: key.path=value" in problem(tmp_path, GOOD, "train.lr")
    assert "'name' is not a section" in problem(tmp_path, GOOD, "name.x=1")


def test_the_digest_ignores_only_where_it_runs(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    plain = load(path).recipe.digest()
    assert load(path, ["compute.threads=2"]).recipe.digest() == plain
    assert load(path, ["train.seed=1"]).recipe.digest() != plain


def test_thresholds_are_parsed() -> None:
    threshold = parse_threshold("mean >= 4.0 each slice point")
    assert (threshold.metric, threshold.value) == ("mean", 4.0)
    assert threshold.each_slice
    assert threshold.point
    assert parse_threshold("min >= 2").point
    assert not parse_threshold("pass_share >= 0.9").point
