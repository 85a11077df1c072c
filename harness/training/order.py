"""The order in which training visits the rows: random, epoch after epoch, little padding.

Pure: from lengths and a seed. Rows of like length share a batch, batches come in random order.
Every batch is full, so each optimizer step weighs the same and the number of processes that share
a batch changes nothing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from harness.errors import RecipeError
from harness.recipe import Train

WINDOW = 8
"""Batches sorted together by length: wide enough to spare padding, narrow enough to stay random."""
_KTO_LEAST = 2
"""KTO compares the rows of a batch with one another, so one alone teaches nothing."""


def count_visits(train: Train, n_rows: int) -> int:
    """How many rows training visits in all, repeats counted. The last batch is filled up with
    rows that come round once more."""
    if train.max_steps is not None:
        return train.max_steps * train.batch * train.grad_accum
    return math.ceil(math.ceil(train.epochs * n_rows) / train.batch) * train.batch


def count_steps(train: Train, n_rows: int) -> int:
    """Optimizer steps of the whole training."""
    return math.ceil(count_visits(train, n_rows) / (train.batch * train.grad_accum))


def share(train: Train, processes: int) -> int:
    """Rows of a batch that each process takes. Raises RecipeError where they would differ."""
    each, rest = divmod(train.batch, processes)
    if rest:
        down, up = each * processes, (each + 1) * processes
        raise RecipeError(
            f"train.batch = {train.batch} cannot be divided among compute.processes = {processes}",
            hint=f"set train.batch to {f'{down} or ' if down else ''}{up}",
        )
    if train.objective == "kto" and each < _KTO_LEAST:
        raise RecipeError(
            f"train.batch = {train.batch} on compute.processes = {processes} gives each process "
            f"{each} row; KTO needs at least {_KTO_LEAST}",
            hint=f"set train.batch to {_KTO_LEAST * processes} or more",
        )
    return each


def arrange(lengths: Sequence[int], n_visits: int, batch: int, seed: int) -> list[int]:
    """Row indices in visiting order: every row once before any row again; each `batch` in a row
    is one batch. `n_visits` is a multiple of `batch`."""
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
        rng.shuffle(batches)
        arranged += [i for each in batches for i in each]
    return arranged
