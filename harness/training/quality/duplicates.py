"""Repeated examples: exact ones by digest, near ones by MinHash and then by exact Jaccard.

Knows nothing of files or of what is done about a repeat.
"""

from __future__ import annotations

import random
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from harness.training.quality.normalise import fingerprint, prompt_group, words
from harness.training.reading.example import Example

MOST_SEARCHED = 60_000
"""Above so many examples a sample of them is searched for near duplicates."""
MOST_GRAMS = 30_000_000
"""And above so many word n-grams in them (four bytes each)."""
_GRAM = 3
_BANDS, _BAND = 16, 4
"""A pair of Jaccard 0.7 is a candidate with probability 0.988, one of 0.8 with 0.9998."""
_FULL = 20
"""Examples in a bucket, and"""
_MOST_COMPARED = 50
"""candidates compared with one example: templated data has thousands that are not close enough,
while near repeats also share buckets that few others are in."""
_SHOWN = 5


class Repeat(NamedTuple):
    """An example and the earlier one that it repeats."""

    source: str
    first: str
    similarity: float = 1.0
    """Jaccard similarity of their word 3-grams."""


class ExactReport(NamedTuple):
    """Examples whose whole text, or whose prompt, an earlier one has."""

    n_examples: int
    n_repeats: int
    n_repeated_prompts: int
    """Examples with the prompt of an earlier one; includes `n_repeats`."""
    shown: tuple[Repeat, ...]


class Duplicates:
    """Finds exact repeats while examples pass by; about 200 bytes an example."""

    def __init__(self) -> None:
        self._first: dict[bytes, int] = {}
        self._prompts: set[bytes] = set()
        self._sources = _Sources()
        self._n_repeats = self._n_prompts = 0
        self._shown: list[Repeat] = []

    def add(self, index: int, example: Example) -> int | None:
        """The index of the first equal example, or None where this is the first.

        `index` counts from 0 without gaps.
        """
        self._sources.append(example.source)
        prompt = prompt_group(example)
        self._n_prompts += prompt in self._prompts
        self._prompts.add(prompt)
        first = self._first.setdefault(fingerprint(example), index)
        if first == index:
            return None
        self._n_repeats += 1
        if len(self._shown) < _SHOWN:
            self._shown.append(Repeat(example.source, self._sources[first]))
        return first

    def result(self) -> ExactReport:
        return ExactReport(len(self._sources), self._n_repeats, self._n_prompts, tuple(self._shown))


class NearReport(NamedTuple):
    """Groups of examples that say nearly the same."""

    threshold: float
    n_examples: int
    n_searched: int
    """Less than n_examples where only a sample was searched."""
    leader_of: dict[int, int]
    """Example → the earlier example, itself no repeat, that it nearly or exactly repeats."""
    n_groups: int
    largest: int
    """Examples in the largest group."""
    shown: tuple[Repeat, ...]
    """One of each of the largest groups."""

    @property
    def n_repeats(self) -> int:
        return len(self.leader_of)


