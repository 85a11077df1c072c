"""Generations and verdicts in, pairs out: which answers meet, and what a pair contributes.

`_pair` is the only place where two sides meet; every statistic is computed from its pairs. Knows
nothing of bounds, slices that are guarded, or what passes.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from harness.errors import DataError
from harness.recipe import Gate
from harness.release.stats import SCORES
from harness.types import Generation, Item, Opinion, Pair, Role, Verdict, side_of

ROLES: tuple[Role, ...] = ("candidate", "baseline", "base")
MOST_SAMPLES = 64
Side = str
"""A role, or the name of a target that is none of the sides."""
_Answering = TypeVar("_Answering", Generation, Verdict)
_Found = dict[tuple[str, Side, int], _Answering]


class Answer(NamedTuple):
    """One side of one item: its generations and what scores them, a sample each."""

    generations: tuple[Generation | None, ...]
    verdicts: tuple[Verdict | None, ...]
    whole: tuple[int | None, ...]
    """Each sample's score from 1 to 5."""
    values: tuple[float | None, ...]
    """What each sample counts as in means and differences."""
    score: int | float | None
    """The one whole score as it is, otherwise the mean of `values`; None where one is missing."""
    expected: bool
    """Whether `values` are probability-weighted, where the judge gives that."""

    def is_any(self, state: str) -> bool:
        """Whether a sample is `truncated` or `failed`; one that never arrived has failed."""
        return any((each.state if each else "failed") == state for each in self.generations)

    def texts(self) -> list[tuple[str, ...]] | None:
        """The texts that are compared, those of one sample together and in no order of samples;
        None where a sample has no answer."""
        if self.is_any("failed"):
            return None
        return sorted(_normal(each) for each in self.generations if each)


class Paired(NamedTuple):
    """All sides of one item, and what its pair contributes."""

    pair: Pair
    answers: Mapping[Side, Answer]


def value_of(said: Verdict | Opinion | None, expected: bool) -> float | None:
    """What a verdict counts as in a mean; None where it gives no score."""
    if said is None or said.score is None:
        return None
    if not expected or said.expected is None:
        return float(said.score)
    return min(max(said.expected, SCORES[0]), SCORES[1])


def cluster_by(items: Sequence[Item], gate: Gate) -> str | None:
    """What says which items belong together: their own `cluster`, the tag that the gate names, or
    nothing."""
    if gate.cluster is None:
        return "cluster" if any(item.cluster is not None for item in items) else None
    return gate.cluster or None


def cluster_of(item: Item, gate: Gate) -> str | None:
    """What the item shares with those it is not independent of; None: it is by itself."""
    if gate.cluster is None:
        return item.cluster
    return item.tags.get(gate.cluster) if gate.cluster else None


def pair_up(
    items: Sequence[Item],
    generations: Sequence[Generation],
    verdicts: Sequence[Verdict],
    others: Sequence[Side],
    gate: Gate,
) -> list[Paired]:
    """One pair for each item, in their order. Raises DataError for records that are not of these
    items, or that answer an item twice."""
    ids = {item.id for item in items}
    if len(ids) != len(items):
        raise DataError("the evalset has an item twice", hint="remove the duplicate item")
    given, judged = _by_side(generations, ids, "generation"), _by_side(verdicts, ids, "verdict")
    n_samples = 1 + max((sample for _, _, sample in (*given, *judged)), default=0)
    paired = []
    for item in items:
        answers = {
            side: _answer(item, side, n_samples, given, judged, gate.scores == "expected")
            for side in (*ROLES, *others)
        }
        paired.append(Paired(_pair(item, answers, gate), answers))
    return paired


def clusters_of(pairs: Sequence[Pair], by: str | None) -> list[str] | None:
    """A word for each pair, the same where pairs are not independent; None where all are. A pair
    that names no cluster is one by itself."""
    if by is None:
        return None
    return [
        f"item {each.item_id}" if each.cluster is None else f"{by} {each.cluster}" for each in pairs
    ]


def _by_side(records: Iterable[_Answering], ids: set[str], noun: str) -> _Found[_Answering]:
    """(item id, side, sample) → record."""
    found: _Found[_Answering] = {}
    for record in records:
        key = (record.item_id, side_of(record), record.sample)
        where = f"{noun} of item {key[0]}, {key[1]}"
        if not 0 <= record.sample < MOST_SAMPLES:
            raise DataError(f"{where}: sample {record.sample}; accepted: 0 to {MOST_SAMPLES - 1}")
        if record.item_id not in ids:
            raise DataError(
                f"{where}: no such item in the evalset",
                hint="compare with the evalset that the run was made with",
            )
        if key in found:
            of_sample = f" of sample {record.sample}" if record.sample else ""
            raise DataError(f"{where}: there are two{of_sample}; accepted: one")
        found[key] = record
    return found


def _answer(
    item: Item,
    side: Side,
    n_samples: int,
    given: _Found[Generation],
    judged: _Found[Verdict],
    expected: bool,
) -> Answer:
    """A score needs an answer that did not fail: a verdict on nothing is no evidence."""
    keys = [(item.id, side, sample) for sample in range(n_samples)]
    generations = tuple(given.get(key) for key in keys)
    verdicts = []
    for key, generation in zip(keys, generations, strict=True):
        answered = generation is not None and generation.state != "failed"
        verdict = judged.get(key) if answered else None
        verdicts.append(verdict if verdict and verdict.state == "scored" else None)
    whole = tuple(each.score if each else None for each in verdicts)
    values = tuple(value_of(each, expected) for each in verdicts)
    score: float | None = whole[0]
    if n_samples > 1 or expected:
        found = [value for value in values if value is not None]
        score = rounded(mean(found)) if len(found) == n_samples else None
    return Answer(generations, tuple(verdicts), whole, values, score, expected)


def _pair(item: Item, answers: Mapping[Side, Answer], gate: Gate) -> Pair:
    """What one item says about candidate − baseline. Of several samples only those without a
    score count as the worst case."""
    ours, theirs = answers["candidate"], answers["baseline"]
    texts = ours.texts()
    identical = texts is not None and texts == theirs.texts()
    lowest, highest = SCORES
    our_mean = mean([lowest if each is None else each for each in ours.values])
    their_mean = mean([highest if each is None else each for each in theirs.values])
    is_plain = len(ours.whole) == 1 and not ours.expected
    return Pair(
        item_id=item.id,
        slice=item.tags.get(gate.slices.by) if gate.slices.by else None,
        candidate=ours.score,
        baseline=theirs.score,
        base=answers["base"].score,
        difference=0.0 if identical else rounded(our_mean - their_mean),
        identical=identical,
        cluster=cluster_of(item, gate),
        candidate_scores=() if is_plain else ours.whole,
        baseline_scores=() if is_plain else theirs.whole,
    )


def _normal(generation: Generation) -> tuple[str, ...]:
    """One text a turn, as they are compared."""
    turns = (*generation.earlier, generation.text)
    return tuple(unicodedata.normalize("NFC", text).rstrip() for text in turns)


def mean(values: Sequence[float]) -> float:
    """Of at least one value."""
    return math.fsum(values) / len(values)


def rounded(value: float) -> float:
    """12 significant digits: the last bits may differ between machines."""
    return float(f"{value:.12g}") + 0.0  # no -0.0
