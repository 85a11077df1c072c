"""Evalsets: strict items, content ids, and judge prompts that fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import EvalsetError, HarnessError
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


@pytest.mark.parametrize("path", ["x" * 300, "x/" * 3000, "loop", "card/under"])
def test_a_path_that_cannot_be_is_no_evalset(tmp_path: Path, path: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "card").touch()
    with pytest.raises(EvalsetError, match=r"eval\.evalset = .*: no folder with items\.jsonl"):
        find_evalset(path, tmp_path)


def test_an_unknown_home_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no such home folder"):
        find_evalset("~nobody-here/x", tmp_path)


@pytest.mark.parametrize("blank", ["", " \n", None])
def test_a_blank_reference_is_none(tmp_path: Path, blank: str | None) -> None:
    item = ITEM | {"reference": blank}
    with pytest.raises(EvalsetError, match=r"items\.jsonl:1: no reference"):
        load_evalset(write(tmp_path, [item]))
    evalset = load_evalset(write(tmp_path, [item], "Rate: {response}"))
    assert evalset.items[0].reference is None
    without = load_evalset(write(tmp_path, [{"messages": ITEM["messages"]}], "Rate: {response}"))
    assert evalset.digest == without.digest


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (b"name: caf\xe9", "card.yaml: not text in UTF-8"),
        (b"name: 2024-13-45", "card.yaml:1: name = '2024-13-45': !!timestamp is not accepted"),
        (b"? [a]\n: b", "card.yaml:1: the key a list is not accepted"),
        (b"[" * 3000, "card.yaml: nested more than"),
        (b"- a", "card.yaml: Input should be a valid dictionary"),
        (b"", "card.yaml: Input should be a valid dictionary"),
        (CARD.encode() + b"judge: missing.md", "missing.md: no such judge prompt"),
        (CARD.encode() + b"judge: .", "the judge prompt cannot be read"),
        (CARD.encode() + b"judge: " + b"x" * 300, "the judge prompt cannot be read"),
        (CARD.encode() + b'judge: "\\0"', "card.yaml:5: judge = '\\x00': the character"),
    ],
    ids=range(10),
)
def test_an_unusable_card_is_one_line(tmp_path: Path, card: bytes, message: str) -> None:
    folder = write(tmp_path, [ITEM])
    (folder / "card.yaml").write_bytes(card)
    with pytest.raises(EvalsetError) as caught:
        load_evalset(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_card_that_is_a_folder(tmp_path: Path) -> None:
    folder = write(tmp_path, [ITEM])
    (folder / "card.yaml").unlink()
    (folder / "card.yaml").mkdir()
    with pytest.raises(EvalsetError, match=r"card\.yaml: cannot be read"):
        load_evalset(folder)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [(b"{response} \xe9", "not a judge prompt in UTF-8"), (b"{response}\0", "the character")],
)
def test_an_unusable_judge_prompt(tmp_path: Path, prompt: bytes, message: str) -> None:
    folder = write(tmp_path, [ITEM])
    (folder / "judge.md").write_bytes(prompt)
    with pytest.raises(EvalsetError, match=rf"judge\.md: .*{message}"):
        load_evalset(folder)


def test_items_that_are_a_folder_or_too_deep(tmp_path: Path) -> None:
    folder = write(tmp_path, ["[" * 100_000])
    with pytest.raises(HarnessError, match=r"items\.jsonl:1: not JSON: nested too deep"):
        load_evalset(folder)
    (folder / "items.jsonl").write_text(json.dumps(ITEM | {"reference": "\ud83d"}))
    with pytest.raises(HarnessError, match=r"items\.jsonl:1: .*a lone surrogate"):
        load_evalset(folder)
    (folder / "items.jsonl").unlink()
    (folder / "items.jsonl").mkdir()
    with pytest.raises(HarnessError, match=r"items\.jsonl.*cannot be read"):
        load_evalset(folder)
