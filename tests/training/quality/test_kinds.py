from __future__ import annotations

from collections import Counter

import pytest

from harness.pocket.rows import instruction_rows
from harness.training.quality.kinds import KINDS, kind_of, kind_of_text
from tests.training.quality.examples import chat, example


def test_the_tag_of_the_data_wins() -> None:
    assert kind_of(example("Write a poem", "…")._replace(type="closed_qa")) == "closed_qa"
    assert kind_of(example("Write a poem", "…")) == "generate"


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("What is the capital of France?", "qa"),
        ("Summarize the article below.", "summarise"),
        ("Classify these animals.", "classify"),
        ("Is this mail spam or not?", "classify"),
        ("Extract the names.\n\nAnna met Ben.", "extract"),
        ("Write a short story about rain.", "generate"),
        ("Solve for x: 2x = 4", "reason"),
        ("Write a Python function that adds.", "code"),
        ("写一首诗", "generate"),
        ("总结下面的文章", "summarise"),
    ],
)
def test_prompts_speak_for_themselves(prompt: str, kind: str) -> None:
    assert kind_of_text(prompt, "…") == kind


def test_code_is_seen_in_the_answer_too() -> None:
    assert kind_of_text("How would you add them?", "def add(a, b):\n    return a + b") == "code"


def test_only_the_start_of_a_prompt_and_the_first_turn_count() -> None:
    passage = "The mill stood by the river. " * 30
    assert kind_of_text(f"Who owned it?\n\n{passage} Classify it.", "Anna") == "qa"
    turns = chat(("user", "Write a poem"), ("assistant", "…"), ("user", "Why?"), ("assistant", "…"))
    assert kind_of(turns) == "generate"


def test_most_pocket_rows_are_of_the_type_they_are_tagged() -> None:
    right: Counter[str] = Counter()
    rows = instruction_rows(700, 3)
    for row in rows:
        question, answer = (each["content"] for each in row["messages"])
        right[row["tags"]["type"]] += kind_of_text(question, answer) == row["tags"]["type"]
    assert set(right) == set(KINDS)
    assert sum(right.values()) >= 0.9 * len(rows)
    assert min(right.values()) >= 0.6 * len(rows) / len(KINDS)
