"""What a training will take: steps, tokens, parameters, memory and, where speed is known, money.

Arithmetic on the base's shapes and the rows' lengths; nothing is loaded or run. Memory follows
Korthikanti et al. 2022 (Reducing Activation Recomputation in Large Transformer Models): 34 bytes
per token and hidden unit for one layer's activations in half precision, with only each layer's
input kept where the rest is computed again.
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any, NamedTuple

from harness.chat.base import read_config, tensor_shapes
from harness.errors import DataError
from harness.jsonio import read_jsonl
from harness.recipe import Lora, Recipe
from harness.store.loraconfig import suffix
from harness.training.order import count_visits
from harness.training.prepare import Prepared
from harness.training.targets import targeted_modules

_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
_NF4_BYTES = 0.5 + 4 / 64
"""Half a byte a weight and a float32 scale for 64 of them (QLoRA, its scales not quantised)."""
_TRAINED_BYTES = 16
"""A trained parameter in float32: weight, gradient and Adam's two moments."""
_LAYER_BYTES = 34 / 2
"""Bytes per token, hidden unit and byte of precision for one layer's activations."""


class Cost(NamedTuple):
    """The whole training, over all its steps and processes."""

    n_steps: int
    n_visits: int
    """Rows visited, repeats counted."""
    n_tokens: int
    """Tokens the model reads, repeats counted, padding not."""
    n_trainable: int
    n_parameters: int
    """Of base and adapter together."""
    memory_gib: float
    """Estimate for one process at the longest row."""
    tokens_per_s: float | None
    """As the last training of this base here measured; None where there was none."""
    hours: float | None
    price: float | None
    """hours × compute.price_per_hour, in its currency."""

    @property
    def trainable_share(self) -> float:
        return self.n_trainable / self.n_parameters


class Memory(NamedTuple):
    """Bytes of one training process, by what they hold."""

    weights: float
    trained: float
    """The LoRA's parameters, with gradients and Adam's moments."""
    activations: float
    logits: float
    """Were every token's kept; on a GPU only trained positions are projected to the vocabulary."""

    @property
    def n_bytes(self) -> float:
        return sum(self)


def estimate(recipe: Recipe, prepared: Prepared, tokens_per_s: float | None) -> Cost:
    """`tokens_per_s`: how fast this machine trains this base, if that was measured."""
    counts = prepared.counts
    n_visits = count_visits(recipe.train, counts.n_rows)
    n_tokens = round(counts.n_tokens * n_visits / counts.n_rows)
    n_base = count_parameters(prepared.base_dir)
    n_trainable = count_trainable(recipe.lora, prepared.base_dir)
    memory = training_memory(recipe, prepared.base_dir, counts.longest_tokens)
    hours = n_tokens / tokens_per_s / 3600 if tokens_per_s else None
    rate = recipe.compute.price_per_hour
    return Cost(
        n_steps=prepared.n_steps,
        n_visits=n_visits,
        n_tokens=n_tokens,
        n_trainable=n_trainable,
        n_parameters=n_base + n_trainable,
        memory_gib=memory.n_bytes / 2**30,
        tokens_per_s=tokens_per_s,
        hours=hours,
        price=hours * rate if hours is not None and rate is not None else None,
    )


def count_parameters(directory: Path) -> int:
    """Numbers in the base's safetensors files; tied matrices lie there once."""
    return sum(map(math.prod, tensor_shapes(directory).values()))


def count_trainable(lora: Lora, directory: Path) -> int:
    """Parameters of the LoRA: rank × (inputs + outputs) of every module that is trained."""
    shapes = tensor_shapes(directory)
    return sum(
        _rank(lora, module) * sum(shapes[f"{module}.weight"])
        for module in targeted_modules(lora, directory)
    )


def _rank(lora: Lora, module: str) -> int:
    patterns = lora.rank_pattern.items()
    return next((r for name, r in patterns if suffix(name).fullmatch(module)), lora.r)


def measured_speed(training_dir: Path, base: str) -> float | None:
    """Tokens/s of the last training in the store's training folder on the base with that weights
    digest; None where there is none."""
    found: list[tuple[float, float]] = []
    for events in training_dir.glob("*/events.jsonl"):
        settings = events.with_name("job.json")
        if settings.is_file() and base in settings.read_text(encoding="utf-8"):
            speed = _last_speed(events)
            if speed is not None:
                found.append((events.stat().st_mtime, speed))
    return max(found)[1] if found else None


def _last_speed(events: Path) -> float | None:
    """Tokens/s of the last step told; what comes after a line cut by a full disk counts for
    nothing, since a check must not fail for an old training."""
    speed = None
    with contextlib.suppress(DataError, KeyError, TypeError):
        for _, event in read_jsonl(events):
            if event["event"] == "log" and event["elapsed_s"]:
                speed = event["n_tokens"] / event["elapsed_s"]
    return speed


def training_memory(recipe: Recipe, directory: Path, longest_tokens: int) -> Memory:
    """Of one process, with every row of its batch `longest_tokens` long; `directory` has the base's
    config and weights, of which the headers are read."""
    config = read_config(directory, "config.json")
    text: dict[str, Any] = config.get("text_config") or config
    hidden, layers = int(text.get("hidden_size", 0)), int(text.get("num_hidden_layers", 0))
    vocabulary = int(text.get("vocab_size", 0))
    width = _BYTES[recipe.base.dtype]
    rows = math.ceil(recipe.train.batch / recipe.compute.processes)
    rows *= 2 if recipe.train.objective == "dpo" else 1  # TRL puts both answers in one pass
    tokens = rows * longest_tokens
    return Memory(
        weights=count_parameters(directory) * (_NF4_BYTES if recipe.base.quantize else width),
        trained=_TRAINED_BYTES * count_trainable(recipe.lora, directory),
        activations=tokens * hidden * width * (layers + _LAYER_BYTES),
        logits=2 * tokens * vocabulary * 4.0,
    )
