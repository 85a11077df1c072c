"""Which examples are trained on: duplicates, overlap, held-out groups, then weights and shares.

Pure functions of a corpus, a recipe and its seed; the order they give is the order that is
recorded and trained. Knows nothing of files or of tokens, but for the length limit.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Collection, Sequence
from typing import NamedTuple

from harness.errors import DataError, RecipeError, nearest
from harness.recipe import Data, Source
from harness.training.gather import Corpus
from harness.training.rows import RowTable

_NAMED = 5


class Split(NamedTuple):
    """The examples of a corpus, by what becomes of them."""

    kept: array[int]
    """Indices of the examples to train on, in reading order."""
    held_out: array[int]
    n_repeats: int
    """Left out because an earlier example says the same (or nearly the same)."""
    n_overlapping: int
    """Left out because an evalset holds them."""


def hold_out(corpus: Corpus, data: Data) -> set[int]:
    """Examples of a random part of the prompts, and of whole instruction types. All examples of a
    prompt are on one side. Raises RecipeError for a type that no example has."""
    _require_kinds(corpus, data)
    groups = sorted(set(corpus.groups)) if data.holdout else []
    random.Random(f"holdout {data.seed}").shuffle(groups)
    apart = set(groups[: max(1, round(data.holdout * len(groups)))])
    unseen = {code for code, kind in enumerate(corpus.kinds) if kind in data.holdout_types}
    return {
        index
        for index in range(corpus.table.n_examples)
        if corpus.groups[index] in apart or corpus.kind_of[index] in unseen
    }


def split(
    corpus: Corpus,
    data: Data,
    *,
    near: Collection[int],
    overlapping: Collection[int],
    apart: Collection[int],
) -> Split:
    """`near`: near duplicates of an earlier example; `overlapping`: those an evalset holds. Both
    are left out, and so are exact repeats where `data.dedup` says so. `apart`: those held out.

    Raises DataError when nothing is left.
    """
    n = corpus.table.n_examples
    kept, held_out = array("q"), array("q")
    n_repeats = n_overlapping = 0
    for index in range(n):
        repeats = data.dedup != "none" and corpus.first_equal[index] >= 0
        if repeats or index in near:
            n_repeats += 1
        elif index in overlapping:
            n_overlapping += 1
        elif index in apart:
            held_out.append(index)
        else:
            kept.append(index)
    if not kept:
        raise DataError(
            f"nothing is left to train on: of {n} examples {n_repeats} repeat others, "
            f"{n_overlapping} are in an evalset, {len(held_out)} are held out",
            hint="lower data.holdout, or look at data.dedup, data.overlap and data.holdout_types",
        )
    return Split(kept, held_out, n_repeats, n_overlapping)


def mixture(corpus: Corpus, data: Data, kept: Sequence[int]) -> array[int]:
    """Example indices in training order: source after source, each with its weight or share.

    A weight takes whole repeats of the source's kept examples, then a random part in file order;
    a share is a part of the whole mixture.
    """
    by_source: list[list[int]] = [[] for _ in data.sources]
    for index in kept:
        by_source[corpus.source_of[index]].append(index)
    amounts = _amounts(data.sources, [len(each) for each in by_source])
    chosen = array("q")
    for number, (examples, amount) in enumerate(zip(by_source, amounts, strict=True)):
        chosen.extend(_take(examples, amount, f"source {number} {data.seed}"))
    return chosen


def fit(
    table: RowTable, examples: Sequence[int], limit: int, data: Data
) -> tuple[array[int], tuple[str, ...]]:
    """Rows of the examples that fit, and the sources of those that do not. Raises DataError for
    rows that are too long unless `data.overflow` is `drop`."""
    rows = array("q", (row for each in examples for row in table.rows_of(each)))
    long = [row for row in rows if table.length(row) > limit]
    if long and data.overflow == "error":
        named = ", ".join(f"{table.source(row)} ({table.length(row)})" for row in long[:_NAMED])
        more = f" and {len(long) - _NAMED} more" if len(long) > _NAMED else ""
        raise DataError(
            f"{len(long)} of {len(rows)} rows are longer than {limit} tokens "
            f"(data.max_length): {named}{more}",
            hint="raise data.max_length, shorten the rows, or set data.overflow to drop",
        )
    if len(long) == len(rows):
        raise DataError(
            f"all {len(rows)} rows are longer than {limit} tokens (data.max_length); the shortest "
            f"has {min(map(table.length, rows))}",
            hint="raise data.max_length",
        )
    kept = array("q", (row for row in rows if table.length(row) <= limit))
    return kept, tuple(table.source(row) for row in long)


def _require_kinds(corpus: Corpus, data: Data) -> None:
    for kind in data.holdout_types:
        if kind not in corpus.kinds:
            raise RecipeError(
                f"data.holdout_types: no example is of the type {kind!r}: "
                f"{nearest(kind, corpus.kinds)}"
            )


def _amounts(sources: Sequence[Source], sizes: Sequence[int]) -> list[float]:
    """How many examples of each source to take."""
    weighted = sum(
        each.weight * n for each, n in zip(sources, sizes, strict=True) if each.share is None
    )
    total = weighted / (1 - sum(each.share or 0 for each in sources))
    return [
        each.weight * n if each.share is None else each.share * total
        for each, n in zip(sources, sizes, strict=True)
    ]


def _take(examples: Sequence[int], amount: float, seed: str) -> list[int]:
    if not examples:
        return []
    repeats, rest = divmod(amount, len(examples))
    n_more = round(rest)
    if not repeats and not n_more:
        n_more = 1
    chosen = sorted(random.Random(seed).sample(range(len(examples)), n_more))
    return [*examples] * int(repeats) + [examples[i] for i in chosen]
