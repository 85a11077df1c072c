"""Two passes of a training's rows through the model: how large gradients are, then their products.

A row's number for an item is g_row · (g_item / √v), where v is the mean square of every
parameter's gradient over a sample of rows: parameters that every row moves say little of one. The
items' gradients are kept while rows go by; where those would not fit, both sides are scaled by
v^(−1/4) and sketched. Memory is the model, a batch of gradients, and either of these.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from typing import Any

from harness.blame.gradients import PerSequence
from harness.blame.kept import Kept
from harness.blame.point import Point
from harness.blame.sequences import Predicted, of_row
from harness.blame.sketch import SEED, CountSketch
from harness.blame.trained import TrainedRows
from harness.errors import EnvironmentFault
from harness.progress import Reporter

MOST_BYTES = 256 * 2**20
"""Of the items' gradients together, beyond which they are sketched; and of a batch of rows'."""
N_SUMS = 8192
"""Numbers of a sketch."""
N_SAMPLE = 512
"""Rows that the mean squares are taken over, where there are more."""
_MOST_ROWS, _MOST_TOKENS, _MOST_LOGITS = 16, 8192, 2**28
"""Of one batch; logits are a token's times the vocabulary, 1 GiB of float32."""
_LEAST = 1e-6
"""Added to √v, as a part of its mean: what no row moves divides nothing."""

Tensor = Any


class Passes:
    """One measurement, from the model to the numbers."""

    def __init__(
        self, job: dict[str, Any], point: Point, rows: TrainedRows, kept: Kept, reporter: Reporter
    ) -> None:
        self._rows, self._kept, self._reporter = rows, kept, reporter
        model, on_gpu = load(job, point)
        self._gradients = PerSequence(model, recompute=on_gpu)

    def measure(self, queries: Sequence[Predicted]) -> None:
        """Keep products and losses of all rows beside the queries; goes on where it was."""
        n_parameters = self._gradients.n_parameters
        exact = 4 * n_parameters * len(queries) <= MOST_BYTES
        self._kept.begin(n_parameters=n_parameters, exact=exact)
        scale = self._scale()
        items = self._items(queries, scale, exact)
        batches, n_columns = self._batches(range(len(self._rows))), len(queries) + 1
        n_done = self._kept.resume(batches, n_columns)
        n_before = sum(map(len, batches[:n_done]))
        self._reporter.stage("blame", total=len(self._rows), unit="rows")
        self._reporter.free(n_before, "measured before")
        self._reporter.advance(n_before)
        for found, losses in self._pass(batches[n_done:]):
            self._kept.append(_numbers(items(found), losses))
        how = "exact" if exact else f"projected to {N_SUMS} numbers"
        self._reporter.done(f"{len(self._rows)} rows beside {len(queries)} items, {how}")
        self._kept.finish(batches, n_columns)

    def _scale(self) -> Tensor:
        """1 / √v of every parameter."""
        import torch

        kept = self._kept.scale()
        if kept is None or len(kept) != self._gradients.n_parameters:
            kept = self._mean_squares()
            self._kept.keep_scale(kept)
        root = torch.from_numpy(kept).to(self._gradients.device).sqrt()
        return 1 / (root + _LEAST * root.mean() + torch.finfo(root.dtype).tiny)

    def _mean_squares(self) -> Any:
        n_rows = len(self._rows)
        sample = random.Random(SEED).sample(range(n_rows), min(n_rows, N_SAMPLE))
        places = sorted(sample)
        self._reporter.stage("scale", total=len(places), unit="rows")
        total: Any = 0.0
        for found, _ in self._pass(self._batches(places)):
            total = total + found.square().sum(0)
        n = self._gradients.n_parameters
        self._reporter.done(f"{len(places)} rows, {n:,} parameters of the LoRA")
        return (total / len(places)).cpu().numpy()

    def _items(self, queries: Sequence[Predicted], scale: Tensor, exact: bool) -> Any:
        """What turns rows' gradients into their products with the items'."""
        import torch

        one_by_one = (self._query(each) for each in queries)
        if exact:
            whole = torch.cat([found * scale for found in one_by_one])
            return lambda rows: rows @ whole.T
        sketch, half = CountSketch(len(scale), N_SUMS, scale.device), scale.sqrt()
        short = torch.cat([sketch(found * half) for found in one_by_one])
        return lambda rows: sketch(rows * half) @ short.T

    def _query(self, query: Predicted) -> Tensor:
        found, _ = self._gradients([query])
        _require_finite(found, "the wrong answer to an item")
        return found

    def _pass(self, batches: Sequence[Sequence[int]]) -> Iterator[tuple[Tensor, Tensor]]:
        """(gradients, losses) of the rows of each batch."""
        for batch in batches:
            found, losses = rows_gradients(self._gradients, [self._rows.line(n) for n in batch])
            _require_finite(found, f"{self._rows[batch[0]].source}, or a row of its batch")
            yield found, losses
            self._reporter.advance(len(batch))

    def _batches(self, places: Sequence[int]) -> list[list[int]]:
        """Rows of like length together; the order is always the same."""
        n_gradients = 1 + self._rows.has_pairs
        most = min(_MOST_ROWS, MOST_BYTES // (4 * self._gradients.n_parameters)) // n_gradients
        most_tokens = min(_MOST_TOKENS, _MOST_LOGITS // self._gradients.n_words)
        lengths = self._rows.lengths
        batches: list[list[int]] = []
        for place in sorted(places, key=lambda place: (lengths[place], place)):
            full = not batches or len(batches[-1]) >= most
            if full or (len(batches[-1]) + 1) * lengths[place] > most_tokens:
                batches.append([])
            batches[-1].append(place)
        return batches


def _require_finite(found: Tensor, what: str) -> None:
    if not found.isfinite().all():
        raise EnvironmentFault(
            f"{what}: its gradient is not finite",
            hint="base.dtype: float16 can overflow; train with bfloat16 or float32",
        )


def rows_gradients(gradients: PerSequence, rows: Sequence[dict[str, Any]]) -> tuple[Tensor, Tensor]:
    """(rows, parameters) and the mean loss of each row's answer."""
    import torch

    parts = [of_row(row) for row in rows]
    found, losses = gradients([each for part in parts for each in part])
    if len(found) == len(rows):
        return found, losses
    counts = torch.tensor([len(part) for part in parts], device=found.device)
    owners = torch.arange(len(rows), device=found.device).repeat_interleave(counts)
    firsts = counts.cumsum(0) - counts
    summed = found.new_zeros(len(rows), found.shape[1]).index_add_(0, owners, found)
    return summed, losses[firsts]


def load(job: dict[str, Any], point: Point) -> tuple[Any, bool]:
    """(model, whether on a GPU): the base as the training loaded it, with the LoRA at `point`."""
    # As in a training: waiting threads that spin take minutes where another process has the core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch
    from transformers.utils import logging

    from harness.training.process.models import load_model

    logging.disable_progress_bar()
    without_dropout = job["lora"] | {"dropout": 0.0}
    model, _ = load_model(job | {"parent_dir": str(point.adapter_dir), "lora": without_dropout})
    on_gpu = torch.cuda.is_available()
    if on_gpu and not job["quantize"]:
        model.to("cuda")
    if point.is_base:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if ".lora_B." in name:
                    parameter.zero_()
    return model.eval(), on_gpu


def _numbers(products: Tensor, losses: Tensor) -> Any:
    """What is kept of a batch."""
    import torch

    return torch.cat([products, losses[:, None]], 1).cpu().numpy()
