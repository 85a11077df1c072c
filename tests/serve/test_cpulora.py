"""The LoRA products against the plain formula, row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from serve.cpulora import _expand_slice, _shrink

RANK, WIDE, SLOTS = 4, 6, 3


def runs(adapters: list[int]) -> tuple[Any, Any, Any, int, int, int]:
    """vLLM's description of a batch in which run i has i % 3 + 1 rows of adapters[i]."""
    import torch

    lengths = torch.tensor([index % 3 + 1 for index in range(len(adapters))])
    starts = lengths.cumsum(0) - lengths
    rows = int(lengths.sum())
    return starts, lengths, torch.tensor(adapters), len(adapters), int(lengths.max()), rows


BATCHES = [[-1], [2], [0, -1, 1], [-1, 2, 0, 2], [0, 1, -1] * 5, [-1] * 9, [2] * 9]


@pytest.mark.parametrize("adapters", BATCHES)
def test_shrink(adapters: list[int]) -> None:
    import torch

    batch = runs(adapters)
    inputs, weights = torch.randn(batch[-1], WIDE), torch.randn(SLOTS, 1, RANK, WIDE)
    output = torch.zeros(batch[-1], RANK)
    _shrink(inputs, weights, output, *batch, 0.5)
    expected = each_row(adapters, batch, lambda row, slot: 0.5 * weights[slot, 0] @ inputs[row])
    assert torch.allclose(output, torch.stack(expected(torch.zeros(RANK))), atol=1e-6)


@pytest.mark.parametrize("adapters", BATCHES)
@pytest.mark.parametrize("add", [True, False])
def test_expand(adapters: list[int], add: bool) -> None:
    import torch

    batch = runs(adapters)
    inputs, weights = torch.randn(batch[-1], RANK), torch.randn(SLOTS, 1, WIDE, RANK)
    before = torch.randn(batch[-1], WIDE + 5)
    output = before.clone()
    _expand_slice(inputs, weights, output, *batch, 2, WIDE, add)
    expected = each_row(
        adapters,
        batch,
        lambda row, slot: (
            weights[slot, 0] @ inputs[row] + (before[row, 2 : 2 + WIDE] if add else 0)
        ),
    )
    of_base = [before[row, 2 : 2 + WIDE] for row in range(batch[-1])]
    for row, wanted in enumerate(expected(of_base)):
        assert torch.allclose(output[row, 2 : 2 + WIDE], wanted, atol=1e-6)
    assert torch.equal(output[:, :2], before[:, :2])
    assert torch.equal(output[:, 2 + WIDE :], before[:, 2 + WIDE :])


def each_row(
    adapters: list[int], batch: tuple[Any, ...], product: Callable[[int, int], Any]
) -> Callable[[Any], list[Any]]:
    """Row by row: the product, or for the base's rows what is given for them."""

    def rows(of_base: Any) -> list[Any]:
        found = []
        for start, length, slot in zip(batch[0].tolist(), batch[1].tolist(), adapters, strict=True):
            for row in range(start, start + length):
                base = of_base[row] if isinstance(of_base, list) else of_base
                found.append(base if slot == -1 else product(row, slot))
        return found

    return rows
