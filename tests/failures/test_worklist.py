"""A worklist: whole, never over another file, and without a word of what is held out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import DataError
from harness.failures.worklist import MOST, lines, n_wished, runs, write_worklist
from harness.recipe import Recipe, Source
from harness.recipe.training import Objective
from harness.report.record import RoundRecord
from harness.training.reading.read import open_source
from harness.types import Role
from tests.failures.test_failed import told_of
from tests.report.factory import make_hostile_record, make_record
from tests.report.rows import make_row


def held_out(record: RoundRecord) -> set[tuple[str, ...]]:
    texts = [each.content for item in record.items for each in item.messages]
    texts += [item.reference or "" for item in record.items]
    texts += [each.text for each in record.generations]
    texts += [each.reason for each in record.verdicts]
    return {run for text in texts for run in runs(text)}


def written_by(record: RoundRecord) -> str:
    return "".join(json.dumps(each) for each in lines(told_of(record), record))


def test_it_asks_for_twice_as_many_within_bounds() -> None:
    groups = told_of(make_record()).groups
    assert all(n_wished(each) == min(max(2 * each.n_items, 4), MOST) for each in groups)
    found = list(lines(told_of(make_record()), make_record()))
    assert len(found) == sum(map(n_wished, groups))
    first = found[0]
    assert list(first) == ["worklist", "tags", "messages"]
    assert first["tags"] == {"type": "generate"}
    assert set(first["worklist"]) == {"schema", "run", "group", "slice", "brief"}
    assert "scored 1–2 where the baseline's scored 4–5" in first["worklist"]["brief"]


def test_no_five_words_in_a_row_of_anything_held_out_are_in_it() -> None:
    record = make_record()
    text = written_by(record)
    held = held_out(record)
    assert held
    assert not held & set(runs(text))


@pytest.mark.parametrize("joined_by", [" ", "_", "\u200b "])
def test_a_slice_that_is_a_held_out_text_is_not_named(joined_by: str) -> None:
    """Tags are an evalset's own; some have the whole question for a tag."""
    ask = "Where on earth did the parcel with my grandmother's clock go?"
    tag = joined_by.join(ask.split())
    scores: dict[Role, int | None] = {"candidate": 1, "baseline": 5}
    record = make_record([make_row(ask, tag, "x", {"candidate": "a", "baseline": "b"}, scores)])
    text = written_by(record)
    assert "grandmother" not in text
    assert not held_out(record) & set(runs(text))


def test_words_that_would_make_a_text_again_are_left_out() -> None:
    """As pairs of characters can, where words have no spaces between them."""
    record = make_record()
    found = told_of(record)
    words = tuple(record.items[0].messages[1].content.split()[:5])
    groups = tuple(each.model_copy(update={"words": words}) for each in found.groups)
    text = "".join(
        json.dumps(each) for each in lines(found.model_copy(update={"groups": groups}), record)
    )
    assert "Write a new example of the kind" in text
    assert "telling words" not in text


@pytest.mark.parametrize("text", ["\x1b[31m", "\u202eevil\u2066", "</script>", '"\n{"a": 1}'])
def test_hostile_text_stays_one_line_of_json_without_controls(text: str) -> None:
    record = make_hostile_record(text)
    for each in lines(told_of(record), record):
        line = json.dumps(each, ensure_ascii=False)
        assert json.loads(line) == each
        assert line.isprintable()


@pytest.mark.parametrize("objective", ["sft", "dpo", "kto"])
def test_its_lines_have_the_shape_of_the_objective(tmp_path: Path, objective: Objective) -> None:
    record = make_record()
    values = record.recipe.model_dump(mode="json") | {"train": {"objective": objective}}
    record = record.model_copy(update={"recipe": Recipe.model_validate(values)})
    path = tmp_path / "next.jsonl"
    n_lines = write_worklist(path, told_of(record), record)
    source = Source(path="next.jsonl")
    with pytest.raises(DataError, match=f"next.jsonl:1: not filled in yet: the first of {n_lines}"):
        list(open_source(source, tmp_path, objective=objective, on_error="stop").examples)


def test_it_replaces_no_file(tmp_path: Path) -> None:
    path = tmp_path / "next.jsonl"
    path.write_text("half filled in")
    with pytest.raises(DataError, match=r"exists already") as caught:
        write_worklist(path, told_of(make_record()), make_record())
    assert caught.value.hint
    assert path.read_text() == "half filled in"
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"exists already"):
        write_worklist(tmp_path / "link", told_of(make_record()), make_record())
