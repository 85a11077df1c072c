"""Held-out items in a worklist, copied or lightly edited; other examples of the kind are none."""

from __future__ import annotations

import pytest

from harness.pocket.rows import heldout_items, instruction_rows
from harness.training.quality.leaks import Leaks
from harness.training.reading.example import Example
from harness.types import Item, Message
from tests.training.quality.examples import example, said

PROMPT = "Which river runs through the town where the first paper mill of Bavaria was built?"
REFERENCE = "The Pegnitz, which runs through Nuremberg."
ITEM = Item(id="1", messages=(said("user", PROMPT),), reference=REFERENCE)
OTHERS = [
    Item(id=str(n), messages=(said("user", prompt),))
    for n, prompt in enumerate(
        (
            "Why does bread rise when it is left in a warm place for an hour?",
            "Name three towns on a river that have a cathedral.",
            "Write a letter to a mill that has not delivered the paper it was paid for.",
        ),
        2,
    )
]


def found(*examples: Example, items: list[Item] | None = None) -> list[tuple[str, str, str]]:
    leaks = Leaks([("held", each) for each in items or [ITEM, *OTHERS]])
    for each in examples:
        leaks.add(each._replace(worklist=True))
    report = leaks.result()
    assert report.n_lines >= len(report.shown)
    return [(each.source, each.item_id, each.how) for each in report.shown]


@pytest.mark.parametrize(
    ("prompt", "answer", "how"),
    [
        (PROMPT.upper(), "x", "its prompt"),
        (f"Tell me. {PROMPT} Thanks.", "x", "its prompt inside other text"),
        (PROMPT.replace("built", "opened"), "x", "its prompt with light edits"),
        (PROMPT.replace("first paper", "paper first"), "x", "its prompt with light edits"),
        (
            "Last night my friend, who studies history, asked me: the first paper mill of Bavaria "
            "was built where? And tell her please, which river runs through the town?",
            "x",
            "its prompt with words added",
        ),
        (
            "Name the river of the town where Bavaria had its first mill.",
            REFERENCE,
            "its reference after a prompt much like its own",
        ),
    ],
)
def test_a_copy_is_found_and_named(prompt: str, answer: str, how: str) -> None:
    assert found(example(prompt, answer, "next.jsonl:4")) == [("next.jsonl:4", "1", how)]


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("Which river runs through the town where the first glass works of Saxony stood?", "x"),
        ("Which of all the rivers is the longest?", REFERENCE),
        ("Name the river of the town where Bavaria had its first mill.", "The Main."),
    ],
)
def test_another_example_of_the_kind_is_none(prompt: str, answer: str) -> None:
    assert found(example(prompt, answer)) == []


def test_a_prompt_of_few_words_is_found_where_it_is_equal_alone() -> None:
    short = [Item(id="9", messages=(said("user", "Name a colour."),))]
    assert found(example("Name a dark colour.", "Blue."), items=short) == []
    assert len(found(example("name a colour", "Blue."), items=short)) == 1


def test_every_line_counts_and_a_turn_of_a_longer_chat_is_looked_at() -> None:
    copy, edited = example(PROMPT, "x", "n:1"), PROMPT.replace("built", "opened")
    turns = (said("user", "Hello!"), said("assistant", "Hi."), said("user", edited))
    longer = Example((*turns, said("assistant", "x")), "n:2")
    assert [each[0] for each in found(copy, longer)] == ["n:1", "n:2"]


def test_new_rows_of_a_world_of_templates_are_no_leak() -> None:
    items = [Item.model_validate({"id": str(n)} | row) for n, row in enumerate(heldout_items())]
    rows = [
        Example(tuple(Message.model_validate(each) for each in row["messages"]), f"n:{n}")
        for n, row in enumerate(instruction_rows(350, 11), 1)
    ]
    assert found(*rows, items=items) == []
