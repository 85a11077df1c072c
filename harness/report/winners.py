"""Who won how many items, overall and slice by slice, for a picture around zero.

Which way an item went is the explorer's own word for it (`items.flips`), so that every count can
name the items behind it. Knows nothing of colours or markup.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlencode

from harness.report.items import Flip, flips
from harness.report.record import RoundRecord
from harness.report.wording import neutral

TO_BASELINE: Final[tuple[Flip, ...]] = ("lost", "dropped")
TO_CANDIDATE: Final[tuple[Flip, ...]] = ("gained", "rose")
_TO_NOBODY: Final[tuple[Flip, ...]] = ("tied", "identical", "unscored", "unjudged")
FLIPS: Final = (*TO_BASELINE, *reversed(TO_CANDIDATE), *_TO_NOBODY)
"""In the order of the columns."""


class Bar(NamedTuple):
    """A part of the picture; percents of the width."""

    flip: Flip
    x: float
    width: float


class Cell(NamedTuple):
    """How many items of a slice went one way, and the fragment that lists them."""

    n: int
    href: str


class Won(NamedTuple):
    """One slice, or all items."""

    name: str
    counts: dict[Flip, Cell]
    bars: tuple[Bar, ...]
    description: str


def won(record: RoundRecord) -> list[Won]:
    """Overall first; all on one scale of shares, so that slices of other sizes compare."""
    comparison = record.comparison
    if comparison is None:
        return []
    pairs = {pair.item_id: pair for pair in comparison.pairs}
    went = {item.id: flips(pairs.get(item.id), comparison.pass_at) for item in record.items}
    by_slice: dict[str, list[list[Flip]]] = {row.name: [] for row in comparison.slices}
    for item in record.items:
        name = item.tags.get(comparison.slice_by or "")
        if name in by_slice:
            by_slice[name].append(went[item.id])
    widest = max(map(_widest, (list(went.values()), *by_slice.values())))
    overall = _won(comparison.overall.name, list(went.values()), widest, "")
    return [overall, *(_won(name, each, widest, name) for name, each in by_slice.items())]


def _widest(went: Sequence[Sequence[Flip]]) -> float:
    """The larger share of the two sides."""
    first = Counter(each[0] for each in went)
    sides = (TO_BASELINE, TO_CANDIDATE)
    return max(sum(first[flip] for flip in side) for side in sides) / max(1, len(went))


def _won(name: str, went: Sequence[Sequence[Flip]], widest: float, wanted: str) -> Won:
    """`wanted`: the slice that the fragments ask for; empty: none."""
    counts, first = Counter(flip for each in went for flip in each), Counter(e[0] for e in went)
    scale = 50 / (widest * len(went)) if widest and went else 0.0
    return Won(
        name,
        {flip: Cell(counts[flip], _href(flip, wanted)) for flip in FLIPS},
        tuple(_bars(first, scale)),
        f"{name}: candidate won {sum(first[each] for each in TO_CANDIDATE)}, baseline won "
        f"{sum(first[each] for each in TO_BASELINE)} of {len(went)}",
    )


def _href(flip: Flip, wanted: str) -> str:
    return "#" + urlencode({"flip": flip} | ({"slice": neutral(wanted)} if wanted else {}))


def _bars(first: Mapping[Flip, int], scale: float) -> Iterator[Bar]:
    """Lost and gained at the zero line, where the eye compares them."""
    at = 50.0
    for flip in TO_BASELINE:
        width = first[flip] * scale
        at -= width
        yield Bar(flip, round(at, 2), round(width, 2))
    at = 50.0
    for flip in TO_CANDIDATE:
        width = first[flip] * scale
        yield Bar(flip, round(at, 2), round(width, 2))
        at += width
