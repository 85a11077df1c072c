"""Texts that are alike: TF-IDF vectors, the nearest of many, groups among a few thousand.

Weights as in scikit-learn's TfidfVectorizer with `sublinear_tf`: 1 + ln tf, times the smoothed
inverse document frequency ln((1 + n) / (1 + df)) + 1, vectors of length 1, so that a product is a
cosine. Knows nothing of items, rows or scores.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import log
from typing import TYPE_CHECKING, Any, Final

from harness.training.quality.normalise import words

if TYPE_CHECKING:
    from numpy.typing import NDArray

THRESHOLD: Final = 0.2
"""Mean cosine between two groups from which they are one."""
BLOCK: Final = 2000
"""Texts that are compared with each other at once; 16 MB."""
_LONGEST: Final = 20_000
"""Characters of a text that are looked at."""
_UNSPACED: Final = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u9fff]"
)


def terms(text: str) -> Iterator[str]:
    """What a text is compared by: its normalised words; where the script has no spaces between
    words, its pairs of neighbouring characters."""
    found = words(text[:_LONGEST])
    spaced = [len(each) > 1 or not _UNSPACED.match(each) for each in found]
    yield from (each for each, is_word in zip(found, spaced, strict=True) if is_word)
    for (one, is_word), (other, is_next) in pairwise(zip(found, spaced, strict=True)):
        if not is_word and not is_next:
            yield one + other


class Texts:
    """Texts as vectors, kept by term: for each the texts that have it, and its weights there."""

    def __init__(self, texts: Iterable[str]) -> None:
        import numpy as np

        counts = [Counter(terms(text)) for text in texts]
        self.vocabulary: dict[str, int] = {}
        """Term → its number, by first appearance."""
        ids = [
            [self.vocabulary.setdefault(term, len(self.vocabulary)) for term in each]
            for each in counts
        ]
        self._n = len(counts)
        sizes = [len(each) for each in ids]
        self._terms = np.fromiter((i for each in ids for i in each), np.int32, sum(sizes))
        self._texts = np.repeat(np.arange(self._n, dtype=np.int32), sizes)
        frequency = np.bincount(self._terms, minlength=len(self.vocabulary))
        self._idf = np.log((1 + self._n) / (1 + frequency)) + 1
        tf = np.fromiter((1 + log(n) for each in counts for n in each.values()), float)
        raw = tf * self._idf[self._terms]
        norms = np.sqrt(np.bincount(self._texts, weights=raw**2, minlength=self._n))
        self._weights = (raw / norms[self._texts]).astype(np.float32)
        self._order = np.argsort(self._terms, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(frequency)])

    def __len__(self) -> int:
        return self._n

    def similarity(self, texts: Iterable[str]) -> NDArray[Any]:
        """Mean cosine of each of the fitted texts to these: float32, (n,). Terms that no fitted
        text has count as if one had."""
        import numpy as np

        total, n = np.zeros(self._n, np.float32), 0
        for n, text in enumerate(texts, 1):  # noqa: B007 - the count is wanted
            total += self._products(self._vector(text))
        return total / np.float32(max(n, 1))

    def nearest(self, text: str, n: int) -> list[tuple[int, float]]:
        """The `n` texts most like this one and their cosines, the nearest first."""
        return self.nearest_to([text], n)

    def nearest_to(self, texts: Iterable[str], n: int) -> list[tuple[int, float]]:
        """As `nearest`, by the mean cosine to several."""
        import numpy as np

        found = np.round(self.similarity(texts), 6)
        order = np.argsort(-found, kind="stable")[:n]
        return [(int(i), float(found[i])) for i in order if found[i] > 0]

    def mean(self, places: Sequence[int]) -> NDArray[Any]:
        """Mean weight of every term in some of the texts: (n_terms,)."""
        import numpy as np

        chosen = self._entries(places)
        sums = np.bincount(
            self._terms[chosen], weights=self._weights[chosen], minlength=len(self.vocabulary)
        )
        return sums / max(len(places), 1)

    def count(self, places: Sequence[int]) -> NDArray[Any]:
        """How many of some of the texts have each term: (n_terms,)."""
        import numpy as np

        return np.bincount(self._terms[self._entries(places)], minlength=len(self.vocabulary))

    def _entries(self, places: Sequence[int]) -> NDArray[Any]:
        import numpy as np

        inside = np.zeros(self._n, bool)
        inside[list(places)] = True
        return inside[self._texts]

    def groups(self, places: Sequence[int], threshold: float = THRESHOLD) -> list[list[int]]:
        """The texts at `places` by likeness, each group in the order given, groups by their first.

        Average linkage within a block of the first BLOCK; what is left joins the group that it is
        as near to, the rest is the next block.
        """

        found: list[list[int]] = []
        left = list(places)
        while left:
            block, left = left[:BLOCK], left[BLOCK:]
            made = [[block[i] for i in each] for each in linked(self._cosines(block), threshold)]
            if left:
                left = self._join(left, block, made, threshold)
            found += made
        order = {place: i for i, place in enumerate(places)}
        ordered = [sorted(each, key=order.__getitem__) for each in found]
        return sorted(ordered, key=lambda each: order[each[0]])

    def _join(
        self, left: Sequence[int], block: Sequence[int], made: list[list[int]], threshold: float
    ) -> list[int]:
        """Put each text into the group of the block that it is nearest to; returns those that are
        near to none."""
        import numpy as np

        group_of = {place: number for number, each in enumerate(made) for place in each}
        numbers = np.array([group_of[place] for place in block])
        sizes = np.bincount(numbers)
        added: list[list[int]] = [[] for _ in made]
        apart: list[int] = []
        for place in left:
            start, end = np.searchsorted(self._texts, [place, place + 1])
            own = zip(self._terms[start:end], self._weights[start:end], strict=True)
            near = np.bincount(numbers, weights=self._products(own)[list(block)]) / sizes
            best = int(near.argmax())
            (added[best] if near[best] >= threshold else apart).append(place)
        for group, more in zip(made, added, strict=True):
            group += more
        return apart

    def _products(self, vector: Iterable[tuple[int, float]]) -> NDArray[Any]:
        """Of a vector, by term, with every text: (n,)."""
        import numpy as np

        total = np.zeros(self._n, np.float32)
        for number, weight in vector:
            places, weights = self._having(number)
            total[places] += np.float32(weight) * weights
        return total

    def _cosines(self, places: Sequence[int]) -> NDArray[Any]:
        """Of all pairs: float32, (n, n), rounded so that the order of sums does not matter."""
        import numpy as np

        row = np.full(self._n, -1)
        row[list(places)] = np.arange(len(places))
        found = np.zeros((len(places), len(places)), np.float32)
        for number in np.unique(self._terms[row[self._texts] >= 0]):
            having, weights = self._having(number)
            inside = row[having] >= 0
            rows = row[having[inside]]
            if len(rows) > 1:
                found[np.ix_(rows, rows)] += np.outer(weights[inside], weights[inside])
        return np.round(found, 5)

    def _having(self, number: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """The texts that have a term, and its weight in each."""
        entries = self._order[self._starts[number] : self._starts[number + 1]]
        return self._texts[entries], self._weights[entries]

    def _vector(self, text: str) -> list[tuple[int, float]]:
        counts = Counter(terms(text))
        unseen = log(1 + self._n) + 1
        numbers = [self.vocabulary.get(term) for term in counts]
        raw = [
            (1 + log(n)) * (unseen if number is None else float(self._idf[number]))
            for n, number in zip(counts.values(), numbers, strict=True)
        ]
        norm = sum(each**2 for each in raw) ** 0.5
        return [
            (number, weight / norm)
            for number, weight in zip(numbers, raw, strict=True)
            if number is not None
        ]


def linked(similarity: NDArray[Any], threshold: float) -> list[list[int]]:
    """Groups whose mean similarity to each other is below the threshold, by average linkage along
    chains of nearest neighbours (Murtagh 1983; as SciPy's `linkage`): O(n²) time, in the matrix
    that is given, which is changed. Of equally near ones the first is taken."""
    import numpy as np

    members = [[i] for i in range(len(similarity))]
    np.fill_diagonal(similarity, -1)
    alive = np.ones(len(similarity), bool)
    done: list[list[int]] = []
    chain: list[int] = []
    while alive.any():
        if not chain:
            chain = [int(alive.argmax())]
        top = chain[-1]
        near = int(similarity[top].argmax())
        if len(chain) > 1 and similarity[top, chain[-2]] >= similarity[top, near]:
            near = chain[-2]
        if similarity[top, near] < threshold:  # nor will it ever be nearer to what others become
            chain.pop()
            done.append(members[top])
            _retire(similarity, alive, top)
        elif len(chain) > 1 and near == chain[-2]:
            del chain[-2:]
            _merge(similarity, members, near, top)
            _retire(similarity, alive, top)
        else:
            chain.append(near)
    return sorted(map(sorted, done))


def _merge(similarity: NDArray[Any], members: list[list[int]], kept: int, gone: int) -> None:
    one, other = len(members[kept]), len(members[gone])
    mean = (one * similarity[kept] + other * similarity[gone]) / (one + other)
    similarity[kept] = similarity[:, kept] = mean
    similarity[kept, kept] = -1
    members[kept] = members[kept] + members[gone]


def _retire(similarity: NDArray[Any], alive: NDArray[Any], place: int) -> None:
    alive[place] = False
    similarity[place] = similarity[:, place] = -1
