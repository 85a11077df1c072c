from __future__ import annotations

import random
from pathlib import Path

import pytest

from harness.pocket.oracle import (
    JUDGE_TEMPLATE,
    compare,
    judge_answer,
    judge_prompt,
    reasoning,
    score,
)
from harness.pocket.world import TYPES, make_task

SUM = "5 + 3 = 8, so Mara has 8 books."
PROGRAM = "x = 5\nx = x + 3\nprint(x)"
SUMMARY = "Mara, a baker from Oslo, has a red cat and likes soup."


@pytest.mark.parametrize(
    ("task_type", "rubric", "reference", "response", "expected"),
    [
        ("summarise", "a summary in one sentence", SUMMARY, SUMMARY, 5),
        ("summarise", "a summary in one sentence", SUMMARY, SUMMARY.lower().rstrip("."), 5),
        ("summarise", "a summary in one sentence", SUMMARY, f"Sure. {SUMMARY}", 4),
        ("summarise", "a summary in one sentence", SUMMARY, f"{SUMMARY} {SUMMARY}", 4),
        ("summarise", "a summary in one sentence", SUMMARY, SUMMARY.replace("cat", "dog"), 3),
        (
            "summarise",
            "a summary in one sentence",
            SUMMARY,
            "Nils, a cook from Rome, has a blue hen and likes soup.",
            2,
        ),
        ("summarise", "a summary in one sentence", SUMMARY, "", 1),
        ("summarise", "a summary in one sentence", SUMMARY, "I see.", 1),
        ("classify", "the mood of a review", "positive", "Positive.", 5),
        ("classify", "the mood of a review", "positive", "It is positive", 4),
        ("classify", "the mood of a review", "positive", "mixed", 2),
        ("classify", "the mood of a review", "positive", "soup", 1),
        ("extract", "a list of animals", "cat, dog, hen", "cat, dog, hen", 5),
        ("extract", "a list of animals", "cat, dog, hen", "hen, dog, cat", 4),
        ("extract", "a list of animals", "cat, dog, hen", "cat, dog", 3),
        ("extract", "a list of animals", "cat, dog, hen", "cat, fox", 2),
        ("extract", "a list of animals", "cat, dog, hen", "soup, bread", 1),
        ("reason", "the working and answer", SUM, "5 + 3 = 9, so Mara has 9 books.", 3),
        ("reason", "the working and answer", SUM, "2 + 6 = 1, so Nils has 1 cards.", 2),
        ("code", "a Python program", PROGRAM, "x = 5\nx = x + 3", 4),
        ("code", "a Python program", PROGRAM, "x = 7\nx = x - 4\nprint(x)", 2),
        ("code", "a Python program", PROGRAM, "x = x", 1),
    ],
)
def test_score(task_type: str, rubric: str, reference: str, response: str, expected: int) -> None:
    assert score(task_type, rubric, reference, response) == expected


@pytest.mark.parametrize(
    ("question", "response", "expected"),
    [
        ("Where does Mara live?", "Mara lives in Oslo.", 5),
        ("Where does Mara live?", "Mara lives in Rome.", 2),
        ("Where does Mara live?", "Nils lives in Oslo.", 3),
        ("Who lives in Oslo?", "Nils lives in Oslo.", 2),
        ("Who lives in Oslo?", "Mara lives in Rome.", 3),
    ],
)
def test_words_that_the_question_gives_earn_nothing(
    question: str, response: str, expected: int
) -> None:
    assert score("qa", question, "Mara lives in Oslo.", response) == expected


def test_a_repeated_number_counts_only_beside_its_neighbour() -> None:
    found = compare("reason", "the working and answer", SUM, "5 + 3 = 7, so Mara has 8 books.")
    marks = [(mark.unit.written, mark.found) for mark in found.marks]
    assert marks[:4] == [("5", True), ("+", True), ("3", True), ("8", False)]
    assert marks[-2:] == [("8", True), ("books", True)]


@pytest.mark.parametrize("task_type", TYPES)
def test_a_reference_answers_itself(task_type: str) -> None:
    rng = random.Random(0)
    for _ in range(200):
        task = make_task(rng, task_type)
        found = compare(task_type, task.rubric, task.reference, task.reference)
        assert found.score == 5
        assert found.in_form
        assert found.n_parts > 0
        assert all(mark.found for mark in found.marks)


def test_the_reasoning_says_what_was_found() -> None:
    found = compare("qa", "Where does Mara live?", "Mara lives in Oslo.", "Mara lives in Rome.")
    assert reasoning(found) == (
        "Mara yes 0/0 Oslo no 0/1\nbegins Mara yes ends Rome no extra Rome form yes"
    )
    assert judge_answer(found).endswith("\nscore 2")


def test_the_reasoning_about_nothing() -> None:
    found = compare("classify", "the mood of a review", "mixed", "")
    assert reasoning(found) == "mixed no 0/1\nbegins nothing no ends nothing no extra none form no"


def test_what_is_filled_into_the_prompt_is_never_expanded() -> None:
    assert judge_prompt("a", "b", "{rubric}").endswith("Given: {rubric}")


def test_the_shipped_judge_prompt_is_the_one_the_judge_was_trained_on() -> None:
    shipped = Path(__file__).parents[2] / "evalsets" / "pocket" / "judge.md"
    assert shipped.read_text(encoding="utf-8").strip() == JUDGE_TEMPLATE
