"""What every page shows, selected from a record: the headline, the drops, the warnings.

Selects and sorts; does no statistics and knows nothing of how a page looks. Scores come from the
comparison's pairs, texts and reasons from the generations and verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harness.jsonio import digest
from harness.report.answers import Answers, Case
from harness.report.record import RoundRecord
from harness.report.wording import (
    SEVERITY,
    STATUS_WORDS,
    confidence,
    number,
    one_line,
    plural,
    signed,
)
from harness.types import (
    Decision,
    Pair,
    Role,
    RuleResult,
    SideSummary,
    SliceComparison,
    Status,
)

_OF_DIFFERENCES: Final = frozenset(
    {"non-inferiority", "superiority", "slice drop", "critical slice", "retention"}
)
_UNFIT: Final = "UNFIT JUDGE"
"""How the gate begins the sentence of a rule that the recipe lets through."""
_UNGUARDED: Final = ": shown, not guarded"
"""How it ends that of a slice which has too few prompts, or clusters of them."""
_PROBLEMS: Final = {
    "fail": "Fails",
    "inconclusive": "The evidence does not decide",
    "untrusted": "The evidence cannot be trusted",
}


@dataclass(frozen=True)
class Headline:
    """The decision in one line."""

    status: Status
    word: str
    sentence: str
    where: tuple[str, ...]
    """Names of the slices that decided, "overall" among them; empty for a pass."""


def headline(record: RoundRecord) -> Headline:
    """The decision's status, one plain sentence and the slices that decided."""
    decision = record.decision
    word = STATUS_WORDS[decision.status]
    if decision.status == "pass":
        sentence = f"{decision.candidate} may replace {decision.baseline}: "
        n_unfit = sum(map(is_unfit, decision.rules))
        broken = f"{n_unfit} of them let through" if n_unfit else "none broken"
        sentence += f"{plural(len(decision.rules), 'rule')} checked, {broken}."
        return Headline("pass", word, sentence, ())
    deciding = [rule for rule in decision.rules if rule.status == decision.status]
    where = tuple(dict.fromkeys(one_line(rule.slice, 60) for rule in deciding))
    everywhere = decision.status == "untrusted" and where == ("overall",)
    sentence = _PROBLEMS[decision.status] + ("" if everywhere else _place(where))
    if deciding:
        words = deciding[0].sentence.rstrip(".")
        sentence += (
            f": {words.removeprefix(f'{deciding[0].slice}: ') if len(where) == 1 else words}"
        )
    if len(deciding) > 1:
        sentence += f" (and {plural(len(deciding) - 1, 'more rule')})"
    return Headline(decision.status, word, f"{sentence}.{_also_failed(decision)}", where)


def _also_failed(decision: Decision) -> str:
    """Failures that a graver status would otherwise hide."""
    failed = [rule for rule in decision.rules if rule.status == "fail"]
    if decision.status != "untrusted" or not failed:
        return ""
    where = tuple(dict.fromkeys(one_line(rule.slice, 60) for rule in failed))
    return f" As far as it goes, it fails{_place(where)}."


def _place(where: tuple[str, ...]) -> str:
    slices = [name for name in where if name != "overall"]
    places = ["overall"] if "overall" in where else []
    if slices:
        places.append(f"in slice{'' if len(slices) == 1 else 's'} {', '.join(slices)}")
    return " " + " and ".join(places) if places else ""


def warnings(record: RoundRecord) -> list[str]:
    """What a reader must know before believing the page."""
    comparison, decision = record.comparison, record.decision
    found = []
    if comparison is None:
        found.append("Nothing was compared: the evidence failed before there were scores.")
    elif decision.comparison != digest(comparison.dump()):
        found.append("The decision was made on another comparison than the one shown here.")
    if record.manifest.version != decision.candidate:
        found.append(f"The lineage is that of {record.manifest.version}, not of the candidate.")
    if decision.status == "inconclusive" and lets_through(record):
        found.append("The recipe lets an inconclusive round through (on_inconclusive: allow).")
    if n_unfit := sum(map(is_unfit, decision.rules)):
        found.append(
            f"An unfit judge decided: the recipe lets {plural(n_unfit, 'measure')} of it through "
            "(health: warn)."
        )
    return found


def is_unfit(rule: RuleResult) -> bool:
    """Whether a judge is beyond this limit and the recipe lets that pass (gate.health: warn)."""
    return rule.status == "pass" and rule.sentence.startswith(_UNFIT)


