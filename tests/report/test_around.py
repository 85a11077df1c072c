"""What stands around a decision, as it is worded and as each page shows it."""

from __future__ import annotations

import pytest

from harness.release.gate import UNFIT
from harness.report import view
from harness.report.around import around
from harness.report.html import render_html
from harness.report.items import listing
from harness.report.junit import render_junit
from harness.report.markdown import render_markdown
from harness.report.record import RoundRecord
from harness.types import LengthAdjusted, Look, Precision
from tests.report.factory import (
    make_record,
    make_uncompared_record,
    with_comparison,
    with_gate,
    with_samples,
    with_surroundings,
)
from tests.report.rows import generate_row
from tests.report.test_terminal import printed
from tests.report.words import words


def told(record: RoundRecord) -> dict[str, str]:
    return {fact.topic: fact.sentence for fact in around(record)}


def test_a_plain_round_has_nothing_around_it() -> None:
    record = make_record()
    assert around(record) == []
    assert "Around the decision" not in render_markdown(record)


def test_every_fact_is_one_sentence_with_its_numbers() -> None:
    name = "support-bot@9d01e77c52aa"
    earlier = f"{name} (2026-04-10)"
    assert told(with_surroundings(make_record())) == {
        "Judging": "judged 60 of 140 items: decided at look 2 of 4; bounds are one-sided at "
        "99.445% confidence",
        "Attempts": "number 5 against this baseline on this evalset; before it "
        f"{earlier}, {earlier}, {earlier} and 1 more",
        "Precision": "60 items can rule out a drop of 0.39 or more, 8 times in 10 where both sides "
        f"are equally good (sd of a pair 1.20, as in {name}; margin 0.20, which takes 223 items)",
        "Noise floor": f"{name} against itself, asked and judged anew: difference −1.00 "
        "(−1.42 to −0.58) on 60 pairs, 32 of them identical; with two verdicts on those too "
        "+0.02 (sd 0.51), measured 2026-04-01",
        "Samples": "3 answers of each target to an item, averaged within it",
        "Scores": "means and differences are of the judge's expected scores; what passes and the "
        "lowest are of whole ones",
        "Clusters": f"23 clusters of items by tag {name} count as independent, not the 60 items",
        "Pass rate": "56.7% against 88.3% score 4 or more: lost 21, gained 2, exact McNemar p "
        "<0.001; not gated on",
        "Length": "at equal length the difference is −0.03 (lower bound −0.14); +0.05 points each "
        "time an answer is twice as long; not gated on",
        "Variance": "of one pair's difference: 0.61 between prompts, 0.10 between opinions",
    }


@pytest.mark.parametrize(
    ("number", "of", "words"),
    [
        (4, 4, "judged all 60 items: look 4 of 4; bounds are one-sided at 95% confidence"),
        (1, 1, "judged all 60 items; bounds are one-sided at 95% confidence"),
    ],
)
def test_a_round_that_judged_everything_says_so(number: int, of: int, words: str) -> None:
    look = Look(number=number, of=of, n_planned=60, tail=0.05)
    assert told(with_comparison(make_record(), look=look)) == {"Judging": words}


def test_the_first_attempt_needs_no_word() -> None:
    record = with_surroundings(make_record())
    assert "Attempts" not in told(record.model_copy(update={"attempts": record.attempts[:1]}))


def test_a_slope_steeper_than_the_scale_is_not_said() -> None:
    length = LengthAdjusted(slope=-32.2, mean=-0.02, lower=-0.08, n_pairs=60)
    text = told(with_comparison(make_record(), length=length))["Length"]
    assert text.startswith("at equal length the difference is −0.02 (lower bound −0.08); ")
    assert "lengths differ too little" in text
    assert "32" not in text


def test_a_gate_that_wants_a_gain_is_told_the_gain_that_it_can_see() -> None:
    record = precise(0.3)
    gate = record.decision.gate | {"superiority": True}
    decision = record.decision.model_copy(update={"gate": gate})
    facts = around(record.model_copy(update={"decision": decision}))
    [fact] = [each for each in facts if each.topic == "Precision"]
    assert fact.sentence.startswith("60 items can show a gain of 0.30 or more, 8 times in 10 (")
    assert "margin" not in fact.sentence
    assert not fact.is_loud


def precise(smallest: float | None) -> RoundRecord:
    record = with_surroundings(make_record())
    assert record.precision
    overall = record.precision.overall.model_copy(update={"smallest_margin": smallest})
    precision = Precision(
        evalset=record.precision.evalset, source=None, tail=0.05, overall=overall, slices=()
    )
    return record.model_copy(update={"precision": precision})


def test_a_set_too_small_for_its_margin_is_loud() -> None:
    loud = {fact.topic: fact.is_loud for fact in around(precise(0.385))}
    assert [topic for topic, is_loud in loud.items() if is_loud] == ["Precision"]
    assert not any(fact.is_loud for fact in around(precise(0.17)))
    assert "which takes" not in told(precise(0.17))["Precision"]
    assert "a usual value" in told(precise(0.17))["Precision"]
    assert told(precise(None))["Precision"].startswith(
        "60 items cannot rule out a drop of any size ("
    )


def test_each_page_shows_it() -> None:
    record = with_surroundings(make_record())
    pages = (words(render_html(record)), " ".join(printed(record).split()), render_markdown(record))
    for page in pages:
        for fact in around(record):
            assert fact.sentence.split(":")[-1].split("@")[0].split("<")[0] in page
    assert "**Precision: 60 items can rule out" in render_markdown(record)
    assert '<dd class="alert">60 items can rule out' in render_html(record)


