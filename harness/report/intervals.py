"""Intervals of differences as one line of text each, on an axis that all of them share.

Where the axis has no room for an interval an arrow says on which side it is: a slice that lost
three points must not squeeze the margin of the others into nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from harness.report.wording import signed
from harness.types import Difference

LEGEND: Final = "● change between its bounds; │ none, ┊ the margin; ◂ ▸ further than the axis"
_BEFORE, _AFTER = 4, 3
"""How many margins the axis shows below zero and above it, at most."""


class Axis(NamedTuple):
    """`width` characters from `low` to `high`, with marks at zero and at −`margin`."""

    low: float
    high: float
    margin: float
    width: int

    def _place(self, value: float) -> int:
        share = (value - self.low) / (self.high - self.low)
        return min(self.width - 1, max(0, round(share * (self.width - 1))))

    def head(self) -> str:
        """Zero and the margin as numbers over their marks."""
        margin = signed(-self.margin)
        cells = [" "] * self.width
        cells[self._place(0)] = "0"
        end = self._place(-self.margin) + 1
        if len(margin) <= end < self._place(0):
            cells[end - len(margin) : end] = margin
        return "".join(cells)

    def draw(self, found: Difference) -> str:
        """`──●──┊──│`, as long as the axis; only the marks where nothing was scored."""
        cells = [" "] * self.width
        lower, upper = found.lower, found.upper
        if lower is not None and upper is not None and self._shows(lower, upper):
            first, last = self._place(lower), self._place(upper)
            cells[first : last + 1] = "─" * (last + 1 - first)
        cells[self._place(-self.margin)], cells[self._place(0)] = "┊", "│"
        if found.mean is not None and self._shows(found.mean, found.mean):
            cells[self._place(found.mean)] = "●"
        ends = [each for each in (lower, found.mean, upper) if each is not None]
        if ends and min(ends) < self.low:
            cells[0] = "◂"
        if ends and max(ends) > self.high:
            cells[-1] = "▸"
        return "".join(cells)

    def _shows(self, first: float, last: float) -> bool:
        return first <= self.high and last >= self.low


def axis_of(found: Sequence[Difference], margin: float, width: int) -> Axis:
    """The axis that shows the differences, and always the margin on both sides of zero."""
    low = min((each.lower for each in found if each.lower is not None), default=0.0)
    high = max((each.upper for each in found if each.upper is not None), default=0.0)
    return Axis(
        min(-2 * margin, max(low, -_BEFORE * margin)),
        max(margin, min(high, _AFTER * margin)),
        margin,
        width,
    )
