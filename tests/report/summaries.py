"""Comparison and decision of some rows, with simple means and intervals computed here.

So the report is tested without the gate; names and sentences are of the gate's kind.
"""

from __future__ import annotations

import math
import statistics

from harness.jsonio import digest
from harness.recipe import Gate
from harness.types import (
    Comparison,
    Decision,
    Difference,
    Pair,
    Role,
    RuleResult,
    SideSummary,
    SliceComparison,
    Status,
)
from tests.report.rows import Row

CANDIDATE = "support-bot@3f9c12ab34cd"
BASELINE = "support-bot@9d01e77c52aa"
PASS_AT = 4


def make_comparison(rows: list[Row]) -> Comparison:
    names = list(dict.fromkeys(row.item.tags["type"] for row in rows))
    by_name = {name: [row for row in rows if row.item.tags["type"] == name] for name in names}
    return Comparison(
        candidate=CANDIDATE,
        baseline=BASELINE,
        evalset="support@77aa01bc93de",
        judge="pocket-judge@5b1e0f6a2c44",
        slice_by="type",
        pass_at=PASS_AT,
        alpha=0.05,
        overall=make_slice("overall", rows),
        slices=tuple(make_slice(name, found) for name, found in by_name.items()),
        pairs=tuple(make_pair(row) for row in rows),
    )


def make_slice(name: str, rows: list[Row]) -> SliceComparison:
    return SliceComparison(
        name=name,
        candidate=make_side(rows, "candidate"),
        baseline=make_side(rows, "baseline"),
        base=make_side(rows, "base") if any("base" in row.scores for row in rows) else None,
        difference=make_difference(rows),
        guarded=len(rows) >= 20,
    )


def make_side(rows: list[Row], role: Role) -> SideSummary:
    scores = [score for row in rows if (score := row.scores[role]) is not None]
    mean = statistics.fmean(scores) if scores else None
    half = 1.96 * statistics.pstdev(scores) / math.sqrt(len(scores)) if scores else 0.0
    states = [row.states[role] for row in rows]
    one, two, three, four, five = (scores.count(score) for score in range(1, 6))
    return SideSummary(
        n_items=len(rows),
        n_scored=len(scores),
        n_unscored=len(rows) - len(scores),
        n_truncated=states.count("truncated"),
        n_failed=states.count("failed"),
        mean=mean,
        mean_interval=None if mean is None else (max(1.0, mean - half), min(5.0, mean + half)),
        minimum=min(scores, default=None),
        distribution=(one, two, three, four, five),
        pass_share=sum(score >= PASS_AT for score in scores) / len(rows) if rows else None,
    )


def make_pair(row: Row) -> Pair:
    candidate, baseline = row.scores["candidate"], row.scores["baseline"]
    identical = row.texts["candidate"] == row.texts["baseline"]
    if identical and candidate is not None and baseline is not None:
        difference = 0.0
    elif candidate is None:
        difference = 1.0 - (baseline or 5)
    else:
        difference = float(candidate - (baseline or 5))
    return Pair(
        item_id=row.item.id,
        slice=row.item.tags["type"],
        candidate=candidate,
        baseline=baseline,
        base=row.scores.get("base"),
        difference=difference,
        identical=identical,
    )


def make_difference(rows: list[Row]) -> Difference:
    pairs = [make_pair(row) for row in rows]
    values = [pair.difference for pair in pairs]
    mean = statistics.fmean(values) if values else None
    sd = statistics.stdev(values) if len(values) > 1 else None
    half = 1.645 * sd / math.sqrt(len(values)) if sd is not None else 0.0
    passed = [((pair.candidate or 0) >= PASS_AT, (pair.baseline or 0) >= PASS_AT) for pair in pairs]
    return Difference(
        n_pairs=len(pairs),
        n_identical=sum(pair.identical for pair in pairs),
        n_missing=sum(pair.candidate is None or pair.baseline is None for pair in pairs),
        mean=mean,
        sd=sd,
        lower=None if mean is None else mean - half,
        upper=None if mean is None else mean + half,
        p_drop=None if mean is None else (0.0001 if mean < -0.5 else 0.62),
        p_drop_holm=None if mean is None else (0.0003 if mean < -0.5 else 1.0),
        n_lost=passed.count((False, True)),
        n_gained=passed.count((True, False)),
    )


def make_decision(comparison: Comparison, gate: Gate, status: Status) -> Decision:
    return Decision(
        status=status,
        candidate=comparison.candidate,
        baseline=comparison.baseline,
        evalset=comparison.evalset,
        judge=comparison.judge,
        comparison=digest(comparison.dump()),
        gate=gate.model_dump(mode="json"),
        rules=make_rules(comparison, status),
    )


def make_rules(comparison: Comparison, status: Status) -> tuple[RuleResult, ...]:
    overall = comparison.overall.difference
    fell = {row.name for row in comparison.slices if (row.difference.mean or 0) < -1}
    results = [_missing_rule(comparison.overall.candidate, status)]
    if status != "untrusted":
        words = "mean difference {value:.2f}, lower bound {bound:.2f} held against {threshold:.2f}"
        numbers = (overall.mean, overall.lower, -0.2)
        results.append(_rule("non-inferiority", "overall", status, numbers, words))
    for row in comparison.slices:
        state: Status = status if row.name in fell and status == "fail" else "pass"
        words = "mean difference {value:.2f} after Holm over 3 slices"
        numbers = (row.difference.mean, None, -0.2)
        results.append(_rule("slice drop", row.name, state, numbers, words))
        share = row.candidate.pass_share
        words = "pass share {value:.2f}, lower bound {bound:.2f}"
        numbers = (share, None if share is None else 0.9 * share, 0.5)
        results.append(_rule("pass_share >= 0.5 each slice", row.name, state, numbers, words))
    return tuple(results)


def _missing_rule(side: SideSummary, status: Status) -> RuleResult:
    missing = side.n_unscored / side.n_items if side.n_items else None
    state: Status = "untrusted" if status == "untrusted" else "pass"
    words = f"candidate {CANDIDATE}: {side.n_unscored} of {side.n_items} answers unscored"
    return _rule("max_missing candidate", "overall", state, (missing, None, 0.05), words)


def _rule(
    rule: str,
    slice_name: str,
    status: Status,
    numbers: tuple[float | None, float | None, float],
    words: str,
) -> RuleResult:
    value, bound, threshold = numbers
    known = {"value": value or 0.0, "bound": bound or 0.0, "threshold": threshold}
    place = "" if slice_name == "overall" else f"{slice_name}: "
    return RuleResult(
        rule=rule,
        slice=slice_name,
        status=status,
        value=value,
        bound=bound,
        threshold=threshold,
        sentence=place + words.format(**known),
    )
