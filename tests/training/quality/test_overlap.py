from __future__ import annotations

import pytest

from harness.pocket.rows import heldout_items, instruction_rows
from harness.training.quality.overlap import MOST_EXAMPLES, Level, Overlap, OverlapReport
from harness.training.reading.example import Example
from harness.types import Item, Message
from tests.training.quality.examples import chat, example, said

SHORT = "Name a colour."
PROMPT = "Which river runs through the town where the first paper mill of Bavaria was built?"
LONG = (
    "A farmer sells nine crates of apples on Monday and twice as many on Tuesday, but on Wednesday "
    "rain keeps every buyer at home. Each crate holds forty apples. How many apples did he sell?"
)


def item(prompt: str, reference: str | None = None, name: str = "1") -> tuple[str, Item]:
    return "held", Item(id=name, messages=(said("user", prompt),), reference=reference)


def compare(items: list[tuple[str, Item]], examples: list[Example]) -> OverlapReport:
    overlap = Overlap(items)
    for index, each in enumerate(examples):
        overlap.add(index, each)
    return overlap.result()


def counts(report: OverlapReport) -> tuple[int, int, int]:
    return report.n_equal, report.n_contained, report.n_touching


@pytest.mark.parametrize("prompt", [SHORT, PROMPT, LONG])
def test_an_equal_prompt_is_found_whatever_its_length_and_spelling(prompt: str) -> None:
    other = f"  {prompt.upper().rstrip('.?')} "
    report = compare([item(prompt)], [example("Hello", "x"), example(other, "y", "f:7")])
    assert counts(report) == (1, 0, 0)
    assert report.examples == {1}
    match = report.shown[0]
    assert (match.label, match.item_id, match.level) == ("held", "1", Level.EQUAL)
    assert (match.source, match.share, match.prompt) == ("f:7", 1, prompt)


@pytest.mark.parametrize("prompt", [PROMPT, LONG])
@pytest.mark.parametrize("place", ["prompt", "answer", "system", "rejected"])
def test_a_prompt_inside_other_text_is_contained(prompt: str, place: str) -> None:
    text = f"Somebody asked me this: {prompt} Thank you!"
    there = {
        "prompt": example(text, "x"),
        "answer": example("x", text),
        "system": chat(("system", text), ("user", "x"), ("assistant", "y")),
        "rejected": example("x", "y")._replace(rejected=said("assistant", text)),
    }[place]
    report = compare([item(prompt)], [there])
    assert counts(report) == (0, 1, 0)
    assert report.examples == {0}


def test_most_of_a_long_prompt_is_enough_and_most_of_a_short_one_is_not() -> None:
    cut = LONG.rsplit(" ", 3)[0]
    assert counts(compare([item(LONG)], [example(cut, "x")])) == (0, 1, 0)
    other = PROMPT.replace("built", "shown")
    assert counts(compare([item(PROMPT)], [example(other, "x")])) == (0, 0, 1)


def test_one_shared_phrase_only_touches() -> None:
    phrase = " ".join(LONG.split()[:9])
    report = compare([item(LONG)], [example(f"{phrase} and pears", "x")])
    assert counts(report) == (0, 0, 1)
    assert not report.examples
    assert 0 < report.shown[0].share < 0.2


def test_a_long_reference_in_the_data_touches() -> None:
    reference = "The Regnitz, which the mill of Ulman Stromer took its water from until it burned."
    rows = [example("Tell me of mills", f"Well. {reference}")]
    assert counts(compare([item(SHORT, reference)], rows)) == (0, 0, 1)


def test_each_turn_of_a_chat_is_compared() -> None:
    talk = chat(("user", "Hi"), ("assistant", "Hello"), ("user", SHORT), ("assistant", "Red"))
    assert compare([item(SHORT)], [talk]).n_equal == 1


def test_a_chat_is_one_item_by_all_its_user_turns() -> None:
    turns = tuple(said("user", text) for text in ("Name a town.", "And its river?"))
    talk = chat(*(("user", each.content) for each in turns), ("assistant", "The Pegnitz"))
    held = ("held", Item(id="1", messages=turns))
    assert compare([held], [talk]).n_equal == 1
    assert compare([held], [example("Name a town.", "Fürth")]).n_equal == 0


def test_boilerplate_of_many_examples_is_no_overlap() -> None:
    frame = "Read the review below and say in one word how the guest felt about the house: "
    held = item(frame + "The bed was hard and the soup was cold, but the cat was kind to us.")
    few = [example(f"{frame}Room {i} was loud.", "bad") for i in range(MOST_EXAMPLES)]
    many = [*few, example(f"{frame}All was well.", "good")]
    assert counts(compare([held], few)) == (0, 0, 1)
    assert counts(compare([held], many)) == (0, 0, 0)


def test_a_prompt_that_many_examples_hold_whole_is_still_found() -> None:
    rows = [example(f"Please: {LONG} ({i})", "x") for i in range(3 * MOST_EXAMPLES)]
    report = compare([item(LONG)], rows)
    assert counts(report) == (0, 1, 0)
    assert len(report.examples) == len(rows)


def test_chinese_prompts_are_compared_by_character() -> None:
    prompt = "请用一句话说明布洛芬和对乙酰氨基酚在治疗发烧时有什么不同"
    report = compare([item(prompt)], [example(f"你好，{prompt}？谢谢", "x")])
    assert counts(report) == (0, 1, 0)


def test_an_item_counts_once_under_its_worst() -> None:
    rows = [example(f"So: {LONG}", "x"), example(LONG, "y", "f:2"), example(f"{LONG} Well?", "z")]
    report = compare([item(LONG), item(SHORT, name="2")], rows)
    assert report.n_items == 2
    assert counts(report) == (1, 0, 0)
    assert report.examples == {0, 1, 2}
    assert [each.source for each in report.shown] == ["f:2"]


@pytest.mark.parametrize(("n", "seed"), [(1300, 0), (1300, 1), (4000, 2)])
def test_the_pocket_world_keeps_its_held_out_items_apart(n: int, seed: int) -> None:
    held = [("pocket", Item(id=str(i), **each)) for i, each in enumerate(heldout_items())]
    rows = [
        Example(tuple(Message(**each) for each in row["messages"]), f"pocket:{i}")
        for i, row in enumerate(instruction_rows(n, seed))
    ]
    report = compare(held, rows)
    assert counts(report)[:2] == (0, 0)
    planted = Example((held[7][1].messages[0], said("assistant", "x")), "planted:1")
    assert counts(compare(held, [*rows, planted]))[0] == 1
