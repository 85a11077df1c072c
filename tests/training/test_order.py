"""The visiting order is complete, random, repeatable and saves padding."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import RecipeError
from harness.recipe import Train
from harness.training.order import arrange, count_steps, count_visits, share

LENGTHS = [10 + (i * 37) % 90 for i in range(200)]


@given(st.integers(1, 60), st.integers(1, 25), st.integers(1, 9), st.integers(0, 5))
def test_every_row_equally_often(n_rows: int, n_batches: int, batch: int, seed: int) -> None:
    lengths = [(i * 7) % 11 for i in range(n_rows)]
    n_visits = n_batches * batch
    order = arrange(lengths, n_visits, batch, seed)
    counts = Counter(order)
    assert len(order) == n_visits
    assert set(order) <= set(range(n_rows))
    assert max(counts.values()) - min(counts[i] for i in range(n_rows)) <= 1


def test_the_seed_decides() -> None:
    assert arrange(LENGTHS, 400, 16, 0) == arrange(LENGTHS, 400, 16, 0)
    assert arrange(LENGTHS, 400, 16, 0) != arrange(LENGTHS, 400, 16, 1)


def padding(order: list[int], batch: int) -> int:
    batches = [order[i : i + batch] for i in range(0, len(order), batch)]
    longest = [max(LENGTHS[i] for i in each) for each in batches]
    return sum(long * len(each) for long, each in zip(longest, batches, strict=True)) - sum(
        LENGTHS[i] for i in order
    )


def test_less_than_half_the_padding_of_file_order() -> None:
    order = arrange(LENGTHS, len(LENGTHS), 16, 0)
    assert padding(order, 16) < padding(list(range(len(LENGTHS))), 16) / 2


def test_batches_are_not_sorted_by_length() -> None:
    order = arrange(LENGTHS, 128, 16, 0)
    means = [sum(LENGTHS[i] for i in order[k : k + 16]) for k in range(0, 128, 16)]
    assert means != sorted(means)
    assert means != sorted(means, reverse=True)


@pytest.mark.parametrize(
    ("train", "n_rows", "visits", "steps"),
    [
        (Train(epochs=1, batch=16), 96, 96, 6),
        (Train(epochs=1, batch=16), 100, 112, 7),
        (Train(epochs=2, batch=16, grad_accum=2), 100, 208, 7),
        (Train(epochs=0.5, batch=16), 100, 64, 4),
        (Train(epochs=1, batch=16), 3, 16, 1),
        (Train(max_steps=5, batch=4, grad_accum=2), 3, 40, 5),
    ],
)
def test_counts(train: Train, n_rows: int, visits: int, steps: int) -> None:
    assert (count_visits(train, n_rows), count_steps(train, n_rows)) == (visits, steps)


def test_a_batch_is_shared_evenly_or_refused() -> None:
    assert [share(Train(batch=12), n) for n in (1, 2, 3, 12)] == [12, 6, 4, 1]
    with pytest.raises(RecipeError, match=r"train.batch = 12 .* compute.processes = 5") as caught:
        share(Train(batch=12), 5)
    assert caught.value.hint == "set train.batch to 10 or 15"
    with pytest.raises(RecipeError, match=r"train.batch = 1 "):
        share(Train(batch=1), 2)


def test_kto_has_rows_to_compare_in_every_process() -> None:
    assert share(Train(objective="kto", batch=4), 2) == 2
    with pytest.raises(RecipeError, match="gives each process 1 row; KTO needs at least 2"):
        share(Train(objective="kto", batch=4), 4)
