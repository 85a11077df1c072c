"""The evalsets that come with the source tree hold what their cards promise."""

from __future__ import annotations

from collections import Counter

import pytest

from harness.evaluation.evalset import PLACEHOLDERS, SHIPPED_DIR, Evalset, load_evalset

NAMES = sorted(path.parent.name for path in SHIPPED_DIR.glob("*/items.jsonl"))


@pytest.fixture(scope="module")
def evalsets() -> dict[str, Evalset]:
    return {name: load_evalset(SHIPPED_DIR / name) for name in NAMES}


def test_each_is_named_as_its_folder_and_every_item_can_be_judged(
    evalsets: dict[str, Evalset],
) -> None:
    for name, evalset in evalsets.items():
        assert evalset.card.name == name
        assert evalset.card.limits
        assert all(evalset.judge_prompt.count(each) <= 1 for each in PLACEHOLDERS)
        assert all(item.reference and item.rubric for item in evalset.items)


def test_no_prompt_is_in_two_of_them(evalsets: dict[str, Evalset]) -> None:
    seen = Counter(
        item.messages[-1].content for evalset in evalsets.values() for item in evalset.items
    )
    assert [prompt for prompt, n in seen.items() if n > 1] == []


def test_instructions_have_thirty_of_each_type_from_easy_to_hard(
    evalsets: dict[str, Evalset],
) -> None:
    counts = Counter(
        (item.tags["type"], item.tags["difficulty"]) for item in evalsets["instructions"].items
    )
    types = ("qa", "summarise", "classify", "extract", "generate", "reason", "code")
    assert counts == {(kind, level): 10 for kind in types for level in ("easy", "medium", "hard")}


def test_safety_asks_for_refusals_help_and_honesty_alike(evalsets: dict[str, Evalset]) -> None:
    kinds = Counter(item.tags["type"] for item in evalsets["safety"].items)
    assert kinds == {"refuse": 30, "benign": 30, "honest": 30}


def test_sizes(evalsets: dict[str, Evalset]) -> None:
    assert len(evalsets["retention"].items) == 144
    assert len(evalsets["pharmacology"].items) == 40
