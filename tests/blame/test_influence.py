"""Scores from products, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from harness.blame.influence import Influence, n_top, ranking
from harness.blame.trained import TrainedRow
from harness.errors import HarnessError

PRODUCTS = np.array([[2, -6], [-1, 3], [0, 0], [1, 1]], np.float32)


def influence(products: np.ndarray = PRODUCTS) -> Influence:
    rows = [TrainedRow(n, f"train.jsonl:{n + 1} turn 1", "ask", "tell") for n in range(4)]
    losses = np.arange(4, dtype=np.float32)
    return Influence(rows, ("a", "b"), products, losses, "bot@0123456789ab", "there", True)


def test_what_a_row_helped_by_accident_does_not_count() -> None:
    """A signed mean would put the first row last: (2 − 6)/2."""
    np.testing.assert_allclose(influence().scores(["a", "b"]), [1, 1.5, 0, 1])
    np.testing.assert_allclose(influence().scores(["a"]), [2, 0, 0, 1])
    np.testing.assert_allclose(influence().scores(["a", "a"]), [2, 0, 0, 1])


def test_a_ranking_says_how_far_above_the_mean_a_row_is() -> None:
    first, second, third = influence().ranked(["a", "b"], 3)
    assert [each.row.place for each in (first, second, third)] == [1, 0, 3]  # of equals the first
    assert (first.rank, first.score, first.loss) == (1, 1.5, 1.0)
    assert first.relative == pytest.approx(1.5 / 0.875)


def test_how_concentrated_the_blame_is() -> None:
    assert influence().share_at_top(["a", "b"]) == pytest.approx(1.5 / 3.5)  # one row of four
    nothing = influence(-abs(PRODUCTS))
    assert nothing.share_at_top(["a"]) == 0
    assert [each.relative for each in nothing.ranked(["a"], 2)] == [0, 0]
    assert (n_top(1500), n_top(9), n_top(1)) == (150, 1, 1)
    assert ranking([1, 3, 3]).tolist() == [1, 2, 0]


def test_an_item_that_was_not_measured_is_named() -> None:
    with pytest.raises(HarnessError, match="item 'c' was not measured: accepted: a, b"):
        influence().scores(["c"])
