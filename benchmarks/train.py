"""What the wrapper costs: a training beside a plain TRL script on the same rows.

    .venv/bin/python benchmarks/train.py [--repeats 3] [--steps 60]

Both get the same encoded rows of the pocket world, the same LoRA, batch, steps, threads and
environment, each in a process of its own, in turns, so that the machine's other work falls on
both. Processor seconds are those of the whole process tree, start included.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from harness.jsonio import write_jsonl
from harness.pocket.rows import instruction_rows
from harness.recipe import LoadedRecipe, Recipe
from harness.training.command import worker_environment
from harness.training.job import JobDir
from harness.training.launch import train
from harness.training.prepare import Prepared, prepare

N_ROWS = 1500
BATCH = 32
THREADS = 2
PLAIN = """
import json, sys
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

rows_path, base, output, steps, batch = sys.argv[1:]
with open(rows_path) as file:
    rows = [json.loads(line) for line in file]
trainer = SFTTrainer(
    model=AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
    args=SFTConfig(
        output_dir=output,
        max_length=None,
        max_steps=int(steps),
        per_device_train_batch_size=int(batch),
        learning_rate=2e-3,
        lr_scheduler_type="cosine",
        save_steps=50,
        save_total_limit=2,
        logging_steps=1,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        report_to=[],
    ),
    train_dataset=Dataset.from_list(
        [{"input_ids": row["input_ids"], "labels": row["labels"]} for row in rows]
    ),
    processing_class=AutoTokenizer.from_pretrained(base),
    peft_config=LoraConfig(
        task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear"
    ),
)
done = trainer.train()
trainer.save_model(output + "/adapter")
tokens = [each["num_tokens"] for each in trainer.state.log_history if "num_tokens" in each]
print(json.dumps({"train_s": done.metrics["train_runtime"], "n_tokens": tokens[-1]}))
"""


class Timed(NamedTuple):
    """One training. Padding is not counted in `tokens_per_s`."""

    wall_s: float
    cpu_s: float
    train_s: float
    """From the first step to the last checkpoint."""
    tokens_per_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        loaded = _recipe(root, given.steps)
        prepared = prepare(loaded)
        ways: dict[str, Callable[[Path], dict[str, Any]]] = {
            "harness": lambda path: _harness(loaded, prepared, path),
            "plain TRL": lambda path: _plain(loaded, prepared, path),
        }
        found: dict[str, list[Timed]] = {name: [] for name in ways}
        for repeat in range(given.repeats):
            for number, (name, way) in enumerate(ways.items()):
                found[name].append(_timed(way, root / f"{repeat}-{number}"))
    _print(found, given.steps)


def _recipe(root: Path, steps: int) -> LoadedRecipe:
    write_jsonl(root / "rows.jsonl", instruction_rows(N_ROWS, 0))
    values = {
        "name": "benchmark",
        "base": {"model": "pocket"},
        "data": {"sources": [{"path": "rows.jsonl"}]},
        "lora": {"r": 16, "alpha": 32},
        "train": {"max_steps": steps, "batch": BATCH, "lr": 2e-3, "save_every": 50},
        "compute": {"threads": THREADS},
        "eval": {"evalset": "pocket"},
    }
    return LoadedRecipe(Recipe.model_validate(values), root, root / "recipe.yaml")


def _timed(way: Callable[[Path], dict[str, Any]], path: Path) -> Timed:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    told = way(path)
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timed(wall_s, cpu_s, told["train_s"], told["n_tokens"] / told["train_s"])


def _harness(loaded: LoadedRecipe, prepared: Prepared, path: Path) -> dict[str, Any]:
    train(loaded, prepared, path, on_event=lambda event: None)
    events = [json.loads(line) for line in JobDir(path).events.read_text().splitlines()]
    n_tokens = max(each.get("n_tokens", 0) for each in events)
    return {"train_s": events[-1]["elapsed_s"], "n_tokens": n_tokens}


def _plain(loaded: LoadedRecipe, prepared: Prepared, path: Path) -> dict[str, Any]:
    job = JobDir(path)
    path.mkdir()
    job.write(loaded, prepared)
    steps = str(prepared.n_steps)
    words = [str(job.rows), str(prepared.base_dir), str(path / "out"), steps, str(BATCH)]
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, *words],
        env=worker_environment({}, loaded.recipe.compute),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _print(found: dict[str, list[Timed]], steps: int) -> None:
    print(f"{steps} steps of {BATCH} rows, {THREADS} threads; median (from-to)")
    for name, runs in found.items():
        cells = [
            f"{title} {statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"
            for title, values in zip(Timed._fields, zip(*runs, strict=True), strict=True)
        ]
        print(f"{name:<10}", "  ".join(cells))
    ours, plain = found.values()
    for title in ("wall_s", "cpu_s", "train_s"):
        ratios = [getattr(a, title) / getattr(b, title) for a, b in zip(ours, plain, strict=True)]
        middle = statistics.median(ratios)
        print(f"ratio {title:<8} {middle:.3f} ({min(ratios):.3f}-{max(ratios):.3f})")


if __name__ == "__main__":
    main()
