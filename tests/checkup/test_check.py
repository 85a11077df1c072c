"""`harness check` as a user runs it: counts, defects, tokens, files, JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.evaluation.evalset import load_evalset
from tests.training.recipes import write_rows
from tests.workbench import harness, harness_json, write_recipe

TOWNS = ("Tartu", "Oslo", "Cork", "Bern", "Wien", "Graz", "Lyon", "Nice")


def rows() -> list[dict[str, Any]]:
    """Eight good rows, and one of each of four defects."""
    good = [
        {"instruction": f"Who lives in {town}?", "input": "", "output": f"Mara lives in {town}."}
        for town in TOWNS
    ]
    bad = [
        ("Name a colour.", ""),
        ("Name a food.", "<nooutput>"),
        ("Greet {{name}}.", "Hello {{name}}."),
        ("Name a job.", "Output: teacher"),
    ]
    return good + [{"instruction": asked, "input": "", "output": said} for asked, said in bad]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = write_recipe(tmp_path, n_rows=8, n_items=14)
    write_rows(tmp_path / "train.jsonl", rows())
    return path


def test_everything_is_in_the_json(recipe: Path, tmp_path: Path) -> None:
    found = harness_json("check", recipe, home=tmp_path / "home")
    assert (found["n_examples"], found["n_rows"], found["n_clean"]) == (12, 12, 8)
    assert found["sources"] == [
        {
            "path": "train.jsonl",
            "container": "jsonl",
            "shape": "alpaca",
            "role": "train",
            "n_read": 12,
            "n_skipped": 0,
        }
    ]
    defects = {each["id"]: each["n"] for each in found["defects"] if each["n"]}
    assert defects == {"blank": 1, "placeholder": 1, "unresolved": 1, "label": 1}
    shown = {each["id"]: each["shown"] for each in found["defects"]}
    assert shown["label"] == [{"source": "train.jsonl:12", "snippet": "Output: teacher"}]
    assert found["overlap"]["n_items"] == found["n_items"] == 14
    assert found["training"]["n_trainable"] == 233_472
    assert 0 < found["training"]["trainable_share"] < 1
    assert found["training"]["tokens_per_s"] is None
    assert sum(found["types"].values()) == 12
    assert found["training"]["n_visits"] == 40 * 16
    first = found["rows"][0]
    parts = [token["part"] for token in first["tokens"]]
    assert parts == sorted(parts, key=["prompt", "trained", "stop"].index)
    assert parts.count("stop") == 1
    text = "".join(token["text"] for token in first["tokens"] if token["part"] == "trained")
    assert text.strip() == "Mara lives in Tartu."


def test_the_page_shows_the_masks_without_colour(recipe: Path, tmp_path: Path) -> None:
    done = harness("check", recipe, "--row", 3, home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "row 3  train.jsonl:3 turn 1" in done.stdout
    assert "«Mara lives in Cork.»⟦<|im_end|>⟧" in done.stdout
    assert "Output: teacher" in done.stdout
    assert f"round {recipe}" in done.stdout


def test_a_row_that_is_not_there(recipe: Path, tmp_path: Path) -> None:
    done = harness("check", recipe, "--row", 13, home=tmp_path / "home")
    assert done.returncode == 2
    assert "--row 13: accepted: 1 to 12" in done.stderr


def test_a_clean_file_has_no_defects_left(recipe: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    clean = tmp_path / "clean.jsonl"
    found = harness_json("check", recipe, "--write-clean", clean, home=home)
    assert found["written"] == [f"8 rows written to {clean}"]
    again = harness_json("check", recipe, "--set", "data.sources=[{path: clean.jsonl}]", home=home)
    assert (again["n_rows"], again["n_clean"]) == (8, 8)
    assert not [each for each in again["defects"] if each["n"]]
    kept = found["rows"][0]["tokens"], again["rows"][0]["tokens"]
    assert kept[0] == kept[1], "a cleaned row is encoded as it was"


def test_held_out_examples_become_an_evalset(recipe: Path, tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "held"
    split = ("--set", "data.holdout=0.5")
    found = harness_json("check", recipe, *split, "--write-heldout", folder, home=home)
    evalset = load_evalset(folder)
    assert found["n_held_out"] == 6
    n_items = len(evalset.items)
    assert n_items == sum(bool(item.reference) for item in evalset.items) >= 5
    assert evalset.label.startswith("bot-heldout@")
    again = harness_json("check", recipe, *split, "--set", "eval.evalset=held", home=home)
    assert (again["n_items"], again["overlap"]["n_equal"]) == (n_items, 0)
    refused = harness("check", recipe, *split, "--write-heldout", folder, home=home)
    assert refused.returncode == 2
    assert "exists already" in refused.stderr
    trained_on = harness("check", recipe, "--set", "eval.evalset=held", home=home)
    assert trained_on.returncode == 2
    assert f"{n_items} held-out items are in the training data" in trained_on.stderr


def test_what_data_says_never_reaches_the_terminal_as_control(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, n_rows=8, n_items=14)
    evil = "\x1b]0;owned\x07[red]x[/red] \x9b31m"
    said = [
        {"instruction": f"{evil} {i}?", "input": "", "output": f"Output: {evil}"} for i in (1, 2)
    ]
    write_rows(tmp_path / "train.jsonl", said)
    done = harness("check", path, home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert not {"\x1b", "\x07", "\x9b"} & set(done.stdout)
    assert "[red]x[/red]" in done.stdout
