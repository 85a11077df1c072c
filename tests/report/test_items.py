"""The items as data: complete, each text once, every flip as the comparison counts it."""

from __future__ import annotations

from typing import Any

import pytest

from harness.report import items
from harness.report.items import FLIPS, listing, tally
from harness.report.record import RoundRecord
from harness.types import CheckResult, Message, Opinion, Pair, ToolCall
from tests.report import hostile
from tests.report.factory import make_hostile_record, make_record, with_comparison, with_turns
from tests.report.rows import make_rows


def found(record: RoundRecord, item_id: str) -> tuple[dict[str, Any], list[str]]:
    listed = listing(record)
    [item] = [each for each in listed["items"] if each["id"] == item_id]
    return item, listed["texts"]


def with_candidate(record: RoundRecord, item_id: str, **verdict: object) -> RoundRecord:
    """The verdict on the candidate's answer to that item had these values."""
    verdicts = tuple(
        each.model_copy(update=verdict)
        if (each.item_id, each.role) == (item_id, "candidate")
        else each
        for each in record.verdicts
    )
    return record.model_copy(update={"verdicts": verdicts})


def with_item(record: RoundRecord, **changed: object) -> RoundRecord:
    """The first item had these values."""
    first, *rest = record.items
    return record.model_copy(update={"items": (first.model_copy(update=changed), *rest)})


def pair(candidate: float | None, baseline: float | None, **changed: Any) -> Pair:
    made = Pair(
        item_id="a",
        slice=None,
        candidate=candidate,
        baseline=baseline,
        base=None,
        difference=(candidate or 1) - (baseline or 5),
        identical=False,
    )
    return made.model_copy(update=changed)


@pytest.mark.parametrize(
    ("given", "flips"),
    [
        (None, ["unjudged"]),
        (pair(3, 4), ["lost"]),
        (pair(3, 5), ["lost"]),
        (pair(4, 3), ["gained"]),
        (pair(4, 5), ["dropped"]),
        (pair(1, 2), ["dropped"]),
        (pair(5, 4), ["rose"]),
        (pair(2, 2), ["tied"]),
        (pair(2.001, 2.003), ["tied"]),
        (pair(2, 5, identical=True, difference=0), ["identical"]),
        (pair(None, 5), ["lost", "unscored"]),
        (pair(None, 3), ["unscored"]),
        (pair(5, None), ["unscored"]),
        (pair(None, None, identical=True), ["identical", "unscored"]),
        # By most of the samples, whatever their mean is.
        (pair(3.67, 4, candidate_scores=(4, 4, 3)), ["dropped"]),
        (pair(3.67, 4, candidate_scores=(5, 3, 3)), ["lost"]),
        (pair(4.2, 4, candidate_scores=(5,), baseline_scores=(3,)), ["gained"]),
    ],
)
def test_flips(given: Pair | None, flips: list[str]) -> None:
    assert items.flips(given, pass_at=4) == flips


def test_the_counts_are_those_of_the_comparison() -> None:
    record = make_record()
    assert record.comparison
    counts, difference = tally(listing(record)["items"]), record.comparison.overall.difference
    assert list(counts) == [flip for flip in FLIPS if counts.get(flip)]
    assert counts["gained"] == difference.n_gained
    assert counts["lost"] == difference.n_lost
    assert counts["unscored"] == difference.n_missing
    assert counts["identical"] == difference.n_identical


def test_an_item_has_everything_that_was_said_of_it() -> None:
    record = make_record()
    ask = record.items[45]
    item, texts = found(with_turns(record, ask.id), ask.id)
    assert [(who, texts[place]) for who, place in item["asked"]] == [
        (message.role, message.content) for message in ask.messages
    ]
    assert [texts[place] for place in item["wanted"]] == [ask.reference]
    assert [texts[place] for place in item["then"]] == ["This <one>."]
    assert (item["slice"], item["tags"], item["difference"]) == (
        "generate",
        {"type": "generate"},
        -4,
    )
    baseline, candidate, base = item["sides"]
    assert (baseline["score"], candidate["score"], base["score"]) == (5, 1, 2)
    [sample] = candidate["samples"]
    assert texts[sample["text"]].startswith("a broken cup, a broken cup")
    assert texts[sample["reason"]] == "Does not answer the request."
    assert [texts[place] for place in sample["earlier"]] == ["Which mail?"]
    assert (sample["by"], sample["state"], sample["seconds"]) == ("checks", "ok", 0.21)
    assert sample["tokens"] == (41, 16)


