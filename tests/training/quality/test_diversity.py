from __future__ import annotations

import random

import pytest

from harness.training.quality import diversity
from harness.training.quality.diversity import Diversity, DiversityReport, advice
from tests.training.quality.examples import example


def measure(answers: list[str], prompt: str = "Tell me now") -> DiversityReport:
    found = Diversity()
    for index, answer in enumerate(answers):
        found.add(index, example(prompt, answer))
    return found.result()


def test_lengths_are_in_words() -> None:
    report = measure(["w " * n for n in range(101)])
    assert report.n_examples == 101
    assert report.answer_words == (0, 10, 50, 90, 100)
    assert set(report.prompt_words) == {3}


def test_a_common_opening_and_ending_are_named_and_warned_of() -> None:
    rng = random.Random(0)
    answers = [" ".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(60)]
    answers += [f"Sure, I can {each} hope this helps!" for each in answers[:20]]
    report = measure(answers)
    assert (report.openings[0].text, report.openings[0].n) == ("sure i can", 20)
    assert report.openings[0].share == report.endings[0].share == 0.25
    assert report.endings[0].text == "hope this helps"
    assert [each.split(" '")[0] for each in report.warnings] == [
        "25% of the answers begin with",
        "25% of the answers end with",
    ]


def test_varied_answers_and_few_answers_bring_no_warning() -> None:
    assert not measure([f"w{i} x{i} y{i} z{i}" for i in range(100)]).warnings
    assert not measure(["the very same answer"] * 19).warnings
    assert measure(["the very same answer"] * 20).warnings


def test_answers_of_a_word_or_two_have_no_opening() -> None:
    report = measure(["positive"] * 50)
    assert not report.openings + report.endings
    assert not report.warnings


def test_distinct_pairs() -> None:
    assert measure(["a b c", "a b d"]).distinct_2 == 3 / 4
    assert measure(["one"] * 3).distinct_2 is None
    assert measure([]).distinct_2 is None


def test_distinct_pairs_do_not_fall_with_the_number_of_answers() -> None:
    rng = random.Random(1)
    answers = [" ".join(rng.choices([f"w{i}" for i in range(200)], k=30)) for _ in range(6000)]
    few, many = measure(answers[:1000]).distinct_2, measure(answers).distinct_2
    assert few is not None
    assert many == pytest.approx(few, abs=0.02)


def test_common_phrases_survive_a_full_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity, "_MOST_PHRASES", 50)
    answers = [f"w{i} x{i} y{i} z{i}" if i % 5 else "Sure, here it is" for i in range(2000)]
    report = measure(answers)
    assert report.openings[0].text == "sure here it"
    assert report.openings[0].share == pytest.approx(0.2, abs=0.01)


def test_advice_changes_at_its_bounds() -> None:
    bands = [advice(n) for n in (1, 999, 1000, 9999, 10_000, 99_999, 100_000, 10_000_000)]
    assert [bands[i] == bands[i + 1] for i in range(7)] == [True, False] * 3 + [True]
    assert "read them all" in bands[0]
    assert "near duplicates" in bands[-1]
