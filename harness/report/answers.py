"""What each side answered to one item, and why it got its score.

Of several samples the page shows one for a side, with the scores of all: the one whose score is
nearest to their mean, or one without a score where there is one. Knows nothing of which items are
worth showing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.record import RoundRecord
from harness.types import Generation, Item, Pair, Role, Verdict


@dataclass(frozen=True)
class Answer:
    """One side's answer to one item."""

    role: Role
    text: str
    state: str
    """ok, truncated, failed or missing."""
    score: int | float | None
    """As the pair has it: of several samples their mean."""
    reason: str
    """Why this score, or why there is none."""
    by: str
    """Whose reason it is: judge, checks or guard; "reason" where there is no score."""
    earlier: tuple[str, ...] = ()
    """The side's own answers before the item's follow-ups."""
    scores: tuple[int | None, ...] = ()
    """The judge's whole scores, one a sample, where `score` is not the only one itself."""


@dataclass(frozen=True)
class Case:
    """One item with both answers."""

    item: Item
    slice: str | None
    difference: float
    baseline: Answer
    candidate: Answer


class Answers:
    """Items, answers and reasons of a record by item, side and sample."""

    def __init__(self, record: RoundRecord) -> None:
        self.items = {item.id: item for item in record.items}
        self._generations: dict[tuple[str, Role, int], Generation] = {
            (each.item_id, each.role, each.sample): each for each in record.generations
        }
        self._verdicts: dict[tuple[str, Role, int], Verdict] = {
            (each.item_id, each.role, each.sample): each for each in record.verdicts
        }
        self._n_samples = Counter((item_id, role) for item_id, role, _ in self._generations)

    def case(self, pair: Pair) -> Case:
        """Raises KeyError for a pair of no item."""
        return Case(
            self.items[pair.item_id],
            pair.slice,
            pair.difference,
            self.to(pair, "baseline"),
            self.to(pair, "candidate"),
        )

    def to(self, pair: Pair, role: Role) -> Answer:
        """The side's answer to the pair's item."""
        score: int | float | None = getattr(pair, role)
        scores = self._scores(pair, role)
        key = (pair.item_id, role, standing(scores, score))
        generation, verdict = self._generations.get(key), self._verdicts.get(key)
        reason = verdict.reason if verdict else ""
        by: str = (verdict.by if verdict else None) or "judge"
        if score is None:
            by = "reason"
        if generation is None:
            return Answer(role, "", "missing", score, reason or "no answer was recorded", by)
        return Answer(
            role,
            generation.text,
            generation.state,
            score,
            generation.error or reason or "no reason given",
            by,
            generation.earlier,
            () if scores == (score,) else scores,
        )

    def _scores(self, pair: Pair, role: Role) -> tuple[int | None, ...]:
        n = max(1, self._n_samples[pair.item_id, role])
        verdicts = [self._verdicts.get((pair.item_id, role, sample)) for sample in range(n)]
        return tuple(each.score if each else None for each in verdicts)


def standing(scores: Sequence[int | None], mean: float | None) -> int:
    """The sample that stands for the side, of at least one."""
    if None in scores:
        return scores.index(None)
    return min(range(len(scores)), key=lambda sample: abs((scores[sample] or 0) - (mean or 0)))