def test_bounds_are_at_the_confidence_of_their_look() -> None:
    record = with_surroundings(make_record())
    assert "(one-sided 99.445% lower bound" in view.overall_line(record)
    assert "one-sided at 99.445% confidence" in words(render_html(record))


def test_a_candidate_that_must_be_better_is_held_against_0() -> None:
    record = make_record()
    assert "Margin −0.20" in words(render_html(record))
    page = words(render_html(with_gate(record, superiority=True)))
    assert "Must be above 0.00" in page
    assert "Margin −0.20" not in page


def test_an_unfit_judge_that_may_decide_is_called_out() -> None:
    record = make_record(status="pass")
    first, *rest = record.decision.rules
    fit = first.model_copy(update={"rule": "judge bad", "sentence": "mean of wrong answers: 1"})
    unfit = fit.model_copy(update={"rule": "judge good", "sentence": f"{UNFIT}: mean: 2"})
    decision = record.decision.model_copy(update={"rules": (unfit, fit, *rest)})
    record = record.model_copy(update={"decision": decision})
    [warning] = view.warnings(record)
    assert warning.startswith("An unfit judge decided: the recipe lets 1 measure of it through")
    assert view.headline(record).sentence.endswith("9 rules checked, 1 of them let through.")
    assert "⚠️ Let through | judge good" in render_markdown(record)
    assert render_html(record).count('<tr class="untrusted">') == 1
    assert 'name="judge good" time="0">\n      <skipped' in render_junit(record)
    assert 'name="judge bad" time="0" />' in render_junit(record)


def test_two_runs_are_compared_where_both_judged() -> None:
    record = with_surroundings(make_record())
    rule = record.decision.rules[0].model_copy(update={"rule": "judged in both"})
    decision = record.decision.model_copy(update={"rules": (*record.decision.rules, rule)})
    joined = told(record.model_copy(update={"decision": decision}))
    assert joined["Judging"].startswith("compared 60 of 140 items: those judged in both runs; ")


def test_nothing_was_compared_and_still_the_attempts_count() -> None:
    attempts = with_surroundings(make_record()).attempts
    found = told(make_uncompared_record().model_copy(update={"attempts": attempts}))
    assert list(found) == ["Attempts"]


def test_of_several_samples_the_one_nearest_to_the_mean_is_shown() -> None:
    record = make_record()
    worst = view.drops(record, 1)[0].item.id
    [case] = [each for each in view.drops(with_samples(record, worst), 99) if each.item.id == worst]
    assert (case.candidate.text, case.candidate.reason) == ("", "Empty.")
    assert case.candidate.scores == (1, 5, 2)
    assert case.baseline.scores == ()


def test_a_mean_score_is_shown_with_its_samples() -> None:
    record = make_record([generate_row(0)])
    record = with_samples(record, record.items[0].id)
    [item] = listing(record)["items"]
    assert item["difference"] == pytest.approx(-7 / 3)
    candidate = item["sides"][1]
    assert candidate["score"] == pytest.approx(8 / 3)
    assert [each["score"] for each in candidate["samples"]] == [1, 5, 2]
    assert candidate["shown"] == 2
    assert "#### 5 → 2.67 · generate" in render_markdown(record)
    assert "Judge of the candidate: 2.67 of 5 (samples 1, 5, 2)" in render_markdown(record)


def test_a_missing_sample_is_a_gap_with_its_own_reason() -> None:
    record = make_record()
    item_id = view.drops(record, 1)[0].item.id
    record = with_samples(record, item_id)
    assert record.comparison
    verdicts = tuple(
        each.model_copy(update={"state": "unscored", "score": None, "reason": "no score line"})
        if (each.item_id, each.role, each.sample) == (item_id, "candidate", 2)
        else each
        for each in record.verdicts
    )
    pairs = tuple(
        each.model_copy(update={"candidate": None}) if each.item_id == item_id else each
        for each in record.comparison.pairs
    )
    lost = with_comparison(record.model_copy(update={"verdicts": verdicts}), pairs=pairs)
    listed = listing(lost)
    [item] = [each for each in listed["items"] if each["id"] == item_id]
    assert item["flips"] == ["lost", "unscored"]
    candidate = item["sides"][1]
    assert listed["texts"][candidate["samples"][candidate["shown"]]["reason"]] == "no score line"
    assert item_id not in {case.item.id for case in view.drops(lost, 99)}


def test_items_that_were_not_judged_are_neither_drops_nor_gaps() -> None:
    """An early stop leaves answers without verdict and without pair."""
    record = make_record()
    assert record.comparison
    judged = {pair.item_id for pair in record.comparison.pairs[:30]}
    verdicts = tuple(each for each in record.verdicts if each.item_id in judged)
    early = with_comparison(
        record.model_copy(update={"verdicts": verdicts}),
        pairs=record.comparison.pairs[:30],
        look=Look(number=1, of=4, n_planned=60, tail=0.0001),
    )
    assert {case.item.id for case in view.drops(early, 99)} <= judged
    found = listing(early)["items"]
    unjudged = {each["id"] for each in found if each["flips"] == ["unjudged"]}
    assert unjudged == {item.id for item in record.items} - judged
    assert "no answer was recorded" not in words(render_html(early))
