"""What stands around a decision: how far judging went, what came before, how fine the scale is.

One sentence each, and only where there is something to say: a round with one look, one sample and
no earlier attempt has next to none. Selects and words; does no statistics.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from harness.report.record import RoundRecord
from harness.report.wording import (
    confidence,
    number,
    one_line,
    p_value,
    plural,
    share,
    signed,
)
from harness.types import Comparison, NoiseFloor, Precision

_MAX_EARLIER = 3
"""Earlier attempts that are named, the newest."""
_WIDEST = 4
"""Points between the lowest score and the highest: a steeper slope than this is no slope."""


class Fact(NamedTuple):
    """One thing to know beside the rules."""

    topic: str
    sentence: str
    is_loud: bool = False
    """To be seen before the decision is believed."""


def around(record: RoundRecord) -> list[Fact]:
    """All of them, in the order they are read."""
    found = list(_attempts(record))
    if record.precision:
        is_better = record.decision.gate.get("superiority", False)
        found.append(_precision(record.precision, is_better))
    if record.floor:
        found.append(_floor(record.floor))
    found += _asked(record)
    if record.comparison:
        found = [*_looks(record, record.comparison), *found, *_compared(record.comparison)]
    return found


def _looks(record: RoundRecord, comparison: Comparison) -> Iterator[Fact]:
    look, n_judged = comparison.look, comparison.overall.difference.n_pairs
    if look is None:
        return
    bounds = f"bounds are one-sided at {confidence(look.tail)} confidence"
    if any(rule.rule == "judged in both" for rule in record.decision.rules):
        text = (
            f"compared {n_judged:,} of {plural(look.n_planned, 'item')}: those judged in both runs"
        )
    elif look.number < look.of:
        text = (
            f"judged {n_judged:,} of {plural(look.n_planned, 'item')}: decided at look "
            f"{look.number} of {look.of}"
        )
    elif look.of > 1:
        text = f"judged all {plural(n_judged, 'item')}: look {look.number} of {look.of}"
    else:
        text = f"judged all {plural(n_judged, 'item')}"
    yield Fact("Judging", f"{text}; {bounds}")


def _attempts(record: RoundRecord) -> Iterator[Fact]:
    earlier = record.attempts[:-1]
    if not earlier:
        return
    named = [f"{each.candidate} ({each.at[:10]})" for each in earlier[-_MAX_EARLIER:]]
    before = one_line(", ".join(named), 300)
    more = len(earlier) - len(named)
    others = f" and {more} more" if more else ""
    text = (
        f"number {len(record.attempts)} against this baseline on this evalset; before it {before}"
    )
    yield Fact("Attempts", text + others)


def _precision(precision: Precision, is_better: bool) -> Fact:
    """`is_better`: the gate asks for a gain, which only a better candidate shows."""
    overall = precision.overall
    source = f"as in {one_line(precision.source, 80)}" if precision.source else "a usual value"
    what = "show a gain" if is_better else "rule out a drop"
    text = (
        f"{plural(overall.n_items, 'item')} can {what} of {number(overall.smallest_margin)} or more"
    )
    if overall.smallest_margin is None:
        text = f"{plural(overall.n_items, 'item')} cannot {what} of any size"
    elif is_better:
        text += ", 8 times in 10"
    else:
        text += ", 8 times in 10 where both sides are equally good"
    text += f" (sd of a pair {number(overall.sd)}, {source}"
    too_wide = overall.smallest_margin is None or overall.smallest_margin > overall.margin
    if is_better:
        return Fact("Precision", text + ")", overall.smallest_margin is None)
    text += f"; margin {number(overall.margin)}"
    text += f", which takes {plural(overall.n_needed, 'item')})" if too_wide else ")"
    return Fact("Precision", text, too_wide)


def _floor(floor: NoiseFloor) -> Fact:
    found = floor.difference
    text = (
        f"{one_line(floor.version, 80)} against itself, asked and judged anew: difference "
        f"{signed(found.mean)} ({signed(found.lower)} to {signed(found.upper)}) on "
        f"{plural(found.n_pairs, 'pair')}, {found.n_identical:,} of them identical"
    )
    if floor.judged_mean is not None:
        sd = f" (sd {number(floor.judged_sd)})" if floor.judged_sd is not None else ""
        text += f"; with two verdicts on those too {signed(floor.judged_mean)}{sd}"
    return Fact("Noise floor", f"{text}, measured {floor.made_at[:10]}")


def _asked(record: RoundRecord) -> Iterator[Fact]:
    n_samples = record.recipe.eval.samples
    if n_samples > 1:
        yield Fact("Samples", f"{n_samples} answers of each target to an item, averaged within it")
    if record.decision.gate.get("scores") == "expected":
        yield Fact(
            "Scores",
            "means and differences are of the judge's expected scores; what passes and the lowest "
            "are of whole ones",
        )


def _compared(comparison: Comparison) -> Iterator[Fact]:
    overall = comparison.overall
    difference, length, spread = overall.difference, comparison.length, comparison.spread
    if difference.n_clusters is not None:
        tag = comparison.cluster_by
        by = f" by tag {one_line(tag, 60)}" if tag and tag != "cluster" else ""
        yield Fact(
            "Clusters",
            f"{plural(difference.n_clusters, 'cluster')} of items{by} count as independent, not "
            f"the {plural(difference.n_pairs, 'item')}",
        )
    if difference.p_mcnemar is not None:
        yield Fact(
            "Pass rate",
            f"{share(overall.candidate.pass_share)} against {share(overall.baseline.pass_share)} "
            f"score {comparison.pass_at} or more: lost {difference.n_lost}, gained "
            f"{difference.n_gained}, exact McNemar p {p_value(difference.p_mcnemar)}; not gated on",
        )
    if length:
        slope = f"{signed(length.slope)} points each time an answer is twice as long"
        if abs(length.slope) > _WIDEST:
            slope = "lengths differ too little to say what an answer twice as long would get"
        yield Fact(
            "Length",
            f"at equal length the difference is {signed(length.mean)} (lower bound "
            f"{signed(length.lower)}); {slope}; not gated on",
        )
    if spread:
        parts = {"prompts": spread.prompt, "answers": spread.generation, "opinions": spread.judge}
        told = [
            f"{number(each)} between {name}" for name, each in parts.items() if each is not None
        ]
        yield Fact("Variance", f"of one pair's difference: {', '.join(told)}")
