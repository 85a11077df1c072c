"""Which modules an adapter may change, read from the names in safetensors files.

The output head and the embeddings are left out on purpose: vLLM 0.32 maps adapters of the head by
request where prompt log-probabilities need it by token, which gives wrong numbers and, with
several requests in a batch, ends the engine (vllm-project/vllm#16668, #51594).
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

from harness.errors import DataError

_LEFT_OUT = {"lm_head", "embed_tokens"}
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit


def base_modules(base_dir: Path) -> tuple[str, ...]:
    """Names (last parts) of the base's matrices, sorted; empty when it has no safetensors."""
    found = set()
    for path in base_dir.glob("*.safetensors"):
        for name, shape in tensor_shapes(path).items():
            module, _, kind = name.rpartition(".")
            if len(shape) == 2 and kind in ("weight", "qweight"):
                found |= {module.rpartition(".")[2]} | {"experts"} & set(name.split("."))
    return tuple(sorted(found - _LEFT_OUT))


def adapter_modules(weights_path: Path) -> set[str]:
    """Names (last parts) of the modules an adapter changes. Raises DataError for a damaged file."""
    modules = (name.partition(".lora_")[0] for name in tensor_shapes(weights_path))
    return {module.removesuffix(".base_layer").rpartition(".")[2] for module in modules}


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """Tensor name → shape, from a safetensors file's header. Raises DataError when damaged."""
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            if size > _MAX_HEADER_BYTES:
                raise ValueError(f"a header of {size} bytes")
            header = json.loads(file.read(size))
        return {name: each["shape"] for name, each in header.items() if name != "__metadata__"}
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a safetensors file: {error}") from None
