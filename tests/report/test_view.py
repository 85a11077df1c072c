from __future__ import annotations

import pytest

from harness.report import charts, view
from harness.report.record import RoundRecord
from harness.types import Status
from tests.report.factory import make_record, make_uncompared_record
from tests.report.rows import make_rows
from tests.report.summaries import BASELINE, CANDIDATE


def test_a_failed_round_names_the_failing_slice() -> None:
    head = view.headline(make_record())
    assert (head.status, head.word) == ("fail", "Fail")
    assert head.where == ("overall", "generate")
    assert head.sentence.startswith("Fails overall and in slice generate: mean difference -1.00")
    assert head.sentence.endswith("(and 2 more rules).")


def test_a_single_slice_is_named_once() -> None:
    record = make_record()
    rules = tuple(rule for rule in record.decision.rules if rule.rule == "slice drop")
    decision = record.decision.model_copy(update={"rules": rules})
    head = view.headline(record.model_copy(update={"decision": decision}))
    assert head.sentence.startswith("Fails in slice generate: mean difference -3.40")


def test_a_pass_says_what_may_be_done() -> None:
    sentence = view.headline(make_record(status="pass")).sentence
    assert sentence == f"{CANDIDATE} may replace {BASELINE}: 8 rules checked, none broken."


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("inconclusive", "The evidence does not decide overall:"),
        ("untrusted", "The evidence cannot be trusted:"),
    ],
)
def test_no_decision_is_not_a_pass(status: Status, words: str) -> None:
    assert view.headline(make_record(status=status)).sentence.startswith(words)


def test_numbers_of_a_rule_are_shown_as_what_they_are() -> None:
    rule = make_record().decision.rules[0]

    def shown(name: str, *values: float | None) -> list[str]:
        value, bound, threshold = values
        update = {"rule": name, "value": value, "bound": bound, "threshold": threshold}
        return view.figures(rule.model_copy(update=update))

    assert shown("superiority", 0.31, 0.02, 0.0) == ["+0.310", "+0.020", "0.000"]
    assert shown("retention", -0.1, -0.15, -0.2) == ["−0.100", "−0.150", "−0.200"]
    assert shown("share(score<=2) <= 0.0", 0.01, 0.04, 0.0) == ["0.010", "0.040", "0.000"]
    assert shown("attempts", 3.0, None, None) == ["3", "—", "—"]


def test_an_untrusted_round_does_not_hide_failures() -> None:
    record = make_record()
    first, *rest = record.decision.rules
    rules = (first.model_copy(update={"status": "untrusted"}), *rest)
    head = view.headline(_changed(record, status="untrusted", rules=rules))
    assert head.sentence.startswith("The evidence cannot be trusted: candidate ")
    assert head.sentence.endswith(" As far as it goes, it fails overall and in slice generate.")


def test_drops_are_scored_pairs_worst_first() -> None:
    record = make_record()
    found = view.drops(record, 20)
    assert [case.difference for case in found] == sorted(case.difference for case in found)
    assert all(case.candidate.score and case.baseline.score for case in found)
    assert len(found) == view.count_moved(record)[0] == 19
    assert len(view.drops(record, 3)) == 3


def test_an_answer_that_was_never_recorded_is_missing() -> None:
    record = make_record()
    kept = tuple(each for each in record.generations if each.role != "candidate")
    lost = record.model_copy(update={"generations": kept})
    assert {case.candidate.state for case in view.drops(lost, 20)} == {"missing"}


def test_nothing_to_warn_of() -> None:
    assert view.warnings(make_record()) == []


def _changed(record: RoundRecord, **decision: object) -> RoundRecord:
    changed = record.decision.model_copy(update=decision)
    return record.model_copy(update={"decision": changed})


def test_a_decision_on_another_comparison_is_called_out() -> None:
    record = _changed(make_record(), comparison="0" * 64)
    assert "another comparison" in view.warnings(record)[0]


def test_lineage_of_another_version_is_called_out() -> None:
    record = make_record()
    manifest = record.manifest.model_copy(update={"version": BASELINE})
    warnings = view.warnings(record.model_copy(update={"manifest": manifest}))
    assert f"that of {BASELINE}" in warnings[0]


def test_an_allowed_inconclusive_round_is_called_out() -> None:
    record = make_record(status="inconclusive")
    assert view.warnings(record) == []
    gate = record.decision.gate | {"on_inconclusive": "allow"}
    assert "lets an inconclusive round through" in view.warnings(_changed(record, gate=gate))[0]


def test_a_round_without_comparison_has_nothing_to_show() -> None:
    record = make_uncompared_record()
    assert view.rows(record) == ()
    assert view.drops(record, 5) == []
    assert "Nothing was compared" in view.warnings(record)[0]


def test_bars_count_the_unscored() -> None:
    overall, *slices = charts.histograms(make_record())
    counts = [{bar.role: bar.count for bar in column} for column in overall.columns]
    assert counts[-1] == {"candidate": 2}
    sums = {role: sum(each.get(role, 0) for each in counts) for role in ("candidate", "baseline")}
    assert sums == {"candidate": 60, "baseline": 60}
    heights = [bar.height for each in (overall, *slices) for col in each.columns for bar in col]
    assert max(heights) == charts.BAR_HEIGHT
    assert min(heights) > 0


def test_score_positions() -> None:
    assert [charts.score_position(score) for score in (1, 3, 5)] == [0, 50, 100]
    row = charts.score_rows(make_record())[0]
    assert [whisker.role for whisker in row.whiskers] == ["candidate", "baseline", "base"]
    for whisker in row.whiskers:
        assert whisker.low is not None
        assert whisker.high is not None
        assert 0 <= whisker.low <= whisker.x <= whisker.high <= 100


def test_a_side_without_a_score_is_said_and_not_drawn() -> None:
    rows = make_rows()[:1]
    rows[0].scores["candidate"] = None
    row = charts.score_rows(make_record(rows))[0]
    assert [whisker.role for whisker in row.whiskers] == ["baseline", "base"]
    assert "candidate: no score" in row.description


def test_the_difference_axis_holds_every_bound_and_the_margin() -> None:
    scale = charts.DifferenceScale(make_record(), -0.2)
    assert scale.limit == 4.0
    assert [scale.position(each) for each in (-4, 0, 4, 9)] == [0, 50, 100, 100]
    calm = charts.DifferenceScale(make_record(make_rows()[20:40]), -0.2)
    assert calm.limit == 0.5
