"""What a recipe does with a worklist among its sources, before anything is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError
from harness.training.prepare import prepare
from harness.types import Item
from tests.training.recipes import chats, make_recipe, write_rows

PROMPT = "Which of the seven hats does the tall man from the harbour wear on Sundays?"
ITEM = Item.model_validate(
    {"id": "0123456789ab", "messages": [{"role": "user", "content": PROMPT}]}
)


def wished(asked: str, answer: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    mark = {"schema": 1, "run": "r", "group": 1, "slice": "hats", "brief": "Write one."}
    return {"worklist": mark, "tags": {"type": "hats"}, "messages": messages}


def prepared(folder: Path, *rows: dict[str, Any], **data: Any) -> Any:
    write_rows(folder / "rows.jsonl", chats(20))
    write_rows(folder / "next.jsonl", list(rows))
    sources = [{"path": "rows.jsonl"}, {"path": "next.jsonl"}]
    recipe = make_recipe(folder, data={"sources": sources, **data})
    return prepare(recipe, items=[("held@1", ITEM)])


def test_filled_lines_are_trained_on_like_any_other_row(tmp_path: Path) -> None:
    found = prepared(tmp_path, wished("Who has the red hat?", "Nia has the red hat."))
    assert found.counts.n_rows == 21
    assert found.rows[20].source == "next.jsonl:1 turn 1"


def test_unfilled_lines_are_refused(tmp_path: Path) -> None:
    rows = [wished("Who?", "Me."), wished("", ""), wished("Who?", "")]
    with pytest.raises(DataError, match=r"next\.jsonl:2: not filled in yet: the first of 2 such"):
        prepared(tmp_path, *rows)


@pytest.mark.parametrize("overlap", ["error", "drop", "warn"])
@pytest.mark.parametrize(
    ("prompt", "how"),
    [
        (PROMPT.lower(), "its prompt$"),
        (PROMPT.replace("tall", "small"), "its prompt with light edits$"),
    ],
)
def test_a_leak_is_refused_whatever_overlap_says(
    tmp_path: Path, overlap: str, prompt: str, how: str
) -> None:
    rows = [wished("Who has the red hat?", "Nia has."), wished(prompt, "The grey one.")]
    with pytest.raises(DataError, match=r"next\.jsonl:2 holds item 0123456789ab of held@1: " + how):
        prepared(tmp_path, *rows, overlap=overlap)


def test_a_leak_among_held_out_rows_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 line of a worklist holds a held-out item"):
        prepared(tmp_path, wished(PROMPT, "x"), holdout=0.95, overlap="warn")


def test_a_row_of_no_worklist_follows_overlap(tmp_path: Path) -> None:
    row = wished(PROMPT, "The grey one.")
    del row["worklist"]
    assert prepared(tmp_path, row, overlap="drop").counts.n_overlapping == 1
