"""Which items of a run failed, regressed or have no score, and in which groups they fall.

Within a slice items are alike by the words of what they ask. Loads no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from harness.blame.asked import compared
from harness.errors import HarnessError, nearest
from harness.failures.similar import Texts
from harness.report.record import RoundRecord
from harness.types import Item, Pair

N_WORDS: Final = 4
"""Telling words of a group; too few to give a line of an item away."""


class Failed(NamedTuple):
    """One item that failed, regressed or has no score of the candidate."""

    place: int
    """In the record's items."""
    item: Item
    pair: Pair
    failed: bool
    """Its score is below `gate.pass_at`."""
    regressed: bool
    """Both sides have a score, and the candidate's is lower."""

    @property
    def unscored(self) -> bool:
        return self.pair.candidate is None

    @property
    def lost(self) -> float:
        """Points below the baseline's score."""
        return -self.pair.difference if self.regressed else 0.0


class Cluster(NamedTuple):
    """Items of one slice that are alike."""

    slice: str | None
    members: tuple[Failed, ...]
    """The worst first."""
    words: tuple[str, ...]
    """What tells them from the rest, the most telling first; each is in two of them or more."""
    alike: bool
    """False: those of the slice that are like no other."""

    @property
    def lost(self) -> float:
        return sum(each.lost for each in self.members)


def failed_items(record: RoundRecord, slice_: str | None = None) -> list[Failed]:
    """The worst first: by what was lost, then by score, those without one last; of one slice where
    it is named. Raises HarnessError for a slice that the comparison does not have."""
    comparison = compared(record)
    if slice_ is not None and slice_ not in (known := {each.name for each in comparison.slices}):
        by = comparison.slice_by or "gate.slices.by is not set"
        raise HarnessError(f"--slice {slice_!r}: no such slice ({by}): {nearest(slice_, known)}")
    places = {item.id: place for place, item in enumerate(record.items)}
    pairs = (each for each in comparison.pairs if slice_ is None or each.slice == slice_)
    found = [
        _failed(places[pair.item_id], record.items, pair, comparison.pass_at) for pair in pairs
    ]
    wanted = [each for each in found if each.failed or each.regressed or each.unscored]
    return sorted(wanted, key=_worst_first)


def _failed(place: int, items: Sequence[Item], pair: Pair, pass_at: int) -> Failed:
    return Failed(
        place,
        items[place],
        pair,
        failed=pair.candidate is not None and pair.candidate < pass_at,
        regressed=None not in (pair.candidate, pair.baseline) and pair.difference < 0,
    )


def _worst_first(each: Failed) -> tuple[float, float, str]:
    score = each.pair.candidate
    return -each.lost, 6.0 if score is None else float(score), each.item.id


def clusters(record: RoundRecord, failed: Iterable[Failed]) -> list[Cluster]:
    """The items in groups, those that lost the most points first."""
    texts = Texts(asked(item) for item in record.items)
    slices = {each.item_id: each.slice for each in compared(record).pairs}
    of_place = [slices.get(item.id) for item in record.items]
    by_slice = sorted(failed, key=lambda each: (each.pair.slice is not None, each.pair.slice or ""))
    found = [
        cluster
        for name, members in groupby(by_slice, key=lambda each: each.pair.slice)
        for cluster in _in_slice(name, list(members), texts, of_place)
    ]
    return sorted(found, key=_damage)


def _damage(each: Cluster) -> tuple[float, int, int, str, str]:
    n_failed = sum(member.failed for member in each.members)
    return -each.lost, -n_failed, -len(each.members), each.slice or "", each.members[0].item.id


def _in_slice(
    name: str | None, members: Sequence[Failed], texts: Texts, of_place: Sequence[str | None]
) -> Iterator[Cluster]:
    by_place = {each.place: each for each in members}
    groups = texts.groups([each.place for each in members])
    alone = [each[0] for each in groups if len(each) == 1]
    alike = [each for each in groups if len(each) > 1]
    for places in [*alike, *([alone] if alone else [])]:
        found = tuple(by_place[place] for place in places)
        words = telling(texts, places, of_place)
        yield Cluster(name, found, words, alike=places is not alone)


def telling(texts: Texts, places: Sequence[int], of_place: Sequence[str | None]) -> tuple[str, ...]:
    """The words with the highest mean weight in a group against the rest of its slice; against the
    other slices where the group is most of its own. A word of one item alone would tell of the
    item, and is none; of equally telling ones the longer."""
    inside = set(places)
    own = of_place[places[0]]
    in_slice = [place for place, name in enumerate(of_place) if name == own]
    rest = [place for place in in_slice if place not in inside]
    if len(rest) < len(inside):
        rest = [place for place in range(len(of_place)) if place not in inside]
        rest = [place for place in rest if of_place[place] != own] or rest
    gain = texts.mean(places) - texts.mean(rest)
    gain[texts.count(places) < 2] = 0
    best = sorted(
        (-round(gain[number], 6), -len(word), word)
        for word, number in texts.vocabulary.items()
        if gain[number] > 0
    )
    return tuple(word for _, _, word in best[:N_WORDS])


def asked(item: Item) -> str:
    """What the users say."""
    said = [each.content for each in item.messages if each.role == "user"]
    return "\n\n".join([*said, *item.follow_ups])
