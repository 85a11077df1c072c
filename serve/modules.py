"""Which modules of a base an adapter may change on a server.

The output head and the embeddings are left out on purpose: vLLM 0.32 maps adapters of the head by
request where prompt log-probabilities need it by token, which gives wrong numbers and, with
several requests in a batch, ends the engine (vllm-project/vllm#16668, #51594).
"""

from __future__ import annotations

from pathlib import Path

from harness.store import base_matrices

_LEFT_OUT = {"lm_head", "embed_tokens"}


def base_modules(base_dir: Path) -> tuple[str, ...]:
    """Names (last parts) of the base's matrices, sorted; empty when it has no safetensors. Raises
    StoreError for a damaged file."""
    found = set()
    for matrix in base_matrices(base_dir):
        parts = matrix.module.split(".")
        found |= {parts[-1]} | {"experts"} & set(parts)
    return tuple(sorted(found - _LEFT_OUT))
