"""How the judge did when it was examined: its measures against their limits, and its probes.

Selects and words; does no statistics and knows nothing of how a page looks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from harness.report import view
from harness.report.record import RoundRecord
from harness.report.wording import MISSING, number, share, signed
from harness.types import (
    JudgeFigures,
    JudgeHealth,
    ProbeKind,
    ProbeResult,
    RuleResult,
    Status,
)

MAX_WORST: Final = 3
"""Probes of a kind that are shown with what the judge said."""
_RULE: Final = "judge "
"""How the names of the gate's rules about the judge begin."""
_SCORES: Final = (1, 2, 3, 4, 5, None)


class Measure(NamedTuple):
    """One measure of the judge."""

    name: str
    meaning: str
    value: str
    limit: str
    status: Status | None
    """None: shown, not held to a limit."""
    is_let: bool
    """Beyond its limit, and the recipe lets that pass."""
    by_judge: tuple[str, ...]
    """Of each judge of a panel."""


def measures(record: RoundRecord) -> list[Measure]:
    """All that were taken, in the order of their rules; then those without a limit."""
    health = record.health
    if health is None:
        return []
    rules = {rule.rule: rule for rule in record.decision.rules}
    held = [_measure(health, rules, each) for each in _MEASURES]
    return [*(each for each in held if each.value != MISSING or each.status), *_shown(health)]


class _Kind(NamedTuple):
    key: str
    name: str
    meaning: str
    of: Callable[[JudgeFigures], float | None] | None
    """None: the health's own."""
    form: Callable[[float | None], str]
    sign: str


_MEASURES: Final = (
    _Kind(
        "good", "Right answers", "mean score of the items' own references", lambda f: f.good,
        number, "≥",
    ),
    _Kind("bad", "Wrong answers", "mean score of other items' references", lambda f: f.bad,
          number, "≤"),
    _Kind("injection", "Attacks", "highest score of a wrong answer that dictates its score",
          lambda f: f.injected, lambda n: number(n, 0), "≤"),
    _Kind("length", "Length", "points that a wrong answer gains by twice the length",
          lambda f: f.length_slope, signed, "≤"),
    _Kind("noise", "Noise", "standard deviation of a score, asked again", lambda f: f.repeat_sd,
          number, "≤"),
    _Kind("flips", "Order", "share of preferences that change with the order of two answers", None,
          share, "≤"),
    _Kind("unscored", "No score", "share of opinions that are no score", lambda f: f.unscored,
          share, "≤"),
)  # fmt: skip


def _measure(health: JudgeHealth, rules: dict[str, RuleResult], kind: _Kind) -> Measure:
    rule = rules.get(f"{_RULE}{kind.key}")
    value = kind.of(health.together) if kind.of else health.flips
    limit = rule.threshold if rule else None
    return Measure(
        kind.name,
        kind.meaning,
        kind.form(value),
        MISSING if limit is None else f"{kind.sign} {kind.form(limit).lstrip('+')}",
        rule.status if rule else None,
        rule is not None and view.is_unfit(rule),
        tuple(kind.form(kind.of(each)) if kind.of else MISSING for each in health.judges),
    )


def _shown(health: JudgeHealth) -> Iterator[Measure]:
    of, judges = health.together, health.judges
    if of.covered is not None:
        covered = tuple(share(each.covered) for each in judges)
        meaning = "probability of 1 to 5 together where the score stands"
        yield Measure("Certainty", meaning, share(of.covered), MISSING, None, False, covered)
    if health.agreement is not None:
        none = (MISSING,) * len(judges)
        meaning = "of the panel's judges, Krippendorff's alpha: 1 is full agreement"
        value = number(health.agreement)
        yield Measure("Agreement", meaning, value, MISSING, None, False, none)
    if health.length_effect is not None:
        none = (MISSING,) * len(judges)
        meaning = "points the candidate gains on the baseline by twice its length"
        value = signed(health.length_effect)
        yield Measure("Longer answers", meaning, value, MISSING, None, False, none)


class Probed(NamedTuple):
    """The probes of one kind."""

    name: str
    meaning: str
    wanted: str
    n: int
    counts: tuple[int, ...]
    """How many got 1 to 5, and no score."""
    worst: tuple[ProbeResult, ...]
    """Those that are furthest from what is wanted; empty where none is off."""


_PROBES: Final[dict[ProbeKind, tuple[str, str, int]]] = {
    "good": ("Right answers", "the item's own reference", 5),
    "bad": ("Wrong answers", "the reference of another item", 1),
    "length": ("Padded", "the same wrong answers, made longer", 1),
    "injection": ("Attacked", "wrong answers that tell the judge which score to give", 1),
}


def probed(record: RoundRecord) -> list[Probed]:
    """The probes by kind: what was asked, and how it was scored."""
    if record.health is None:
        return []
    found = []
    for kind, (name, meaning, wanted) in _PROBES.items():
        results = [each for each in record.health.probes if each.kind == kind]
        if results:
            counts = Counter(each.score for each in results)
            found.append(
                Probed(
                    name,
                    meaning,
                    str(wanted),
                    len(results),
                    tuple(counts[score] for score in _SCORES),
                    tuple(_off(results, wanted)),
                )
            )
    return found


def _off(results: Iterable[ProbeResult], wanted: int) -> list[ProbeResult]:
    """Those without a score first, then the furthest."""
    off = [each for each in results if each.score != wanted]
    off.sort(key=lambda each: -9 if each.score is None else -abs(each.score - wanted))
    return off[:MAX_WORST]


def attacks(record: RoundRecord) -> list[tuple[str, int | None]]:
    """(name, score) of every attack, the most successful first."""
    probes = record.health.probes if record.health else ()
    found = [(each.name, each.score) for each in probes if each.kind == "injection"]
    return sorted(found, key=lambda each: -(each[1] or 0))
