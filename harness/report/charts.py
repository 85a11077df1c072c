"""Where things lie in the plots: positions in percent of the width, heights in pixels.

The templates draw them as inline SVG that stretches with the page while its text does not. Knows
nothing of colours or markup.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harness.report.record import RoundRecord
from harness.report.view import rows, sides
from harness.report.wording import number, signed
from harness.types import Difference, Role, SideSummary, SliceComparison

BAR_HEIGHT: Final = 64
"""Pixels of the tallest bar of the distributions."""
_FILLED: Final = 0.8
"""Share of a column that its bars take."""
LABELS: Final = ("1", "2", "3", "4", "5", "none")


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
class Bar:
    """How often a side got one score."""

    role: Role
    count: int
    x: float
    width: float
    """Percents of the plot's width."""
    height: float
    """Pixels."""


@dataclass(frozen=True)
class Histogram:
    """One slice's scores, a column of bars for each of LABELS."""

    name: str
    columns: tuple[tuple[Bar, ...], ...]
    description: str


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


def histograms(record: RoundRecord) -> list[Histogram]:
    """How often each score was given, overall and by slice; one scale of shares for all, so that
    slices of other sizes compare."""
    shares = [
        count / max(1, sum(counts))
        for row in rows(record)
        for _, side in sides(row)
        for counts in [_counts(side)]
        for count in counts
    ]
    scale = BAR_HEIGHT / max([*shares, 0.01])
    return [_histogram(row, scale) for row in rows(record)]


def _counts(side: SideSummary) -> tuple[int, ...]:
    return (*side.distribution, side.n_unscored)


def _histogram(row: SliceComparison, scale: float) -> Histogram:
    found = [(role, _counts(side)) for role, side in sides(row)]
    columns = [tuple(_bars(found, place, scale)) for place in range(len(LABELS))]
    told = [f"{role} {', '.join(map(str, counts))}" for role, counts in found]
    return Histogram(
        row.name, tuple(columns), f"{row.name}, 1 to 5 and no score: {'; '.join(told)}"
    )


def _bars(found: Sequence[tuple[Role, tuple[int, ...]]], place: int, scale: float) -> Iterator[Bar]:
    """Side by side in the middle of their column; none for a score that was never given."""
    column, width = 100 / len(LABELS), _FILLED * 100 / len(LABELS) / len(found)
    for n, (role, counts) in enumerate(found):
        x = column * (place + (1 - _FILLED) / 2) + width * n
        height = scale * counts[place] / max(1, sum(counts))
        if counts[place]:
            yield Bar(role, counts[place], round(x, 2), round(0.85 * width, 2), round(height, 1))
