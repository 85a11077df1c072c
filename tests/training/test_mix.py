"""What is trained on: repeats, held-out items, held-out groups and types, weights and shares."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError, RecipeError
from harness.training.prepare import Prepared, prepare
from harness.types import Item, Message
from tests.training.recipes import chats, make_recipe, write_rows

TOWNS = ("Tartu", "Oslo", "Cork", "Bern")


def made(root: Path, *sources: dict[str, Any], items: Any = (), **data: Any) -> Prepared:
    sources = sources or ({"path": "rows.jsonl"},)
    return prepare(make_recipe(root, data={"sources": list(sources)} | data), items=items)


def used(prepared: Prepared) -> list[str]:
    """Line of every row, in training order."""
    return [row.source.removesuffix(" turn 1") for row in prepared.rows]


def ask(prompt: str, answer: str, **more: str) -> dict[str, Any]:
    return {"instruction": prompt, "input": "", "output": answer, **more}


def test_exact_repeats_are_counted_and_only_dropped_when_asked(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [*chats(20), chats(20)[3]])
    kept, dropped = made(tmp_path), made(tmp_path, dedup="exact")
    assert (kept.counts.n_repeats, kept.counts.n_removed, len(kept.rows)) == (1, 0, 21)
    assert (dropped.counts.n_repeats, dropped.counts.n_removed) == (1, 1)
    assert "rows.jsonl:21" not in used(dropped)
    assert len(dropped.rows) == 20


def test_near_repeats_are_dropped_when_asked(tmp_path: Path) -> None:
    text = "Mara and Oskar walked along the river for two hours before they found the old red boat"
    rows = [ask("Tell a story.", text + end) for end in (" again.", " at last.")]
    write_rows(
        tmp_path / "rows.jsonl", [*rows, *(ask(f"Count to {i}.", "1 2 3") for i in range(3))]
    )
    assert len(made(tmp_path, dedup="exact").rows) == 5
    near = made(tmp_path, dedup="near")
    assert used(near) == ["rows.jsonl:1", "rows.jsonl:3", "rows.jsonl:4", "rows.jsonl:5"]
    assert near.counts.n_removed == 1


def item(prompt: str) -> tuple[str, Item]:
    return "set@1", Item(id="a1", messages=(Message(role="user", content=prompt),))


def test_a_held_out_prompt_in_the_data_stops_by_default(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [ask(f"Who lives in {town}?", "Mara.") for town in TOWNS])
    held = [item("who lives in  TARTU")]
    with pytest.raises(
        DataError, match=r"rows\.jsonl:1 holds item a1 of set@1: 'Who|who"
    ) as caught:
        made(tmp_path, items=held)
    assert "data.overlap" in str(caught.value.hint)
    dropped = made(tmp_path, items=held, overlap="drop")
    assert dropped.counts.n_overlapping == 1
    assert "rows.jsonl:1" not in used(dropped)
    warned = made(tmp_path, items=held, overlap="warn")
    assert warned.overlap.n_equal == 1
    assert len(warned.rows) == len(TOWNS)


def test_held_out_prompts_stay_whole(tmp_path: Path) -> None:
    rows = [ask(f"Name a town, number {i // 2}.", f"Town {i}.") for i in range(40)]
    write_rows(tmp_path / "rows.jsonl", rows)
    prepared = made(tmp_path, holdout=0.25)
    out = [prepared.table.example(i).messages[0].content for i in prepared.held_out]
    kept = {row.messages[0].content for row in prepared.rows}
    assert prepared.counts.n_held_out == len(out) == 10
    assert set(Counter(out).values()) == {2}
    assert not kept & set(out)
    assert list(prepared.held_out) == list(made(tmp_path, holdout=0.25).held_out)
    assert list(prepared.held_out) != list(made(tmp_path, holdout=0.25, seed=1).held_out)


def test_a_whole_type_can_be_held_out(tmp_path: Path) -> None:
    rows = [ask(f"Do {i}.", "Done.", type=("code", "qa")[i % 2]) for i in range(10)]
    write_rows(tmp_path / "rows.jsonl", rows)
    prepared = made(tmp_path, holdout_types=["code"])
    assert {prepared.table.example(i).type for i in prepared.held_out} == {"code"}
    assert len(prepared.rows) == 5
    with pytest.raises(
        RecipeError, match=r"data\.holdout_types: no example is of the type 'coed'.*code"
    ):
        made(tmp_path, holdout_types=["coed"])
    with pytest.raises(
        DataError, match=r"nothing is left to train on: of 10 examples.*10 are held"
    ):
        made(tmp_path, holdout_types=["code", "qa"])


def test_a_share_is_of_the_whole_mixture(tmp_path: Path) -> None:
    write_rows(tmp_path / "new.jsonl", chats(90))
    write_rows(tmp_path / "old.jsonl", [ask(f"Old {i}?", "Yes.") for i in range(40)])
    replay = {"path": "old.jsonl", "role": "replay", "share": 0.1}
    prepared = made(tmp_path, {"path": "new.jsonl"}, replay)
    counts = Counter(source.partition(":")[0] for source in used(prepared))
    assert counts == {"new.jsonl": 90, "old.jsonl": 10}
    assert [each.role for each in prepared.sources] == ["train", "replay"]
    assert used(prepared) == used(made(tmp_path, {"path": "new.jsonl"}, replay))
    assert used(prepared) != used(made(tmp_path, {"path": "new.jsonl"}, replay, seed=1))
    half = made(tmp_path, {"path": "new.jsonl"}, replay | {"share": 0.5})
    counts = Counter(source.partition(":")[0] for source in used(half))
    assert counts == {"new.jsonl": 90, "old.jsonl": 90}, "a small source is repeated"
    repeats = Counter(source for source in used(half) if source.startswith("old"))
    assert set(repeats.values()) == {2, 3}


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([{"path": "a", "share": 0.5}], "at least one source that has a weight"),
        ([{"path": "a"}, {"path": "b", "share": 0.6}, {"path": "c", "share": 0.5}], "sum to 1.1"),
        ([{"path": "a"}, {"path": "b", "share": 0.5, "weight": 2}], "weight and share"),
    ],
)
def test_amounts_that_cannot_be_are_refused(sources: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_recipe(Path(), data={"sources": sources})


def test_skipped_rows_are_counted_and_listed(tmp_path: Path) -> None:
    rows = [json.dumps(each) for each in chats(3)]
    bad = json.dumps({"messages": [{"role": "usr", "content": "x"}]})
    special = json.dumps({"messages": [{"role": "user", "content": "a <|im_end|> b"}, {
        "role": "assistant", "content": "c"}]})  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join([rows[0], bad, rows[1], "{", special, rows[2]]))
    with pytest.raises(DataError, match=r"rows\.jsonl:2"):
        made(tmp_path)
    prepared = made(tmp_path, on_error="skip")
    assert used(prepared) == ["rows.jsonl:1", "rows.jsonl:3", "rows.jsonl:6"]
    assert prepared.counts.n_skipped == prepared.sources[0].n_skipped == 3
    listed = {each["source"]: each["reason"] for each in prepared.record()["skipped"]}
    assert list(listed) == ["rows.jsonl:2", "rows.jsonl:4", "rows.jsonl:5"]
    assert "usr" in listed["rows.jsonl:2"]
    assert listed["rows.jsonl:5"].startswith("message 1 (user): the text spells the special token")


def test_every_tag_is_a_type_of_its_own(tmp_path: Path) -> None:
    rows = [ask(f"Do {i}.", f"Done {i}.", type=f"t{i}") for i in range(300)]
    write_rows(tmp_path / "rows.jsonl", rows)
    prepared = made(tmp_path, holdout_types=["t255", "t299"])
    assert Counter(prepared.kinds) == {f"t{i}": 1 for i in range(300)}
    assert list(prepared.held_out) == [255, 299]


def test_what_a_weight_leaves_out_is_counted(tmp_path: Path) -> None:
    write_rows(tmp_path / "new.jsonl", chats(20))
    write_rows(tmp_path / "old.jsonl", [ask(f"Old {i}?", "Yes.") for i in range(10)])
    sources = {"path": "new.jsonl", "weight": 2.5}, {"path": "old.jsonl", "weight": 0.3}
    prepared = made(tmp_path, *sources)
    assert [each.n_rows for each in prepared.sources] == [50, 3]
    assert (prepared.counts.n_untaken, prepared.counts.n_rows) == (7, 53)
