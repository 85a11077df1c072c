"""Why a decision can be believed, or not: that each adapter was served as it was trained, who
settled the scores, and how fine the scale is.

Selects and words what probe, judging and plan have found; does no statistics and knows nothing of
how a page looks. What is known of the judge in detail is in `examined`.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from harness.report import view
from harness.report.record import RoundRecord
from harness.report.wording import MISSING, number, one_line, plural
from harness.types import ProbeReport, SlicePrecision, Status, Verdict, side_of

_SERVED: Final = "Served as trained"
_CONTRACT: Final = "contract"
"""The gate's only rule where what is served is not what was trained."""
_ROLES: Final = ("candidate", "baseline", "base")
_JUDGE: Final = "judge "
"""How the names of its rules about the judge begin."""


class Claim(NamedTuple):
    """One thing that must hold, and whether it does."""

    topic: str
    sentence: str
    status: Status


def claims(record: RoundRecord) -> list[Claim]:
    """Proof, judge and scores, as far as the round came to them."""
    found = (served(record), judged(record), _answers(record))
    return [each for each in found if each]


def served(record: RoundRecord) -> Claim | None:
    """Whether every adapter was served as it was trained; None where nothing is known of it."""
    refused = [rule for rule in record.decision.rules if rule.rule == _CONTRACT]
    if refused:
        return Claim(_SERVED, refused[0].sentence, refused[0].status)
    proof = record.proof
    if proof is None:
        return None
    reports = (proof, *proof.others)
    n_rows, worst = sum(each.n_rows for each in reports), max(reports, key=_used)
    adapters = f" of {len(reports)} adapters" if len(reports) > 1 else ""
    return Claim(
        _SERVED,
        f"{n_rows} of {n_rows} trained prompts{adapters} token-identical, log-probs within "
        f"{_small(worst.max_difference)} of the trained ones (accepted {worst.tolerance:g})",
        "pass",
    )


def _used(report: ProbeReport) -> float:
    """How much of its tolerance it takes."""
    return report.max_difference / report.tolerance


def _small(value: float) -> str:
    return f"{value:.1e}".replace("-", "−")


def judged(record: RoundRecord) -> Claim | None:
    """Whether the judge is fit, by the gate's rules; None where it was not examined."""
    rules = [rule for rule in record.decision.rules if rule.rule.startswith(_JUDGE)]
    if not rules:
        return None
    unfit = [rule for rule in rules if rule.status != "pass" or view.is_unfit(rule)]
    if not unfit:
        return Claim("Judge", f"fit by all {plural(len(rules), 'measure')}", "pass")
    names = ", ".join(rule.rule.removeprefix(_JUDGE) for rule in unfit)
    text = f"unfit by {len(unfit)} of {plural(len(rules), 'measure')}: {names}"
    is_let = all(map(view.is_unfit, unfit))
    return Claim("Judge", f"{text}; the recipe lets it decide" if is_let else text, "untrusted")


def _answers(record: RoundRecord) -> Claim | None:
    if record.comparison is None:
        return None
    overall, rules = record.comparison.overall, record.decision.rules
    n_answers = overall.candidate.n_items + overall.baseline.n_items
    n_scored = overall.candidate.n_scored + overall.baseline.n_scored
    text = f"{n_scored:,} of {n_answers:,} answers of candidate and baseline have a score"
    found = [rule.status for rule in rules if rule.rule.startswith("max_missing")]
    is_short = any(status != "pass" for status in found)
    return Claim("Answers", text, "untrusted" if is_short else "pass")


class Proven(NamedTuple):
    """One adapter that was probed."""

    version: str
    role: str
    n_rows: int
    difference: str
    tolerance: str
    effect: str


def proven(record: RoundRecord) -> list[Proven]:
    """Every adapter that was probed, the candidate first."""
    if record.proof is None:
        return []
    return [
        Proven(
            each.version,
            _role(record, each.version),
            each.n_rows,
            _small(each.max_difference),
            f"{each.tolerance:g}",
            number(each.min_effect),
        )
        for each in (record.proof, *record.proof.others)
    ]


def _role(record: RoundRecord, version: str) -> str:
    decision = record.decision
    if version in (decision.candidate, decision.baseline):
        return "candidate" if version == decision.candidate else "baseline"
    labels = [each.judge for each in record.health.judges] if record.health else []
    judges = {label.partition("@")[0] for label in (decision.judge, *labels)}
    return "judge" if version.partition("@")[0] in judges else "target"


def n_sent(record: RoundRecord) -> int:
    """Answers of the round's own server, each of which came with the prompt ids that were sent."""
    targets = record.recipe.eval.targets
    elsewhere = {name for name, each in targets.items() if each.endpoint}
    return sum(
        each.state != "failed" and each.target not in elsewhere for each in record.generations
    )


class Settled(NamedTuple):
    """One target: how it was asked, and who settled its scores."""

    side: str
    model: str
    how: str
    judge: int
    checks: int
    guard: int
    none: int


def settled(record: RoundRecord) -> list[Settled]:
    """A line for each target, the sides first; scores by who gave them."""
    asked = {side_of(each): each for each in reversed(record.generations)}
    counts: dict[str, Counter[str]] = {name: Counter() for name in (*_ROLES, *asked)}
    for each in record.verdicts:
        counts.setdefault(side_of(each), Counter())[_by(each)] += 1
    return [
        Settled(
            name,
            asked[name].model if name in asked else MISSING,
            _how(record, asked[name].target) if name in asked else MISSING,
            *(found[key] for key in ("judge", "checks", "guard", "none")),
        )
        for name, found in counts.items()
        if found or name in asked
    ]


def _how(record: RoundRecord, target: str | None) -> str:
    """What stood before the item's messages, and where it was asked if not on the own server."""
    asked = record.recipe.eval
    own = asked.targets.get(target or "")
    system = (own and own.system) or asked.system
    parts = [f"system prompt “{one_line(system, 80)}”"] if system else []
    if own and own.shots:
        parts.append(plural(len(own.shots), "example"))
    if own and own.endpoint:
        parts.append(f"at {one_line(urlsplit(own.endpoint).hostname or own.endpoint, 80)}")
    return ", ".join(parts) or "the item alone"


def _by(verdict: Verdict) -> str:
    return "none" if verdict.state == "unscored" else verdict.by or "judge"


class Fine(NamedTuple):
    """What one slice can certify, on a scale from 0 to twice the widest margin that is asked."""

    name: str
    n_items: str
    smallest: str
    margin: str
    needed: str
    x: float | None
    """Percent of the scale; None: no margin at all."""
    x_margin: float
    is_enough: bool
    guarded: bool


def fineness(record: RoundRecord) -> list[Fine]:
    """Overall first, then the slices."""
    precision = record.precision
    if precision is None:
        return []
    rows = (precision.overall, *precision.slices)
    widest = 2 * max(0.05, *(each.margin for each in rows))
    return [_fine(each, widest) for each in rows]


def _fine(row: SlicePrecision, widest: float) -> Fine:
    smallest = row.smallest_margin
    clusters = "" if row.n_clusters is None else f" in {plural(row.n_clusters, 'cluster')}"
    return Fine(
        one_line(row.name, 60),
        f"{row.n_items:,}{clusters}",
        number(smallest),
        number(row.margin),
        f"{row.n_needed:,}",
        None if smallest is None else round(100 * min(1.0, smallest / widest), 2),
        round(100 * min(1.0, row.margin / widest), 2),
        smallest is not None and smallest <= row.margin,
        row.guarded,
    )
