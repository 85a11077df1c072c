"""LoRA on the CPU as a few matrix products per layer instead of one gathered matrix per token.

vLLM's CPU operations copy the adapter's matrices once for every token of a batch. Tokens of one
adapter lie together, so the same sums are done here run by run, many times faster; rows of the
base (index -1) are left alone. Knows only the six operations it replaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serve.engine import replace

_MANY_RUNS = 8
"""From here on, rows are collected by adapter: more work per product, fewer products."""


def install() -> None:
    """Replace vLLM's operations in this process and its copies."""
    import vllm.lora.punica_wrapper.punica_cpu as punica

    for name, function in {"sgmv_shrink": _shrink, "sgmv_expand_slice": _expand_slice}.items():
        replace(punica, name, function)


def _shrink(
    inputs: Any,
    weights: Any,
    output: Any,
    starts: Any,
    lengths: Any,
    indices: Any,
    batches: int,
    longest: int,
    tokens: int,
    scaling: float,
) -> None:
    """output[rows] = scaling · inputs[rows] @ A[adapter]ᵀ; weights: [slots, 1, rank, in]."""
    for adapter, rows in _rows(indices, lengths):
        product = inputs[rows].to(output.dtype) @ weights[adapter, 0].to(output.dtype).T
        output[rows, : product.shape[1]] = product.mul_(scaling)


def _expand_slice(
    inputs: Any,
    weights: Any,
    output: Any,
    starts: Any,
    lengths: Any,
    indices: Any,
    batches: int,
    longest: int,
    tokens: int,
    offset: int,
    size: int,
    add_inputs: bool = False,
) -> None:
    """output[rows, offset:offset+size] (+)= inputs[rows] @ B[adapter]ᵀ; weights: [slots, 1, out,
    rank]."""
    part = output[:, offset : offset + size]
    for adapter, rows in _rows(indices, lengths):
        product = inputs[rows].to(output.dtype) @ weights[adapter, 0].to(output.dtype).T
        part[rows] = part[rows] + product if add_inputs else product


def _rows(indices: Any, lengths: Any) -> Iterator[tuple[int, Any]]:
    """(adapter, its rows) without the base's; a run of rows is a slice, scattered rows a mask."""
    adapters = indices.tolist()
    if len(adapters) >= _MANY_RUNS:
        of_row = indices.repeat_interleave(lengths)
        for adapter in set(adapters) - {-1}:
            yield adapter, (of_row == adapter).nonzero().squeeze(1)
        return
    start = 0
    for adapter, length in zip(adapters, lengths.tolist(), strict=True):
        if adapter != -1:
            yield adapter, slice(start, start + length)
        start += length
