"""Evalsets: strict items, content ids, and judge prompts that fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import EvalsetError
from harness.evaluation.evalset import find_evalset, load_evalset

CARD = "name: tiny\npurpose: tests\nauthor: us\nlicence: Apache-2.0\n"
ITEM = {"messages": [{"role": "user", "content": "2 + 2?"}], "reference": "4"}


def write(
    folder: Path, items: list[Any], judge: str = "Key: {reference}\nGiven: {response}"
) -> Path:
    lines = [each if isinstance(each, str) else json.dumps(each) for each in items]
    (folder / "items.jsonl").write_text("\n".join(lines))
    (folder / "card.yaml").write_text(CARD)
    (folder / "judge.md").write_text(judge)
    return folder


def test_an_item_is_known_by_its_content(tmp_path: Path) -> None:
    first = load_evalset(write(tmp_path, [ITEM]))
    again = load_evalset(write(tmp_path, [dict(reversed(ITEM.items()))]))
    other = load_evalset(write(tmp_path, [ITEM | {"reference": "four"}]))
    assert first.items[0].id == again.items[0].id != other.items[0].id
    assert first.label == again.label != other.label
    assert first.label.startswith("tiny@")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([ITEM, "{"], "items.jsonl:2: not JSON"),
        ([ITEM, ITEM], "items.jsonl:2: the same item stands earlier"),
        ([[1]], "items.jsonl:1: an item is a JSON object, not list"),
        ([ITEM | {"referense": "4"}], "items.jsonl:1: referense: Extra inputs"),
        ([{"messages": []}], "items.jsonl:1: messages must end with the user's"),
        ([{"messages": ITEM["messages"]}], "items.jsonl:1: no reference, but the judge prompt"),
        ([], "items.jsonl: no items"),
    ],
)
def test_a_bad_item_is_named_by_line(tmp_path: Path, items: list[Any], message: str) -> None:
    from harness.errors import HarnessError

    with pytest.raises(HarnessError) as caught:
        load_evalset(write(tmp_path, items))
    assert message in str(caught.value)


def test_without_a_reference_the_judge_must_not_need_one(tmp_path: Path) -> None:
    evalset = load_evalset(write(tmp_path, [{"messages": ITEM["messages"]}], "Rate: {response}"))
    assert evalset.items[0].reference is None


def test_a_judge_prompt_must_show_the_response(tmp_path: Path) -> None:
    with pytest.raises(EvalsetError, match=r"lacks \{response\}; accepted placeholders"):
        load_evalset(write(tmp_path, [ITEM], "Rate it."))


def test_a_card_is_strict(tmp_path: Path) -> None:
    folder = write(tmp_path, [ITEM])
    (folder / "card.yaml").write_text(CARD + "purpos: x\n")
    with pytest.raises(EvalsetError, match=r"card\.yaml: purpos: .* accepted keys: name"):
        load_evalset(folder)
    (folder / "card.yaml").unlink()
    with pytest.raises(EvalsetError, match=r"card\.yaml: missing"):
        load_evalset(folder)


def test_a_missing_evalset_offers_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(EvalsetError, match="did you mean 'pocket'"):
        find_evalset("pockett", tmp_path)
