"""Which items failed, in which groups, and under which words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import HarnessError
from harness.failures.causes import Causes
from harness.failures.failed import clusters, failed_items
from harness.failures.told import Failures, told
from harness.report.record import RoundRecord
from tests.report.factory import make_record, make_uncompared_record, with_comparison
from tests.report.rows import make_row, make_rows


def told_of(record: RoundRecord, slice_: str | None = None) -> Failures:
    found = clusters(record, failed_items(record, slice_))
    none = Causes([() for _ in found], None, [() for _ in found], None, None)
    return told(record, found, none, slice_)


def test_failed_regressed_and_unscored_are_counted_apart() -> None:
    record = make_record()
    assert record.comparison
    pairs = record.comparison.pairs
    found = told_of(record)
    assert found.n_items == 60
    assert found.n_failed == sum((each.candidate or 4) < 4 for each in pairs)
    assert found.n_unscored == sum(each.candidate is None for each in pairs) == 2
    both = [each for each in pairs if None not in (each.candidate, each.baseline)]
    assert found.n_regressed == sum(each.difference < 0 for each in both)
    ids = [each for group in found.groups for each in group.item_ids]
    assert len(ids) == len(set(ids))
    for group in found.groups:
        wanted = [each for each in pairs if each.item_id in group.item_ids]
        assert {each.slice for each in wanted} == {group.slice}
        assert group.n_unscored == sum(each.candidate is None for each in wanted)
        assert group.lost == sum(-each.difference for each in wanted if each in both)


def test_groups_come_by_damage_and_their_items_worst_first() -> None:
    found = told_of(make_record())
    lost = [each.lost for each in found.groups]
    assert lost == sorted(lost, reverse=True)
    assert found.groups[0].slice == "generate"
    assert [each.number for each in found.groups] == list(range(1, len(lost) + 1))
    for group in found.groups:
        moved = [(each.baseline or 0) - (each.candidate or 0) for each in group.examples[:2]]
        assert moved == sorted(moved, reverse=True)


def test_alike_items_of_a_slice_are_one_group_and_its_words_tell_them() -> None:
    asked = [f"Where is my parcel number {n}, sent on Monday?" for n in range(4)]
    asked += [f"How do I change the password of account {n}?" for n in range(4)]
    asked += ["Do you sell umbrellas?", "Thanks for nothing"]
    rows = [
        make_row(
            "qa", ask, "x", {"candidate": "a", "baseline": "b"}, {"candidate": 1, "baseline": 5}
        )
        for ask in asked
    ]
    rows += [
        replace(each, scores={k: v for k, v in each.scores.items() if k != "base"})
        for each in make_rows()[:20]
    ]
    first, second, third = told_of(make_record(rows), "qa").groups
    assert {first.words[0], second.words[0]} <= {"parcel", "password", "change", "monday", "sent"}
    assert (first.n_items, second.n_items, third.n_items) == (4, 4, 2)
    assert (first.alike, third.alike) == (True, False)
    assert third.words == ()
    told_words = {word for group in (first, second) for word in group.words}
    assert not told_words & {"0", "1", "2", "3"}


def test_what_went_wrong_is_said_in_numbers() -> None:
    group = told_of(make_record(), "generate").groups[0]
    assert group.wrong.startswith(
        "the candidate's answers scored 1–2 where the baseline's scored 4–5"
    )
    assert "without a score" in group.wrong
    assert group.wrong.endswith("; 2 answers cut off before the end; 1 answer never given")


def test_a_slice_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(HarnessError, match=r"--slice 'generat'.*did you mean 'generate'"):
        failed_items(make_record(), "generat")


def test_a_run_without_scores_or_without_failures() -> None:
    with pytest.raises(HarnessError, match="its evidence failed before anything was compared"):
        failed_items(make_uncompared_record())
    rows = [each for each in make_rows() if each.scores["candidate"] == 5]
    good = [each for each in rows if (each.scores["baseline"] or 0) <= 5]
    assert told_of(make_record(good)).groups == ()


def test_without_slices_all_are_in_one() -> None:
    record = make_record()
    assert record.comparison
    pairs = tuple(each.model_copy(update={"slice": None}) for each in record.comparison.pairs)
    found = told_of(with_comparison(record, pairs=pairs, slices=(), slice_by=None))
    assert {each.slice for each in found.groups} == {None}
    assert found.n_failed == told_of(record).n_failed
