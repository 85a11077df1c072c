"""Where things lie in the plots: positions in percent of the width, heights in pixels.

The templates draw them as inline SVG that stretches with the page while its text does not. Knows
nothing of colours or markup.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from harness.report.record import RoundRecord
from harness.report.view import rows, sides
from harness.report.wording import number, signed
from harness.types import Difference, Role, SideSummary, SliceComparison

BAR_HEIGHT: Final = 120
"""Pixels of the tallest bar of the distribution plot."""


@dataclass(frozen=True)
class Whisker:
    """A point with its interval; percents of the width."""

    role: Role
    x: float
    low: float | None
    high: float | None
    label: str


@dataclass(frozen=True)
class IntervalRow:
    """One line of the score plot."""

    name: str
    whiskers: tuple[Whisker, ...]
    description: str


@dataclass(frozen=True)
class DifferencePlot:
    """One slice's mean difference on a scale shared by all slices."""

    x: float | None
    low: float | None
    high: float | None
    description: str


@dataclass(frozen=True)
class Bars:
    """Both sides' count of one score; heights in pixels."""

    label: str
    candidate: int
    baseline: int
    candidate_height: float
    baseline_height: float


def score_position(score: float) -> float:
    """1 → 0 %, 5 → 100 %."""
    return round((score - 1) * 25, 2)


def score_rows(record: RoundRecord) -> list[IntervalRow]:
    """Mean and interval of every side, overall and by slice."""
    return [_score_row(row) for row in rows(record)]


def _score_row(row: SliceComparison) -> IntervalRow:
    whiskers = [found for role, side in sides(row) if (found := _whisker(role, side))]
    absent = [role for role, side in sides(row) if side.mean is None]
    parts = [whisker.label for whisker in whiskers] + [f"{role}: no score" for role in absent]
    return IntervalRow(row.name, tuple(whiskers), f"{row.name}. {'; '.join(parts)}")


def _whisker(role: Role, side: SideSummary) -> Whisker | None:
    if side.mean is None:
        return None
    label = f"{role}: mean {number(side.mean)}"
    if side.mean_interval is None:
        return Whisker(role, score_position(side.mean), None, None, label)
    low, high = side.mean_interval
    label += f", 95% interval {number(low)} to {number(high)}"
    position = score_position(side.mean)
    return Whisker(role, position, score_position(low), score_position(high), label)


class DifferenceScale:
    """A symmetric axis around zero that holds every bound and the accepted drop."""

    def __init__(self, record: RoundRecord, accepted_drop: float | None) -> None:
        found = [accepted_drop or 0.0]
        for row in rows(record):
            difference = row.difference
            found += [difference.mean or 0.0, difference.lower or 0.0, difference.upper or 0.0]
        most = max(abs(value) for value in found)
        self.limit = min(4.0, max(0.5, math.ceil(most * 2) / 2))

    def position(self, difference: float) -> float:
        """Percent of the width; values off the axis sit at its end."""
        inside = max(-self.limit, min(self.limit, difference))
        return round(50 + 50 * inside / self.limit, 2)

    def plot(self, name: str, difference: Difference) -> DifferencePlot:
        """Positions of one slice's difference and its bounds."""
        spots = [
            None if value is None else self.position(value)
            for value in (difference.mean, difference.lower, difference.upper)
        ]
        bounds = f"{signed(difference.lower)} to {signed(difference.upper)}"
        text = f"{name}: difference {signed(difference.mean)}, bounds {bounds}"
        return DifferencePlot(spots[0], spots[1], spots[2], text)


def score_bars(overall: SliceComparison) -> list[Bars]:
    """How often each score was given overall, and how many answers have none."""
    candidate = (*overall.candidate.distribution, overall.candidate.n_unscored)
    baseline = (*overall.baseline.distribution, overall.baseline.n_unscored)
    scale = BAR_HEIGHT / max(1, *candidate, *baseline)
    return [
        Bars(label, left, right, round(left * scale, 1), round(right * scale, 1))
        for label, left, right in zip("1 2 3 4 5 none".split(), candidate, baseline, strict=True)
    ]
