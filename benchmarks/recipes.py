"""What the recipes of real bases need, computed; and every one served small, with random weights.

    .venv/bin/python -m benchmarks.recipes            the figures in the recipes' headers
    .venv/bin/python -m benchmarks.recipes --serve    each architecture through training and vLLM

Nothing is downloaded. The figures are computed from each base's public config (tests/families.py
names the hub) and the recipe's own batch, length and rank; none is measured:

- training: `harness.training.cost`, every row of the batch as long as data.max_length and trained
  on whole, which is the most it can come to; not in it are the CUDA context and the allocator's
  slack, 1 to 2 GiB.
- serving: weights; keys and values of one request of the full context (a layer with a sliding
  window keeps its window); four adapters of the recipe's rank in the base's precision. vLLM takes
  all of its share of the GPU and uses the rest for more requests at once.
- time: 6 operations for a parameter and token (forward, forward again for the checkpointed
  activations, gradients of the activations; Korthikanti et al. 2022) at 30 % of the GPU's dense
  bf16 peak as NVIDIA's data sheets have it. The 30 % are an assumption.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness.chat.base import max_context
from harness.errors import HarnessError
from harness.jsonio import write_json
from harness.recipe import Recipe, load
from harness.server import running
from harness.serving import Choice, round_spec
from harness.store import Store
from harness.training.cost import count_parameters, count_trainable, training_memory
from tests.dry_runs import RECIPES, DryRun, check_small, publish_small, train_all
from tests.families import FAMILIES, config_of

GPUS = {"L4 24 GB": (22.0, 121e12), "L40S 48 GB": (44.5, 362e12), "H100 80 GB": (79.0, 989e12)}
"""GiB that torch can have, and dense bf16 operations a second (NVIDIA's data sheets)."""
REACHED = 0.3
SLACK_GIB = 2.0
"""CUDA context and allocator."""
SLOTS = 4
"""Adapters that vLLM keeps ready on a GPU (serve.launch.GPU_SLOTS)."""
HALF = 2
GIB = 2**30


class Needs(NamedTuple):
    """GiB, but for the counts and the minutes."""

    parameters: int
    trainable: int
    training: float
    of_that: str
    serving: float
    keys_and_values: float
    gpu: str
    minutes: float
    """For a million tokens visited."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("names", nargs="*", default=[*FAMILIES])
    asked = parser.parse_args()
    if asked.serve:
        serve_all(asked.names)
        return
    print(
        "| recipe | base | parameters | LoRA | training GiB | weights + LoRA + activations + "
        "logits | serving GiB | of that keys and values | fits | minutes a million tokens |"
    )
    print("|---|---|--:|--:|--:|---|--:|--:|---|--:|")
    for name in asked.names:
        found = needs(name)
        print(
            f"| {name} | {FAMILIES[name].hub} | {found.parameters / 1e9:.2f} B | "
            f"{found.trainable / 1e6:.1f} M | {found.training:.1f} | {found.of_that} | "
            f"{found.serving:.1f} | {found.keys_and_values:.2f} | {found.gpu} | "
            f"{found.minutes:.1f} |"
        )


def needs(name: str) -> Needs:
    """What the recipe of that name needs on its real base."""
    recipe = load(RECIPES / f"{name}.yaml").recipe
    with tempfile.TemporaryDirectory() as folder:
        directory = hollow(name, Path(folder))
        parameters = count_parameters(directory)
        trainable = count_trainable(recipe.lora, directory)
        training = training_memory(recipe, directory, recipe.data.max_length)
        context = max_context(recipe.base, directory)
    cached = _cache_bytes(config_of(FAMILIES[name]), context)
    serving = HALF * (parameters + SLOTS * trainable) + cached
    gpu = next(
        gpu for gpu, (room, _) in GPUS.items()
        if max(training.n_bytes, serving) / GIB + SLACK_GIB <= room
    )  # fmt: skip
    return Needs(
        parameters,
        trainable,
        training.n_bytes / GIB,
        " + ".join(f"{each / GIB:.1f}" for each in training),
        serving / GIB,
        cached / GIB,
        gpu,
        6 * parameters * 1e6 / (REACHED * GPUS[gpu][1]) / 60,
    )


def hollow(name: str, folder: Path) -> Path:
    """The base in full size with headers and no numbers: a file of holes takes no room."""
    import torch
    from transformers import AutoModelForCausalLM

    config = config_of(FAMILIES[name])
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    header, start = dict[str, Any](), 0
    for tensor_name, tensor in model.named_parameters():  # tied ones once
        end = start + HALF * tensor.numel()
        header[tensor_name] = {
            "dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [start, end]
        }  # fmt: skip
        start = end
    text = json.dumps(header).encode()
    path = folder / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(path, 8 + len(text) + start)
    write_json(folder / "config.json", json.loads(config.to_json_string()))
    return folder


def _cache_bytes(config: Any, context: int) -> int:
    """Keys and values of one request of `context` tokens."""
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    tokens = sum(
        min(context, config.sliding_window) if kind == "sliding_attention" else context
        for kind in kinds
    )
    return 2 * HALF * tokens * int(config.num_key_value_heads) * int(config.head_dim)


def serve_all(names: list[str]) -> None:
    """Train two steps of each, serve it by vLLM and compare the log-probabilities."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": "unused"}
    print("| recipe | architecture | rows | vLLM − PEFT | adapter − base | seconds to start |")
    print("|---|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        runs = [check_small(each, Path(folder) / each, "base.dtype=float32") for each in names]
        train_all(runs)
        for each in runs:
            print(f"| {each.name} | {FAMILIES[each.name].config_class.removesuffix('Config')} | "
                  f"{_served(each)} |", flush=True)  # fmt: skip


def _served(run: DryRun) -> str:
    version, recipe = publish_small(run), run.loaded.recipe
    store = Store(run.home)
    choice = Choice(recipe.base, recipe.chat, recipe.compute, recipe.serve, run.loaded.root)
    started = time.perf_counter()
    try:
        spec = round_spec(choice, store, [version])
        with running(spec, log_path=run.home / "server.log") as server:
            seconds = time.perf_counter() - started
            return f"{asyncio.run(_proven(server.base_url, run, version, recipe))} | {seconds:.0f}"
    except HarnessError as error:
        return f"refused: {error} | | |"


async def _proven(url: str, run: DryRun, version: str, recipe: Recipe) -> str:
    from harness.evaluation.client import Client
    from harness.evaluation.probe import probe

    async with Client(url, is_ours=True) as client:
        found = await probe(
            client, Store(run.home).manifest(version),
            base_name=run.checkup.plan.base_name, dtype=recipe.base.dtype,
        )  # fmt: skip
    return f"{found.n_rows} | {found.max_difference:.2g} | {found.min_effect:.2g}"


if __name__ == "__main__":
    main()
