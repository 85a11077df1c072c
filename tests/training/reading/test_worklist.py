"""Lines of a worklist: refused until they are filled in, rows like any other from then on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError
from harness.recipe import Source
from harness.recipe.training import Objective
from harness.training.reading.example import Example, Skipped
from harness.training.reading.read import OnError, open_source
from harness.training.reading.worklist import blank

MARK = {"schema": 1, "run": "r", "group": 1, "slice": "qa", "brief": "Write one."}


def line(**row: Any) -> dict[str, Any]:
    return {"worklist": MARK, "tags": {"type": "qa"}} | row


def chat(asked: str, answer: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return line(messages=messages)


def read(
    folder: Path, rows: list[Any], objective: Objective = "sft", on_error: OnError = "stop"
) -> list[Example | Skipped]:
    (folder / "next.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = Source(path="next.jsonl")
    return list(open_source(source, folder, objective=objective, on_error=on_error).examples)


def test_a_filled_line_is_an_example_that_knows_where_it_is_from(tmp_path: Path) -> None:
    other = {"prompt": "Hi", "completion": "Hello", "worklist": "buy milk"}
    [mine] = read(tmp_path, [chat("Where is it?", "There.")])
    [theirs] = read(tmp_path, [other])
    assert isinstance(mine, Example)
    assert isinstance(theirs, Example)
    assert (mine.worklist, theirs.worklist) == (True, False)
    assert [each.content for each in mine.messages] == ["Where is it?", "There."]


@pytest.mark.parametrize(
    ("asked", "answer"), [("", ""), ("Where?", ""), ("", "There."), (" \n", "There.")]
)
def test_what_is_blank_is_refused_with_its_place_and_how_many(
    tmp_path: Path, asked: str, answer: str
) -> None:
    rows = [chat("Where?", "There."), chat(asked, answer), chat("Who?", "Me."), chat("", "")]
    with pytest.raises(DataError) as caught:
        read(tmp_path, rows)
    assert str(caught.value) == "next.jsonl:2: not filled in yet: the first of 2 such lines"
    assert "delete the lines" in (caught.value.hint or "")


def test_unfilled_lines_can_be_skipped_and_are_counted(tmp_path: Path) -> None:
    found = read(tmp_path, [chat("", ""), chat("Where?", "There.")], on_error="skip")
    assert [type(each) for each in found] == [Skipped, Example]
    assert found[0].source == "next.jsonl:1"


@pytest.mark.parametrize("objective", ["sft", "dpo", "kto"])
def test_the_empty_row_of_an_objective_is_refused_and_its_filled_one_read(
    tmp_path: Path, objective: Objective
) -> None:
    with pytest.raises(DataError, match=r"next\.jsonl:1: not filled in yet: the only such line"):
        read(tmp_path, [line(**blank(objective))], objective)
    text = json.dumps(line(**blank(objective)))
    for word in ("one", "two", "three"):
        text = text.replace('"content": ""', f'"content": "{word}"', 1)
    found = read(tmp_path, [json.loads(text)], objective)
    assert all(isinstance(each, Example) and each.worklist for each in found)
    assert len(found) == (2 if objective == "kto" else 1)


def test_a_tool_call_needs_no_text_and_a_system_turn_may_be_empty(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": ""},
        {"role": "user", "content": "Look it up."},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "find", "arguments": {}}]},
        {"role": "tool", "content": ""},
        {"role": "assistant", "content": "Found."},
    ]
    [found] = read(tmp_path, [line(messages=messages)])
    assert isinstance(found, Example)


def test_a_worklist_that_went_through_a_table_is_one_still(tmp_path: Path) -> None:
    row = {"prompt": "", "completion": "There.", "worklist": json.dumps(MARK)}
    with pytest.raises(DataError, match="not filled in yet"):
        read(tmp_path, [row])
    [found] = read(tmp_path, [row | {"prompt": "Where?"}])
    assert isinstance(found, Example)
    assert found.worklist


def test_a_schema_of_another_time_is_refused(tmp_path: Path) -> None:
    row = chat("Where?", "There.") | {"worklist": MARK | {"schema": 2}}
    with pytest.raises(DataError, match=r"next\.jsonl:1: worklist\.schema = 2; accepted: 1"):
        read(tmp_path, [row])