def is_unguarded(rule: RuleResult) -> bool:
    """Whether the rule held nothing: the slice is too small for it."""
    return rule.rule == "slice drop" and rule.status == "pass" and _UNGUARDED in rule.sentence


def is_guarded(record: RoundRecord, row: SliceComparison) -> bool:
    """Whether any rule holds something of the slice: one of few clusters may be large enough and
    is only shown all the same."""
    rules = [rule for rule in record.decision.rules if rule.slice == row.name]
    return row.guarded and not (rules and all(map(is_unguarded, rules)))


def lets_through(record: RoundRecord) -> bool:
    """Whether the recipe takes an inconclusive decision for a pass."""
    return record.decision.gate.get("on_inconclusive") == "allow"


def certifies(record: RoundRecord) -> str:
    """Whose opinion a decision on this comparison is."""
    if record.decision.gate.get("calibration") is None or record.comparison is None:
        return (
            "The decision certifies the judge's opinion, not human quality: no labels of people "
            "correct it (harness judge label, then gate.calibration)."
        )
    pairs = plural(len(record.comparison.calibration), "pair")
    return f"The decision holds the judge's differences against people's scores of {pairs}."


def overall_line(record: RoundRecord) -> str:
    """Both means, the paired difference and its bound, in words."""
    if record.comparison is None:
        return "no scores to compare"
    overall = record.comparison.overall
    difference = overall.difference
    return (
        f"mean {number(overall.candidate.mean)} against {number(overall.baseline.mean)}, "
        f"difference {signed(difference.mean)} "
        f"(one-sided {confidence(record.comparison.tail)} lower bound {signed(difference.lower)}) "
        f"on {plural(difference.n_pairs, 'pair')}; lost {difference.n_lost}, "
        f"gained {difference.n_gained}"
    )


def rows(record: RoundRecord) -> tuple[SliceComparison, ...]:
    """Overall first, then the slices; none where nothing was compared."""
    if record.comparison is None:
        return ()
    return (record.comparison.overall, *record.comparison.slices)


def pairs(record: RoundRecord) -> tuple[Pair, ...]:
    """All pairs; none where nothing was compared."""
    return record.comparison.pairs if record.comparison else ()


def sides(row: SliceComparison) -> Iterator[tuple[Role, SideSummary]]:
    """The sides of a slice that took part, candidate first."""
    yield "candidate", row.candidate
    yield "baseline", row.baseline
    if row.base is not None:
        yield "base", row.base


def passes(scores: Sequence[float | None], pass_at: int) -> bool:
    """Whether a side passes, by most of its samples; one without a score does not."""
    return sum(score is not None and score >= pass_at for score in scores) > len(scores) / 2


def others(record: RoundRecord) -> dict[str, SideSummary]:
    """Targets that were asked beside the sides, on all items."""
    return record.comparison.others if record.comparison else {}


def slice_status(record: RoundRecord, name: str) -> Status | None:
    """The most severe result of the rules on this slice; None where no rule looked."""
    found = [rule.status for rule in record.decision.rules if rule.slice == name]
    return max(found, key=SEVERITY.index, default=None)


def figures(rule: RuleResult) -> list[str]:
    """Value, bound and threshold; with a sign where they are differences of scores, whole where
    they count."""
    form, digits = signed if rule.rule in _OF_DIFFERENCES else number, 3
    if rule.rule == "attempts":
        digits = 0
    return [form(each, digits) for each in (rule.value, rule.bound, rule.threshold)]


def drops(record: RoundRecord, limit: int) -> list[Case]:
    """The scored pairs that lost most, worst first; ties by higher baseline, then by id."""
    answers = Answers(record)
    found = dropped(record, limit)
    return [answers.case(pair) for pair in found if pair.item_id in answers.items]


def dropped(record: RoundRecord, limit: int, where: str | None = None) -> list[Pair]:
    """The pairs of `drops`; `where`: of this slice alone."""
    found = [
        pair
        for pair in pairs(record)
        if None not in (pair.candidate, pair.baseline) and pair.difference < 0
    ]
    found.sort(key=lambda pair: (pair.difference, -(pair.baseline or 0), pair.item_id))
    return [pair for pair in found if where is None or pair.slice == where][:limit]


def count_moved(record: RoundRecord) -> tuple[int, int]:
    """How many scored pairs dropped and how many gained."""
    moved = [
        pair.difference for pair in pairs(record) if None not in (pair.candidate, pair.baseline)
    ]
    return sum(each < 0 for each in moved), sum(each > 0 for each in moved)
