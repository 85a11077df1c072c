"""Everything that the page's templates print beside the verdict and the items, from its modules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from harness.report import charts, cost, examined, training, trust, view, winners
from harness.report.record import RoundRecord
from harness.report.wording import SEVERITY
from harness.types import RuleResult

FEW_RULES: Final = 6
"""So many passing rules, and no more, stand beside those that decided."""
MOST_HISTOGRAMS: Final = 16
"""More slices than that are folded."""


def sections(record: RoundRecord) -> dict[str, Any]:
    """Values by the names that the templates use."""
    deciding, passing = _rules(record)
    made = record.training
    return {
        "finished": _moment(record.finished_at),
        "deciding": deciding,
        "passing": passing,
        "is_folded": len(passing) > FEW_RULES,
        "kinds": _kinds(passing),
        "histograms": charts.histograms(record),
        "n_shown": MOST_HISTOGRAMS,
        "score_labels": charts.LABELS,
        "bar_height": charts.BAR_HEIGHT,
        "won": winners.won(record),
        "went": winners.FLIPS,
        "claims": trust.claims(record),
        "proven": trust.proven(record),
        "n_sent": trust.n_sent(record),
        "settled": trust.settled(record),
        "fineness": trust.fineness(record),
        "measures": examined.measures(record),
        "probed": examined.probed(record),
        "item_ids": frozenset(item.id for item in record.items),
        "attacks": examined.attacks(record),
        "method": list(training.method(record)),
        "flow": training.flow(record.data) if record.data else [],
        "curve": training.curve(made) if made else None,
        "stages": cost.stages(record),
        "total": cost.total(record),
        "asked": cost.asked(record),
        "reused": cost.reused(record),
    }


def _rules(record: RoundRecord) -> tuple[list[RuleResult], list[RuleResult]]:
    """Those that decided, gravest first, with those that the recipe lets through; then the rest."""
    rules = record.decision.rules
    loud = [each for each in rules if each.status != "pass" or view.is_unfit(each)]
    loud.sort(key=lambda each: -SEVERITY.index(each.status))
    return loud, [each for each in rules if each not in loud]


def _kinds(rules: Sequence[RuleResult]) -> str:
    """What the rules are about: "probe, attempts, judge × 6, …"."""
    counts = Counter(rule.rule.partition(" ")[0].replace("_", " ") for rule in rules)
    return ", ".join(name if n == 1 else f"{name} × {n}" for name, n in counts.items())


def _moment(at: str) -> str:
    """2026-04-12T09:21:47+00:00 → "2026-04-12 09:21 UTC"; what is none of UTC as it is."""
    return f"{at[:16].replace('T', ' ')} UTC" if at.endswith(("+00:00", "Z")) else at
