"""Gradients made short: a CountSketch keeps products of vectors, on average exactly.

Charikar, Chen and Farach-Colton 2002 ("Finding frequent items in data streams"): every parameter
adds, with a sign of its own, to one of a few sums. The product of two sketches has the product of
the vectors as its mean; its standard deviation is at most √(2/n) of the product of their lengths
(Weinberger et al. 2009, arXiv:0902.2206). No matrix is formed.
"""

from __future__ import annotations

from typing import Any

SEED = 7


class CountSketch:
    """From `n_parameters` numbers to `n_sums`, always the same way."""

    def __init__(self, n_parameters: int, n_sums: int, device: Any = "cpu") -> None:
        import numpy as np
        import torch

        draw = np.random.default_rng(SEED)
        places = draw.integers(n_sums, size=n_parameters, dtype=np.int32)
        signs = draw.integers(2, size=n_parameters, dtype=np.int8) * 2 - 1
        self.n_sums = n_sums
        self._places = torch.from_numpy(places).to(device)
        self._signs = torch.from_numpy(signs).to(device)

    def __call__(self, vectors: Any) -> Any:
        """(n, parameters) → (n, sums)."""
        sums = vectors.new_zeros(len(vectors), self.n_sums)
        return sums.index_add_(1, self._places, vectors * self._signs)
