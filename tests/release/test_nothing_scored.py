"""Where nothing was scored, no rule speaks of a drop."""

from __future__ import annotations

from harness.release.gate import decide, verify
from tests.release.build import compare_scores, make_gate


def test_without_a_single_score_there_is_no_drop_to_show() -> None:
    gate = make_gate(max_missing=0.02)
    comparison = compare_scores([None] * 40, [None] * 40, gate, slices=("qa", "code"))
    decision = decide(comparison, gate)
    assert decision.status == "untrusted"
    differences = [
        each for each in decision.rules if each.rule in ("non-inferiority", "slice drop")
    ]
    assert len(differences) == 3
    assert {each.status for each in differences} == {"untrusted"}
    assert all("no pair was scored on both sides" in each.sentence for each in differences)
    assert not any("drop is shown" in each.sentence for each in decision.rules)
    assert verify(decision, comparison)


def test_missing_scores_are_named_beside_the_number_they_move() -> None:
    gate = make_gate(max_missing=0.5)
    comparison = compare_scores([5] * 38 + [None] * 2, [5] * 40, gate)
    [rule] = [each for each in decide(comparison, gate).rules if each.rule == "non-inferiority"]
    assert rule.value == -0.2
    assert rule.sentence.endswith("(2 without a score count as the worst case)")
