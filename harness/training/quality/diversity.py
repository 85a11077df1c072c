"""How varied the answers are: lengths, openings, endings, two-word sequences.

A model that sees one opening in most answers learns the opening before the task. Knows nothing of
files or tokens.
"""

from __future__ import annotations

import random
from array import array
from collections import Counter
from itertools import pairwise
from typing import Final, NamedTuple

from harness.training.quality.normalise import prompt_of, words
from harness.training.reading.example import Example

WARN_SHARE: Final = 0.1
"""Share of answers with one opening or ending from which style overfitting is warned of: in nine
real files of mixed tasks the commonest has 8 % at most, in the five of one persona, one kind of
dialogue or one game 13 to 50 % (docs/data.md)."""
_FEWEST: Final = 20
"""Answers below which a share says nothing."""
_PHRASE: Final = 3
_QUANTILES: Final = (0.0, 0.1, 0.5, 0.9, 1.0)
_MOST_PHRASES: Final = 200_000
_SAMPLE: Final = 1_000
_SAMPLE_WORDS: Final = 200
_SHOWN = 5
_BANDS: Final = (
    (1_000, "fewer than 1,000 examples: the quality of each counts, so read them all"),
    (10_000, "1,000 to 10,000 examples: coverage counts, so look for tasks that have few"),
    (100_000, "10,000 to 100,000 examples: drop duplicates and balance the instruction types"),
)
_MOST = "more than 100,000 examples: filter defects and drop near duplicates before adding more"


class Lengths(NamedTuple):
    """Words; in scripts without spaces, characters."""

    minimum: int
    tenth: int
    median: int
    ninetieth: int
    maximum: int


class Phrase(NamedTuple):
    """An opening or ending of answers."""

    text: str
    n: int
    share: float
    """Of the answers that are long enough to have one."""


class DiversityReport(NamedTuple):
    """Of every last answer and its prompt."""

    n_examples: int
    prompt_words: Lengths
    answer_words: Lengths
    openings: tuple[Phrase, ...]
    """The commonest first three words, commonest first."""
    endings: tuple[Phrase, ...]
    """The commonest last three words."""
    distinct_2: float | None
    """Distinct two-word sequences over all of them (Li et al. 2016), in at most 200 words of each
    of at most 1,000 answers, so that files of different sizes compare. None without any."""
    warnings: tuple[str, ...]


class Diversity:
    """Measures while examples pass by; eight bytes an example and a bounded table of phrases."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(f"diversity {seed}")
        self._prompts, self._answers = array("I"), array("I")
        self._openings, self._endings = _Commonest(), _Commonest()
        self._sample: list[list[str]] = []

    def add(self, index: int, example: Example) -> None:
        answer = words(example.messages[-1].content)
        self._prompts.append(len(words(prompt_of(example))))
        self._answers.append(len(answer))
        if len(answer) > _PHRASE:
            self._openings.add(tuple(answer[:_PHRASE]))
            self._endings.add(tuple(answer[-_PHRASE:]))
        self._keep(answer[:_SAMPLE_WORDS])

    def result(self) -> DiversityReport:
        openings, endings = self._openings.shares(), self._endings.shares()
        return DiversityReport(
            n_examples=len(self._answers),
            prompt_words=_lengths(self._prompts),
            answer_words=_lengths(self._answers),
            openings=openings,
            endings=endings,
            distinct_2=self._distinct(),
            warnings=(
                *_warnings("begin", openings, self._openings.n),
                *_warnings("end", endings, self._endings.n),
            ),
        )

    def _keep(self, answer: list[str]) -> None:
        """A uniform sample of the answers so far (reservoir sampling)."""
        if len(self._sample) < _SAMPLE:
            self._sample.append(answer)
        elif (place := self._random.randrange(len(self._answers))) < _SAMPLE:
            self._sample[place] = answer

    def _distinct(self) -> float | None:
        pairs = [pair for answer in self._sample for pair in pairwise(answer)]
        return len(set(pairs)) / len(pairs) if pairs else None


def advice(n_examples: int) -> str:
    """What matters most for a data set of that size."""
    return next((text for most, text in _BANDS if n_examples < most), _MOST)


class _Commonest:
    """Counts of phrases in bounded memory (lossy counting, Manku and Motwani 2002).

    A phrase that is dropped had at most one occurrence in _MOST_PHRASES, so the common ones stay.
    """

    def __init__(self) -> None:
        self.n = 0
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._floor = 0

    def add(self, phrase: tuple[str, ...]) -> None:
        self.n += 1
        self._counts[phrase] += 1
        while len(self._counts) > _MOST_PHRASES:
            self._floor += 1
            self._counts = Counter({k: n for k, n in self._counts.items() if n > self._floor})

    def shares(self) -> tuple[Phrase, ...]:
        ranked = sorted(self._counts.items(), key=lambda each: (-each[1], each[0]))[:_SHOWN]
        return tuple(Phrase(" ".join(phrase), n, n / self.n) for phrase, n in ranked)


def _lengths(values: array[int]) -> Lengths:
    ordered = sorted(values) or [0]
    return Lengths(*(ordered[round(part * (len(ordered) - 1))] for part in _QUANTILES))


def _warnings(verb: str, phrases: tuple[Phrase, ...], n: int) -> list[str]:
    if n < _FEWEST or phrases[0].share < WARN_SHARE:
        return []
    common = phrases[0]
    return [
        f"{common.share:.0%} of the answers {verb} with {common.text!r}: the model will learn this "
        "style with the tasks; vary it unless it is wanted"
    ]
