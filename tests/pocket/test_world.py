from __future__ import annotations

import random
import re

import pytest

from harness.pocket.corruption import corrupt, slip
from harness.pocket.documents import IM_START, make_document
from harness.pocket.world import KIND_OF, TYPES, WORDS, make_facts, make_task, swap_words


@pytest.mark.parametrize("task_type", TYPES)
def test_the_same_seed_draws_the_same_task(task_type: str) -> None:
    first, second = (make_task(random.Random(3), task_type) for _ in range(2))
    assert first == second
    assert first.type == task_type
    assert first != make_task(random.Random(4), task_type)


def test_a_word_has_one_kind() -> None:
    assert len(KIND_OF) == sum(map(len, WORDS.values()))


def test_facts_never_share_a_word_so_questions_have_one_answer() -> None:
    for seed in range(50):
        facts = make_facts(random.Random(seed), 4)
        words = [word for fact in facts for word in (fact.name, *fact.words)]
        assert len(words) == len(set(words))
        assert len({fact.reverse for fact in facts}) == len(facts)


def test_swapping_keeps_the_form_and_changes_every_word() -> None:
    text = "Mara lives in Oslo. Mara has a red cat."
    swapped = swap_words(random.Random(0), text, 1.0)
    pattern = r"([A-Z]\w+) lives in ([A-Z]\w+)\. \1 has a (\w+) (\w+)\."
    before, after = re.fullmatch(pattern, text), re.fullmatch(pattern, swapped)
    assert before
    assert after
    for old, new in zip(before.groups(), after.groups(), strict=True):
        assert old != new
        assert KIND_OF[old] == KIND_OF[new]


def test_swapping_changes_at_least_one_word_and_leaves_foreign_text_alone() -> None:
    assert swap_words(random.Random(0), "Mara likes soup.", 0.0) != "Mara likes soup."
    assert swap_words(random.Random(0), "nothing of this world", 1.0) == "nothing of this world"


def test_corruptions_are_sometimes_right_and_mostly_wrong() -> None:
    rng = random.Random(0)
    task = make_task(rng, "summarise")
    answers = [corrupt(rng, task) for _ in range(300)]
    assert 30 < answers.count(task.reference) < 120
    assert "" in answers


def test_a_slip_with_the_operator_is_consistent_with_itself() -> None:
    rng = random.Random(0)
    sums = [task for _ in range(60) if "+" in (task := make_task(rng, "reason")).reference]
    slips = [slip(rng, task) for task in sums]
    found = [re.fullmatch(r"(\d+) - (\d+) = (\d+), so \w+ has \3 \w+\.", text) for text in slips]
    right = [abs(int(m[1]) - int(m[2])) == int(m[3]) for m in found if m]
    assert right.count(True) >= 3


def test_documents_are_reproducible_and_their_spans_lie_inside() -> None:
    drawn = [make_document(random.Random(seed)) for seed in range(300)]
    assert drawn == [make_document(random.Random(seed)) for seed in range(300)]
    for text, spans in drawn:
        assert all(0 <= start < stop <= len(text) for start, stop in spans)
        assert not re.search("[\x01\x02]", text)


def test_no_document_answers_an_instruction_in_a_chat() -> None:
    chats = [text for seed in range(2000) if IM_START in (text := _document(seed))]
    assert chats
    for text in chats:
        for answer in re.findall(r"assistant\n(.*?)<\|im_end\|>", text):
            assert not set(answer.rstrip(".").split()) & set(KIND_OF)


def test_drills_come_first_and_fade() -> None:
    def share(done: float) -> float:
        rng = random.Random(0)
        texts = [make_document(rng, done)[0] for _ in range(300)]
        return sum(text.startswith(("Copy:", "Words:")) or " / " in text for text in texts) / 300

    assert share(0.0) > share(0.2) > share(0.25)
    assert share(0.25) == share(1.0)


def _document(seed: int) -> str:
    return make_document(random.Random(seed))[0]
