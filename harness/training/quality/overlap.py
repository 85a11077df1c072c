"""Held-out prompts that the training data also holds, found while examples pass by.

Equal prompts by normalised text, contained ones by shared word 8-grams. An 8-gram of more than
ten examples is boilerplate and proves nothing (so Brown et al. 2020, appendix C, for GPT-3's
13-grams). Knows nothing of files or of what is done about an overlap.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from harness.training.quality.normalise import prompt_of, same_prompt, words
from harness.training.reading.example import Example
from harness.types import Item

GRAM: Final = 8
MOST_EXAMPLES: Final = 10
CONTAINED: Final = 0.8
_LONG: Final = 13
"""8-grams (20 words) from which a part is enough. A shorter prompt must be held whole: where it
is one of a template, another number at its end leaves most of its 8-grams equal."""
_RARE: Final = 0.5
"""Share of an item's 8-grams that must be no boilerplate for the others to be left out."""
_SHOWN = 5


class Level(IntEnum):
    """How much of an item the training data holds; the higher, the worse."""

    TOUCHING = 1
    """Shares one 8-gram of the prompt, or most of the reference, with an example."""
    CONTAINED = 2
    """Most of the prompt's 8-grams are in one example."""
    EQUAL = 3
    """The prompt is an example's prompt."""


class Match(NamedTuple):
    """One held-out item and the example that holds the most of it."""

    label: str
    """Evalset the item is of."""
    item_id: str
    level: Level
    source: str
    share: float
    """Share of the prompt's 8-grams in that example; 1 where the prompts are equal."""
    prompt: str


class OverlapReport(NamedTuple):
    """Counts of items, each under its highest level."""

    n_items: int
    n_equal: int
    n_contained: int
    n_touching: int
    examples: frozenset[int]
    """Indices of the examples that an item is equal to or contained in."""
    items: frozenset[int]
    """Places of those items."""
    shown: tuple[Match, ...]
    """The worst first."""


class _Found(NamedTuple):
    level: Level
    share: float
    source: str


class _Entry(NamedTuple):
    label: str
    item_id: str
    prompt: str
    grams: frozenset[str]
    answer_grams: frozenset[str]


class Overlap:
    """The items of all evalsets beside the examples of the training data."""

    def __init__(self, items: Iterable[tuple[str, Item]]) -> None:
        """`items`: label of the evalset, and one of its items."""
        self._entries = [_entry(label, item) for label, item in items]
        self._equal: dict[str, list[int]] = defaultdict(list)
        held = Counter(gram for each in self._entries for gram in each.grams | each.answer_grams)
        self._by_rarest: dict[str, list[int]] = defaultdict(list)
        for number, entry in enumerate(self._entries):
            self._equal[same_prompt(entry.prompt)].append(number)
            if entry.grams:
                rarest = min(entry.grams, key=lambda gram: (held[gram], gram))
                self._by_rarest[rarest].append(number)
        self._held = frozenset(held)
        self._seen: dict[str, list[tuple[int, str]] | None] = {}
        self._found: dict[int, _Found] = {}
        self._examples: set[int] = set()

    def add(self, index: int, example: Example) -> None:
        for prompt in prompts_of(example):
            for number in self._equal.get(same_prompt(prompt), ()):
                self._note(number, Level.EQUAL, 1.0, index, example.source)
        if not self._held:
            return
        shared = {gram for text in _texts(example) for gram in _grams(text) if gram in self._held}
        for gram in shared:
            for number in self._by_rarest.get(gram, ()):
                if self._entries[number].grams <= shared:
                    self._note(number, Level.CONTAINED, 1.0, index, example.source)
            self._see(gram, index, example.source)

    def result(self) -> OverlapReport:
        for number, entry in enumerate(self._entries):
            self._judge(number, entry)
        counts = dict.fromkeys(Level, 0)
        for found in self._found.values():
            counts[found.level] += 1
        worst = sorted(
            self._found, key=lambda each: (-self._found[each].level, -self._found[each].share, each)
        )
        return OverlapReport(
            n_items=len(self._entries),
            n_equal=counts[Level.EQUAL],
            n_contained=counts[Level.CONTAINED],
            n_touching=counts[Level.TOUCHING],
            examples=frozenset(self._examples),
            items=frozenset(n for n, each in self._found.items() if each.level >= Level.CONTAINED),
            shown=tuple(self._match(each) for each in worst[:_SHOWN]),
        )

    def _see(self, gram: str, index: int, source: str) -> None:
        """Remember which examples have a gram, until there are too many."""
        seen = self._seen.setdefault(gram, [])
        if seen is None:
            return
        seen.append((index, source))
        if len(seen) > MOST_EXAMPLES:
            self._seen[gram] = None

    def _judge(self, number: int, entry: _Entry) -> None:
        """Levels that need to know which grams are boilerplate."""
        for index, (source, share) in self._shares(entry.grams):
            most = share >= CONTAINED and len(entry.grams) >= _LONG
            level = Level.CONTAINED if most else Level.TOUCHING
            self._note(number, level, share, index, source)
        for index, (source, share) in self._shares(entry.answer_grams):
            if share >= CONTAINED:
                self._note(number, Level.TOUCHING, share, index, source)

    def _shares(self, grams: frozenset[str]) -> Iterator[tuple[int, tuple[str, float]]]:
        """Examples that have some of the grams, with the share they have."""
        rare = [gram for gram in grams if self._seen.get(gram, []) is not None]
        counts: dict[int, int] = defaultdict(int)
        sources: dict[int, str] = {}
        for gram in rare:
            for index, source in self._seen.get(gram) or ():
                counts[index] += 1
                sources[index] = source
        # Where most of a prompt is boilerplate, the little else says nothing about the whole.
        n = len(rare) if len(rare) >= _RARE * len(grams) else len(grams)
        for index, count in counts.items():
            yield index, (sources[index], count / n)

    def _note(self, number: int, level: Level, share: float, index: int, source: str) -> None:
        if level >= Level.CONTAINED:
            self._examples.add(index)
        before = self._found.get(number)
        if before is None or (before.level, before.share) < (level, share):
            self._found[number] = _Found(level, share, source)

    def _match(self, number: int) -> Match:
        entry, found = self._entries[number], self._found[number]
        return Match(
            entry.label, entry.item_id, found.level, found.source, found.share, entry.prompt
        )


def _entry(label: str, item: Item) -> _Entry:
    prompt = "\n\n".join(each.content for each in item.messages if each.role == "user")
    return _Entry(
        label, item.id, prompt, frozenset(_grams(prompt)), frozenset(_grams(item.reference or ""))
    )


def prompts_of(example: Example) -> set[str]:
    """The whole prompt, and what each turn of a longer chat asks."""
    return {prompt_of(example)} | {each.content for each in example.messages if each.role == "user"}


def _texts(example: Example) -> Iterator[str]:
    for message in example.messages:
        yield message.content
    if example.rejected is not None:
        yield example.rejected.content


def _grams(text: str) -> Iterator[str]:
    found = words(text)
    for start in range(len(found) - GRAM + 1):
        yield " ".join(found[start : start + GRAM])