def test_checks_and_a_panel_are_told() -> None:
    record = make_record()
    checks = (CheckResult(kind="contains", state="failed", note="no 'case'"),)
    opinions = (
        Opinion(judge="a@1", state="scored", score=2, expected=2.1, reason="Weak."),
        Opinion(judge="a@1", repeat=1, state="unscored", reason="No score line."),
    )
    item_id = record.items[0].id
    told = with_candidate(record, item_id, checks=checks, opinions=opinions, expected=2.1)
    item, texts = found(told, item_id)
    [sample] = item["sides"][1]["samples"]
    [(kind, state, note)] = sample["checks"]
    assert (kind, state, texts[note]) == ("contains", "failed", "no 'case'")
    first, second = sample["opinions"]
    assert (first["judge"], first["score"], texts[first["reason"]]) == ("a@1", 2, "Weak.")
    assert (second["repeat"], "score" in second) == (1, False)
    assert sample["expected"] == 2.1


def test_thoughts_and_calls_are_turns_of_their_own() -> None:
    call = ToolCall(name="find", arguments={"order": 7})
    messages = (
        Message(role="user", content="Where is it?", name="Nora"),
        Message(role="assistant", content="", reasoning="Look it up.", tool_calls=(call,)),
    )
    record = with_item(make_record(), messages=messages, rubric="Be kind.", cluster="c1")
    item, texts = found(record, record.items[0].id)
    assert [(who, texts[place]) for who, place in item["asked"]] == [
        ("user Nora", "Where is it?"),
        ("assistant, thinking", "Look it up."),
        ("assistant, calling", 'find({"order": 7})'),
    ]
    assert (texts[item["rubric"]], item["cluster"]) == ("Be kind.", "c1")


def test_other_targets_follow_the_sides() -> None:
    record = make_record()
    more = tuple(
        each.model_copy(update={"role": "other", "target": "few-shot"})
        for each in record.generations
        if each.role == "base"
    )
    scores = tuple(
        each.model_copy(update={"role": "other", "target": "few-shot"})
        for each in record.verdicts
        if each.role == "base"
    )
    answered = {
        "generations": (*more, *record.generations),
        "verdicts": (*scores, *record.verdicts),
    }
    listed = listing(record.model_copy(update=answered))
    assert [key for key, _ in listed["sides"]] == ["baseline", "candidate", "base", "few-shot"]
    assert listed["items"][0]["sides"][3] == listed["items"][0]["sides"][2]


def test_a_missing_answer_has_no_sample() -> None:
    record = make_record()
    item_id = record.items[0].id
    kept = [each for each in record.generations if each.item_id != item_id]
    item, _ = found(record.model_copy(update={"generations": tuple(kept)}), item_id)
    assert all("samples" not in side for side in item["sides"])
    assert item["sides"][0]["score"] == 5


def test_an_item_without_pair_is_not_judged() -> None:
    record = make_record()
    assert record.comparison
    early = with_comparison(record, pairs=record.comparison.pairs[1:])
    item, _ = found(early, record.items[0].id)
    assert (item["flips"], item["slice"]) == (["unjudged"], "classify")
    assert "difference" not in item


def test_a_text_stands_once() -> None:
    texts = listing(make_record())["texts"]
    assert len(texts) == len(set(texts))
    assert sum("You answer for a small shop." in each for each in texts) == 1


def test_long_texts_are_cut_so_that_all_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    record = with_item(make_record(), rubric=hostile.LONG)
    listed = listing(record)
    assert listed["limit"] == items.LIMITS[0]
    assert max(map(len, listed["texts"])) == items.LIMITS[0]
    place = listed["texts"].index("x" * 20_000)
    assert listed["cut"][place] == 30_000
    monkeypatch.setattr(items, "MOST", 30_000)
    assert listing(record)["limit"] == 10_000
    monkeypatch.setattr(items, "MOST", 1)
    assert listing(record)["limit"] == items.LIMITS[-1]


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in (*value, *value.values()) for text in strings(each)]
    if isinstance(value, list | tuple):
        return [text for each in value for text in strings(each)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("text", [hostile.BIDI, hostile.ANSI, hostile.ZERO_WIDTH, hostile.NULL])
def test_every_text_is_visible(text: str) -> None:
    record = make_hostile_record(text)
    named = [each.model_copy(update={"id": f"{text}{n}"}) for n, each in enumerate(record.items)]
    record = record.model_copy(update={"items": tuple(named)})
    for each in strings(listing(record)):
        assert each.replace("\n", "").replace("\t", "").isprintable(), ascii(each)


def test_an_empty_round_lists_nothing() -> None:
    record = make_record(make_rows()[:1]).model_copy(update={"items": ()})
    assert listing(record)["items"] == []
