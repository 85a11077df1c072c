"""The order in which training visits the rows: random, epoch after epoch, little padding.

Pure: from lengths and a seed. Rows of like length share a batch, batches come in random order.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from harness.recipe import Train

WINDOW = 8
"""Batches sorted together by length: wide enough to spare padding, narrow enough to stay random."""


def count_visits(train: Train, n_rows: int) -> int:
    """How many rows training visits in all, repeats counted."""
    if train.max_steps is not None:
        return train.max_steps * train.batch * train.grad_accum
    return math.ceil(train.epochs * n_rows)


def count_steps(train: Train, n_rows: int) -> int:
    """Optimizer steps of the whole training."""
    return math.ceil(count_visits(train, n_rows) / (train.batch * train.grad_accum))


def arrange(lengths: Sequence[int], n_visits: int, batch: int, seed: int) -> list[int]:
    """Row indices in visiting order: every row once before any row again; each `batch` in a row
    is one batch, and only the last may be smaller."""
    rng = random.Random(f"order {seed}")
    stream: list[int] = []
    while len(stream) < n_visits:
        epoch = list(range(len(lengths)))
        rng.shuffle(epoch)
        stream += epoch
    del stream[n_visits:]
    arranged: list[int] = []
    for start in range(0, n_visits, WINDOW * batch):
        window = sorted(stream[start : start + WINDOW * batch], key=lambda i: lengths[i])
        batches = [window[i : i + batch] for i in range(0, len(window), batch)]
        short = batches.pop() if len(batches[-1]) < batch else []
        rng.shuffle(batches)
        arranged += [i for each in (*batches, short) for i in each]
    return arranged
