"""Held-out items among the lines of a worklist, word for word or with light edits.

Those who fill in a worklist have seen what failed, so that a copy of it is a temptation, and is
refused where it would be a coincidence elsewhere. Words weigh by how few items have them, so that
another example of the same template is none. Knows nothing of files.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from math import log
from typing import Final, NamedTuple

from harness.training.quality.normalise import normalise, words
from harness.training.quality.overlap import Level, Match, Overlap, prompts_of
from harness.training.reading.example import Example
from harness.types import Item

ALIKE: Final = (0.6, 0.87)
"""Weighted Jaccard similarity of two prompts' words from which one is the other, edited: between
these, as ABOVE says. One word that is replaced in ten leaves about 0.8; in a world of templates
another example keeps as much."""
ABOVE: Final = 0.15
"""How much more alike than the evalsets' own prompts are, 95 of 100 of them, to their nearest."""
ANSWERED: Final = 0.2
"""How much less alike they need be where the answer is the item's reference too."""
HELD: Final = 0.97
"""Share of a prompt's weighted words from which a longer one holds it."""
LONGER: Final = 3
"""Times the weight of an item's prompt up to which one that holds all its words is its wrapping."""
SHORT: Final = 5
"""Words of a prompt, below which it must be equal; and of a reference, to tell anything."""
_SAMPLED: Final = 500
"""Items whose nearest are looked for."""


class Leak(NamedTuple):
    """One line and the held-out item in it."""

    source: str
    label: str
    """Evalset the item is of."""
    item_id: str
    how: str


class LeakReport(NamedTuple):
    n_lines: int
    """Lines that hold an item."""
    shown: tuple[Leak, ...]
    """The surest first."""


class Leaks:
    """The items of all evalsets beside the lines of worklists."""

    def __init__(self, items: Sequence[tuple[str, Item]]) -> None:
        """`items`: label of the evalset, and one of its items."""
        self._items = items
        self._examples: list[Example] = []

    def add(self, example: Example) -> None:
        self._examples.append(example)

    def result(self) -> LeakReport:
        if not self._examples or not self._items:
            return LeakReport(0, ())
        overlap = Overlap(self._items)
        for index, example in enumerate(self._examples):
            overlap.add(index, example)
        report = overlap.result()
        exact = [_exact(match) for match in report.shown if match.level >= Level.CONTAINED]
        close = Prompts([item for _, item in self._items])
        near = []
        for index, example in enumerate(self._examples):
            found = None if index in report.examples else close.find(example)
            if found:
                label, item = self._items[found[0]]
                near.append(Leak(example.source, label, item.id, found[1]))
        return LeakReport(len(report.examples) + len(near), (*exact, *near))


def _exact(match: Match) -> Leak:
    how = "its prompt" if match.level == Level.EQUAL else "its prompt inside other text"
    return Leak(match.source, match.label, match.item_id, how)


class Prompts:
    """The prompts of items as weighted words, kept by word."""

    def __init__(self, items: Sequence[Item]) -> None:
        counts = [Counter(words(_prompt(item))) for item in items]
        self._n = len(items)
        frequency = Counter(word for each in counts for word in each)
        self._idf = {word: self._weight(n) for word, n in frequency.items()}
        self._by_word: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for place, each in enumerate(counts):
            for word, n in each.items():
                self._by_word[word].append((place, n))
        self._weights = [sum(self._idf[word] * n for word, n in each.items()) for each in counts]
        self._sizes = [each.total() for each in counts]
        self._references = [frozenset(_references(item)) for item in items]
        self.alike = self._threshold(items)
        """Similarity from which a prompt is an item's, edited."""

    def _threshold(self, items: Sequence[Item]) -> float:
        sample = range(0, self._n, -(-self._n // _SAMPLED))
        nearest = sorted(
            max((each[1] for each in self._compared(_prompt(items[i])) if each[0] != i), default=0)
            for i in sample
        )
        usual = nearest[int(0.95 * (len(nearest) - 1))]
        return min(max(usual + ABOVE, ALIKE[0]), ALIKE[1])

    def _weight(self, frequency: int) -> float:
        return log((1 + self._n) / (1 + frequency)) + 1

    def find(self, example: Example) -> tuple[int, str] | None:
        """The place of the item that the example is most like, and in what."""
        answer = normalise(example.messages[-1].content)
        best: tuple[float, int, str] | None = None
        for prompt in prompts_of(example):
            for place, alike, held, longer in self._compared(prompt):
                if self._sizes[place] < SHORT:
                    continue
                how = ""
                if alike >= self.alike:
                    how = "its prompt with light edits"
                elif held >= HELD and longer <= LONGER:
                    how = "its prompt with words added"
                elif alike >= self.alike - ANSWERED and answer in self._references[place]:
                    how = "its reference after a prompt much like its own"
                if how and (best is None or (alike, -place) > (best[0], -best[1])):
                    best = alike, place, how
        return best and best[1:]

    def _compared(self, prompt: str) -> Iterator[tuple[int, float, float, float]]:
        """(item, weighted Jaccard similarity, share of the item that is held, the prompt's weight
        as a multiple of the item's) of all items that share a word."""
        counts = Counter(words(prompt))
        unseen = self._weight(0)
        whole = sum(self._idf.get(word, unseen) * n for word, n in counts.items())
        shared: dict[int, float] = defaultdict(float)
        for word, n in counts.items():
            weight = self._idf.get(word, unseen)
            for place, there in self._by_word.get(word, ()):
                shared[place] += weight * min(n, there)
        for place, weight in shared.items():
            own = self._weights[place]
            yield place, weight / (whole + own - weight), weight / own, whole / own


def _prompt(item: Item) -> str:
    return "\n\n".join(each.content for each in item.messages if each.role == "user")


def _references(item: Item) -> Iterator[str]:
    for each in (item.reference or "", *item.references):
        if len(words(each)) >= SHORT:
            yield normalise(each)