class NearDuplicates:
    """Gathers what the search needs while examples pass by.

    Above MOST_SEARCHED examples a sample is kept: those whose smallest 3-gram hash, hashed once
    more, is small. Two near duplicates share that hash as often as they are similar, so a pair is
    mostly kept or left out as a whole and the share of repeats is that of all examples. Where too
    many examples share one (templated data), single examples are sampled.
    """

    def __init__(
        self, seed: int = 0, *, most: int = MOST_SEARCHED, most_grams: int = MOST_GRAMS
    ) -> None:
        self._salt = random.Random(f"near duplicates {seed}").getrandbits(32)
        self._most, self._most_grams = most, most_grams
        self._limits = (1 << 32, 1 << 32)
        self._kept: dict[int, tuple[str, array[int]]] = {}
        self._n = self._n_grams = 0

    def add(self, index: int, example: Example) -> None:
        self._n += 1
        grams = _grams(example)
        if not grams or not self._is_sampled(index, grams, self._limits):
            return
        self._kept[index] = (example.source, grams)
        self._n_grams += len(grams)
        while len(self._kept) > self._most or self._n_grams > self._most_grams:
            self._thin()

    def find(self, threshold: float) -> NearReport:
        """Every searched example with a similarity of `threshold` or more to an earlier one.

        An example joins the first leader it is close enough to, or becomes a leader: so each that
        would be dropped is that close to one that stays.
        """
        leader_of, similarity = {}, {}
        for index, leader, jaccard in self._matches(threshold):
            leader_of[index], similarity[index] = leader, jaccard
        sizes: dict[int, int] = {}
        for leader in leader_of.values():
            sizes[leader] = sizes.get(leader, 1) + 1
        largest = sorted(sizes, key=lambda each: (-sizes[each], each))[:_SHOWN]
        example_of = {leader: index for index, leader in reversed(leader_of.items())}
        return NearReport(
            threshold=threshold,
            n_examples=self._n,
            n_searched=len(self._kept),
            leader_of=leader_of,
            n_groups=len(sizes),
            largest=max(sizes.values(), default=0),
            shown=tuple(
                Repeat(
                    self._kept[example_of[leader]][0],
                    self._kept[leader][0],
                    similarity[example_of[leader]],
                )
                for leader in largest
            ),
        )

    def _is_sampled(self, index: int, grams: array[int], limits: tuple[int, int]) -> bool:
        """Whether the keys of the text and of the example itself are below the limits."""
        return _mix(grams[0], self._salt) < limits[0] and _mix(index, ~self._salt) < limits[1]

    def _thin(self) -> None:
        """Leave out about half of the kept examples, and of all that come."""
        texts, single = self._limits
        for limits in ((texts >> 1, single), (texts, single >> 1)):
            kept = {
                i: each for i, each in self._kept.items() if self._is_sampled(i, each[1], limits)
            }
            if len(self._kept) <= 4 * len(kept) <= 3 * len(self._kept):
                break
        self._kept, self._limits = kept, limits
        self._n_grams = sum(len(grams) for _, grams in kept.values())

    def _matches(self, threshold: float) -> Iterator[tuple[int, int, float]]:
        """(example, leader, similarity) in order. Sketches are datasketch's; its MinHashLSH is
        not used, since where all examples share a long phrase its buckets grow without bound."""
        from datasketch import MinHash

        blank = MinHash(num_perm=_BANDS * _BAND, hashfunc=int)
        buckets: dict[int, tuple[int, ...]] = {}
        for index, (_, grams) in self._kept.items():
            sketch = blank.copy()
            sketch.update_batch(grams)
            keys = [
                zlib.crc32(band.tobytes(), place)
                for place, band in enumerate(sketch.hashvalues.reshape(_BANDS, _BAND))
            ]
            shared = Counter(leader for key in keys for leader in buckets.get(key, ()))
            similarity, leader = self._closest(grams, shared, threshold)
            if similarity >= threshold:
                yield index, leader, similarity
                continue
            for key in keys:
                there = buckets.get(key, ())
                if len(there) < _FULL:
                    buckets[key] = (*there, index)

    def _closest(
        self, grams: array[int], shared: Counter[int], threshold: float
    ) -> tuple[float, int]:
        """The highest exact similarity among the candidates that share most bands, and the first
        that has it."""
        own, best = set(grams), (0.0, 0)
        for index, _ in shared.most_common(_MOST_COMPARED):
            other = self._kept[index][1]
            if min(len(own), len(other)) < threshold * max(len(own), len(other)):
                continue
            n_shared = len(own.intersection(other))
            similarity = n_shared / (len(own) + len(other) - n_shared)
            if (similarity, -index) > (best[0], -best[1]):
                best = similarity, index
        return best


class _Sources:
    """Texts by index, without a Python object for each."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("q", [0])

    def append(self, text: str) -> None:
        self._bytes += text.encode()
        self._ends.append(len(self._bytes))

    def __getitem__(self, index: int) -> str:
        return self._bytes[self._ends[index] : self._ends[index + 1]].decode()

    def __len__(self) -> int:
        return len(self._ends) - 1


def _grams(example: Example) -> array[int]:
    """32-bit hashes of the distinct word 3-grams of all turns, sorted; of all words where there
    are fewer. The system's text is left out: often it is the same everywhere."""
    turns = example.messages if example.rejected is None else (*example.messages, example.rejected)
    found = words(" ".join(each.content for each in turns if each.role != "system"))
    runs = zip(*(found[start:] for start in range(min(_GRAM, len(found)))), strict=False)
    return array("I", sorted({zlib.crc32(" ".join(each).encode()) for each in runs}))


def _mix(value: int, salt: int) -> int:
    """A 32-bit hash of a 32-bit value (the finalizer of MurmurHash3)."""
    value ^= salt & 0xFFFFFFFF
    value = (value ^ value >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    value = (value ^ value >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return value ^ value >> 16
