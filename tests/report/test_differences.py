from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.report.differences import Segment, compare_words


def test_a_changed_word_is_marked() -> None:
    assert compare_words("Nora lives in Oslo.", "Nora lives in Rome.") == [
        Segment("same", "Nora lives in "),
        Segment("left_out", "Oslo"),
        Segment("extra", "Rome"),
        Segment("same", "."),
    ]


def test_a_left_out_word_is_marked() -> None:
    found = compare_words("by tomorrow noon", "by tomorrow")
    assert found == [Segment("same", "by tomorrow"), Segment("left_out", " noon")]


def test_unlike_texts_are_left_unmarked() -> None:
    reference = "one two three four five six seven eight nine ten eleven twelve thirteen"
    answer = " ".join(reversed(reference)) + " and something else altogether, at length"
    assert compare_words(reference, answer) == [Segment("same", answer)]


def test_no_reference_and_no_answer() -> None:
    assert compare_words(None, "a b") == [Segment("same", "a b")]
    assert compare_words("a b", "") == []


def test_long_texts_cost_nothing() -> None:
    answer = "a b " * 50_000
    assert compare_words("b " * 50_000, answer) == [Segment("same", answer)]


_words = st.lists(st.sampled_from(["a", "b", "c", ",", " ", "\n"]), max_size=30).map("".join)


@given(_words, _words)
def test_segments_join_to_both_texts(reference: str, answer: str) -> None:
    segments = compare_words(reference, answer)
    assert "".join(each.text for each in segments if each.kind != "left_out") == answer
    if any(each.kind != "same" for each in segments):
        assert "".join(each.text for each in segments if each.kind != "extra") == reference
