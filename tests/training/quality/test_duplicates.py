from __future__ import annotations

import random

import pytest

from harness.training.quality.duplicates import Duplicates, NearDuplicates, NearReport
from harness.training.reading.example import Example
from tests.training.quality.examples import chat, example, said

VOCABULARY = [f"w{i}" for i in range(3000)]


def text(rng: random.Random, n: int = 40) -> list[str]:
    return rng.choices(VOCABULARY, k=n)


def varied(rng: random.Random, original: list[str], n: int) -> list[str]:
    changed = list(original)
    for place in rng.sample(range(len(changed)), n):
        changed[place] = "changed"
    return changed


def search(examples: list[Example], threshold: float = 0.7, most: int = 60_000) -> NearReport:
    near = NearDuplicates(most=most)
    for index, each in enumerate(examples):
        near.add(index, each)
    return near.find(threshold)


def trigrams(each: Example) -> set[tuple[str, ...]]:
    found = " ".join(message.content for message in each.messages).split()
    return set(zip(found, found[1:], found[2:], strict=False))


def jaccard(one: Example, other: Example) -> float:
    a, b = trigrams(one), trigrams(other)
    return len(a & b) / len(a | b)


def test_an_exact_repeat_names_the_first() -> None:
    duplicates = Duplicates()
    rows = [("A", "x"), ("B", "y"), ("a ", "X"), ("A", "other"), ("a", "x")]
    found = [duplicates.add(i, example(*row, f"f:{i}")) for i, row in enumerate(rows)]
    assert found == [None, None, 0, None, 0]
    report = duplicates.result()
    assert (report.n_examples, report.n_repeats, report.n_repeated_prompts) == (5, 2, 3)
    assert [(each.source, each.first) for each in report.shown] == [("f:2", "f:0"), ("f:4", "f:0")]


def test_planted_near_repeats_are_found_and_nothing_else() -> None:
    rng = random.Random(0)
    originals = [text(rng) for _ in range(400)]
    examples = [example("Tell me", " ".join(each), f"f:{i}") for i, each in enumerate(originals)]
    for i in range(200):
        changed = varied(rng, originals[i], 1 + i % 4)
        examples.append(example("Tell me", " ".join(changed), f"near:{i}"))
    expected = {400 + i: i for i in range(200) if jaccard(examples[400 + i], examples[i]) >= 0.7}
    assert 40 < len(expected) < 200
    report = search(examples)
    missed = expected.keys() - report.leader_of.keys()
    assert len(missed) <= 0.03 * len(expected)
    assert report.leader_of.items() <= expected.items()
    assert report.n_searched == report.n_examples == 600
    assert report.n_groups == report.n_repeats


def test_every_example_of_a_group_is_close_to_the_one_that_stays() -> None:
    rng = random.Random(1)
    words = text(rng, 60)
    examples = []
    for i in range(40):  # a chain: each is near the one before, not the first
        words = varied(rng, words, 1)
        examples.append(example("Go on", " ".join(words), f"f:{i}"))
    report = search(examples)
    assert report.leader_of
    assert report.largest < 40
    for index, leader in report.leader_of.items():
        assert leader not in report.leader_of
        assert jaccard(examples[index], examples[leader]) >= 0.7


def test_the_largest_group_is_shown_first_with_its_similarity() -> None:
    rng = random.Random(2)
    small, large = " ".join(text(rng)), " ".join(text(rng))
    rows = [small, large, large, large + " more", small]
    report = search([example("P", row, f"f:{i}") for i, row in enumerate(rows)])
    assert report.leader_of == {2: 1, 3: 1, 4: 0}
    assert (report.n_groups, report.largest) == (2, 3)
    assert [each.first for each in report.shown] == ["f:1", "f:0"]
    assert report.shown[0].source == "f:2"
    assert report.shown[0].similarity == 1


def test_repeats_are_found_among_thousands_that_share_a_template() -> None:
    rng = random.Random(7)
    template = " ".join(text(rng, 60))
    slots = [text(rng, 18) for _ in range(1500)]
    slots += [varied(rng, slot, 1) for slot in slots[:100]]
    report = search([example(f"{template} {' '.join(slot)}", "yes") for slot in slots])
    found = {index: leader for index, leader in report.leader_of.items() if index >= 1500}
    assert all(leader == index - 1500 for index, leader in found.items())
    assert len(found) >= 95
    assert report.n_repeats <= 105  # two of a template are less alike than 0.7


def test_short_texts_chinese_and_what_has_no_words() -> None:
    rows = ["好", "好", "布洛芬是一种常用的止痛药物", "布洛芬是一种常用的止痛药物品", "!", "!"]
    report = search([chat(("assistant", row)) for row in rows])
    assert report.leader_of == {1: 0, 3: 2}


def test_the_system_text_makes_no_two_examples_alike() -> None:
    rng = random.Random(3)
    system = ("system", " ".join(text(rng, 200)))
    examples = [chat(system, ("user", " ".join(text(rng, 9))), ("assistant", "ok")) for _ in "ab"]
    assert search(examples).n_repeats == 0


def test_the_worse_answer_is_part_of_a_pair() -> None:
    rng = random.Random(4)
    prompt = " ".join(text(rng, 10))
    pairs = [
        example(prompt, "yes")._replace(rejected=said("assistant", " ".join(text(rng, 40))))
        for _ in "ab"
    ]
    assert search(pairs).n_repeats == 0


def corpus(n: int) -> list[Example]:
    """`n` examples, each followed by its near repeat."""
    rng = random.Random(5)
    examples = []
    for i in range(n):
        words = text(rng)
        for each in (words, varied(rng, words, 1)):
            examples.append(example("Q", " ".join(each), f"f:{i}"))
    return examples


def test_a_sample_keeps_near_repeats_together_and_says_how_many_were_searched() -> None:
    report = search(corpus(2000), most=1000)
    assert 300 < report.n_searched <= 1000
    assert report.n_examples == 4000
    share = report.n_repeats / report.n_searched
    assert 0.4 < share < 0.5  # half of all are repeats; a sample of single rows would have 1/8


def test_the_sample_does_not_collapse_where_all_examples_share_a_phrase() -> None:
    rng = random.Random(6)
    shared = " ".join(text(rng, 300))
    rows = [example(f"{shared} {' '.join(text(rng, 8))}", "a", f"f:{i}") for i in range(600)]
    report = search(rows, most=200)
    assert 50 <= report.n_searched <= 200


@pytest.mark.parametrize("most_grams", [500, 5000])
def test_long_texts_are_bounded_too(most_grams: int) -> None:
    near = NearDuplicates(most_grams=most_grams)
    examples = corpus(200)
    for index, each in enumerate(examples):
        near.add(index, each)
    assert 0 < near.find(0.7).n_searched <= most_grams / 30


def test_a_seed_gives_the_same_sample() -> None:
    examples = corpus(300)
    reports = []
    for seed in (0, 0, 1):
        near = NearDuplicates(seed, most=100)
        for index, each in enumerate(examples):
            near.add(index, each)
        reports.append(near.find(0.7))
    assert reports[0] == reports[1]
    assert reports[0].leader_of != reports[2].leader_of
