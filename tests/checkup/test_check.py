"""`harness check` as a user runs it: counts, defects, tokens, files, JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.checkup.text import _time
from harness.evaluation.evalset import load_evalset
from tests.training.recipes import write_rows
from tests.workbench import harness, harness_json, write_recipe

TOOLS = (
    "{% if tools %}{{ tools | tojson }}\n{% endif %}"
    "{% for each in messages %}<|im_start|>{{ each.role }}\n{{ each.content }}"
    "{% for call in each.tool_calls %}{{ call | tojson }}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
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
            "n_rows": 12,
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


def test_advice_is_for_what_is_there_not_for_its_repeats(recipe: Path, tmp_path: Path) -> None:
    source = "data.sources=[{path: train.jsonl, weight: 200}]"
    found = harness_json("check", recipe, "--set", source, home=tmp_path / "home")
    assert (found["n_rows"], found["sources"][0]["n_rows"]) == (2400, 2400)
    assert found["advice"].startswith("fewer than 1,000 examples")


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


def test_a_clean_file_trains_the_same_tokens(tmp_path: Path) -> None:
    """The order of keys is what a template shows of a tool."""
    path = write_recipe(tmp_path, n_rows=8, n_items=14, judge={"model": "base"})
    arguments = {"town": "Tartu", "at": 1}
    called = {"type": "function", "function": {"name": "find", "arguments": arguments}}
    tool = {"type": "function", "function": {"name": "find", "description": "Who lives there."}}
    asked = {"role": "user", "content": "Who lives in Tartu?"}
    turns = [asked, {"role": "assistant", "content": "", "tool_calls": [called]}]
    said = [{"role": "tool", "content": "Mara"}, {"role": "assistant", "content": "Mara."}]
    write_rows(tmp_path / "train.jsonl", [{"messages": [*turns, *said], "tools": [tool]}] * 2)
    (tmp_path / "tools.jinja").write_text(TOOLS)
    clean, home = tmp_path / "clean.jsonl", tmp_path / "home"
    template = ("--set", "chat.template=tools.jinja")
    found = harness_json("check", path, *template, "--write-clean", clean, home=home)
    sources = ("--set", "data.sources=[{path: clean.jsonl}]")
    again = harness_json("check", path, *template, *sources, home=home)
    assert found["data"] == again["data"]


def test_a_source_is_never_replaced(recipe: Path, tmp_path: Path) -> None:
    source = tmp_path / "train.jsonl"
    before = source.read_bytes()
    done = harness("check", recipe, "--write-clean", source, home=tmp_path / "home")
    assert done.returncode == 2
    assert "a source of the recipe, which it would replace" in done.stderr
    assert source.read_bytes() == before


def test_a_bad_answer_is_no_reference(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, n_rows=8, n_items=14)
    rows = [
        {"prompt": f"Who lives in {town}?", "completion": ("No.", "Mara.")[i % 2], "label": i % 2}
        for i, town in enumerate(TOWNS)
    ]
    write_rows(tmp_path / "train.jsonl", rows)
    folder = tmp_path / "held"
    options = ("--set", "train.objective=kto", "--set", "data.holdout=0.5")
    found = harness_json("check", path, *options, "--write-heldout", folder, home=tmp_path / "home")
    references = [item.reference for item in load_evalset(folder).items]
    assert set(references) == {"Mara."}
    assert found["n_held_out"] > len(references)


def test_what_a_kept_row_holds_is_no_item(tmp_path: Path) -> None:
    """Of two chats that begin alike the shorter is held out; the longer trains its first turn."""
    path = write_recipe(tmp_path, n_rows=8, n_items=14)
    chats = []
    for i, town in enumerate(TOWNS):
        asked = {"role": "user", "content": f"Who lives in {town}?"}
        first = [asked, {"role": "assistant", "content": "Mara."}]
        chats.append({"messages": first, "type": "out"})
        if i < 3:
            chats.append({"messages": [*first, *first], "type": "in"})
    write_rows(tmp_path / "train.jsonl", chats)
    folder, home = tmp_path / "held", tmp_path / "home"
    split = ("--set", "data.holdout_types=[out]")
    found = harness_json("check", path, *split, "--write-heldout", folder, home=home)
    assert found["n_held_out"] == 8
    assert len(load_evalset(folder).items) == 5
    again = harness_json("check", path, *split, "--set", "eval.evalset=held", home=home)
    assert (again["overlap"]["n_equal"], again["overlap"]["n_contained"]) == (0, 0)


def test_held_out_examples_become_an_evalset(recipe: Path, tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "held"
    split = ("--set", "data.holdout=0.5")
    found = harness_json("check", recipe, *split, "--write-heldout", folder, home=home)
    evalset = load_evalset(folder)
    assert found["n_held_out"] == 6
    n_items = len(evalset.items)
    assert n_items == sum(bool(item.reference) for item in evalset.items) >= 5
    assert evalset.label.startswith("bot-heldout@")
    assert "Asked: {prompt}" in evalset.judge_prompt, "the pocket judge reads its own form alone"
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


def test_nothing_is_left_out_without_a_word(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, n_rows=8, n_items=14)
    item = next(iter(load_evalset(tmp_path / "evalset").items)).messages[0].content
    rows = [{"prompt": f"Do {i}.", "completion": "Done.", "type": f"t{i}"} for i in range(24)]
    write_rows(tmp_path / "train.jsonl", [*rows, {"prompt": item, "completion": "Mara."}, {}, {}])
    source = "data.sources=[{path: train.jsonl, weight: 0.6}]"
    options = ("--set", source, "--set", "data.on_error=skip", "--set", "data.overlap=warn")
    done = harness("check", path, *options, home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert "15 from 25 examples" in done.stdout
    assert "2 rows skipped, 10 not taken by the weight or share of their source" in done.stdout
    assert "train.jsonl:26: no column 'prompt'; seen: none; 1 more in --json" in done.stdout
    assert "overlap: train.jsonl:25 holds item" in done.stdout
    assert "… 5 more in --json" in done.stdout


def test_a_time_is_told_in_its_unit() -> None:
    assert [_time(hours) for hours in (0.00001, 0.0026, 0.5, 3.25)] == [
        "1 s",
        "9 s",
        "30 min",
        "3.2 h",
    ]
