"""Which rows pull towards the wrong answers, from products of gradients. Pure.

A row's score is the mean over the items asked about of max(0, product): a wrong row helps some
items by accident, and a signed sum would let that cancel what it did to others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.blame.trained import TrainedRow
from harness.errors import HarnessError, nearest

Array = NDArray[np.float32]
TOP_SHARE = 0.1


class BlamedRow(NamedTuple):
    """One row of a ranking."""

    rank: int
    """From 1."""
    row: TrainedRow
    score: float
    relative: float
    """The score as a multiple of the mean over all rows."""
    loss: float
    """Mean loss over its answer's tokens where the gradients were taken, natural log."""


class Influence(NamedTuple):
    """Every row of a training beside every item that regressed."""

    rows: Sequence[TrainedRow]
    items: tuple[str, ...]
    """Ids of the regressed items, worst first: the columns."""
    products: Array
    """(rows, items): how far a step on the row moves the model towards the wrong answer."""
    losses: Array
    """(rows,)"""
    point: str
    """The version at which gradients were taken, or "base"."""
    why_there: str
    """In words."""
    exact: bool
    """False: gradients were projected."""

    def scores(self, item_ids: Iterable[str]) -> Array:
        """(rows,): mean positive product over these items. Raises HarnessError for an item that
        is no column."""
        ids = list(dict.fromkeys(item_ids))
        for each in ids:
            if each not in self.items:
                raise HarnessError(f"item {each!r} was not measured: {nearest(each, self.items)}")
        if not ids:
            return np.zeros(len(self.products), np.float32)
        places = [self.items.index(each) for each in ids]
        found: Array = np.maximum(self.products[:, places], 0).mean(axis=1, dtype=np.float32)
        return found

    def ranked(self, item_ids: Iterable[str], n: int) -> list[BlamedRow]:
        """The `n` rows with the highest scores; of equal ones the first."""
        scores = self.scores(item_ids)
        mean = float(scores.mean()) if len(scores) else 0.0
        return [
            BlamedRow(
                rank,
                self.rows[place],
                float(scores[place]),
                float(scores[place]) / mean if mean else 0.0,
                float(self.losses[place]),
            )
            for rank, place in enumerate(ranking(scores)[:n].tolist(), 1)
        ]

    def share_at_top(self, item_ids: Iterable[str]) -> float:
        """What part of all blame the tenth of the rows with most of it has; 0 where there is
        none."""
        scores = np.sort(self.scores(item_ids).astype(np.float64))[::-1]
        total = scores.sum()
        return float(scores[: n_top(len(scores))].sum() / total) if total else 0.0


def ranking(scores: Any) -> NDArray[np.intp]:
    """Places of the rows, the highest score first."""
    return np.argsort(-np.asarray(scores), kind="stable")


def n_top(n_rows: int) -> int:
    """How many rows are a tenth of them, at least one."""
    return max(1, int(n_rows * TOP_SHARE))
