"""A CountSketch keeps products."""

from __future__ import annotations

import pytest
import torch

from harness.blame import sketch
from harness.blame.sketch import CountSketch


def vectors(n: int, width: int) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(3))


def test_products_are_close() -> None:
    """Off by at most five standard deviations, √(2/n) of the lengths."""
    found = vectors(20, 30_000)
    found[:, :50] *= 30  # a few parameters have most of the length, as in gradients
    short = CountSketch(30_000, 4096)(found)
    lengths = found.norm(dim=1)
    off = (short @ short.T - found @ found.T).abs() / (lengths[:, None] * lengths)
    assert short.shape == (20, 4096)
    assert off.max() < 5 * (2 / 4096) ** 0.5
    assert off.max() > 0


def test_products_are_right_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = vectors(2, 500)
    found = []
    for seed in range(400):
        monkeypatch.setattr(sketch, "SEED", seed)
        short = CountSketch(500, 16)(torch.stack([one, other]))
        found.append((short[0] @ short[1]).item())
    spread = torch.tensor(found).std().item() / 400**0.5
    assert sum(found) / 400 == pytest.approx((one @ other).item(), abs=4 * spread)


def test_it_is_always_the_same() -> None:
    found = vectors(2, 100)
    assert torch.equal(CountSketch(100, 8)(found), CountSketch(100, 8)(found))
