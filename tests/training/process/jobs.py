"""Small jobs on the pocket base, trained in the test's own process."""

from __future__ import annotations

import contextlib
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.chat.encode import IGNORED
from harness.jsonio import write_jsonl
from harness.training.job import JobDir
from tests.chat.templates import POCKET

STOP = 2
Rows = list[dict[str, Any]]


def make_rows(objective: str, n: int = 24) -> Rows:
    """Random tokens as encoded rows of an objective, in different lengths."""
    rng = random.Random(objective)

    def some(least: int, most: int) -> list[int]:
        return [rng.randrange(10, 1500) for _ in range(rng.randint(least, most))]

    rows: Rows = []
    for index in range(n):
        prompt, answer = some(4, 16), [*some(3, 9), STOP]
        labels = [IGNORED] * len(prompt) + answer
        row: dict[str, Any] = {"input_ids": prompt + answer, "labels": labels}
        row |= {"n_prompt": len(prompt), "source": f"rows.jsonl:{index + 1} turn 1"}
        if objective == "dpo":
            row["rejected"] = [*some(3, 9), STOP]
        if objective == "kto":
            row["desirable"] = index % 3 != 0
        rows.append(row)
    return rows


def make_job(objective: str, n_steps: int = 6, batch: int = 8, **changed: Any) -> dict[str, Any]:
    """Settings as a launcher writes them; `lora` and `train` are changed key by key."""
    lora: dict[str, Any] = {"r": 8, "alpha": 16, "dropout": 0.0, "targets": "all-linear"}
    lora |= {"exclude": [], "layers": None, "rank_pattern": {}, "alpha_pattern": {}}
    lora |= {"rslora": False} | changed.pop("lora", {})
    train: dict[str, Any] = {"objective": objective, "beta": 0.1, "batch": batch, "grad_accum": 1}
    train |= {"lr": 1e-3, "schedule": "cosine", "warmup_steps": 0, "weight_decay": 0.0, "seed": 0}
    train |= {"save_every": 2, "extra": {}} | changed.pop("train", {})
    return {
        "base_dir": str(POCKET),
        "dtype": "float32",
        "n_steps": n_steps,
        "n_visits": n_steps * batch,
        "data_seed": 0,
        "lora": lora,
        "train": train,
        "parent_dir": None,
        "quantize": None,
        "report_to": [],
        "processes": 1,
        **changed,
    }


@contextlib.contextmanager
def trainer_of(path: Path, job: dict[str, Any], rows: Rows) -> Iterator[Any]:
    """The trainer of a job in `path`; what it changes in this process is taken back."""
    from trl.trainer import utils

    from harness.training.process.table import open_rows
    from harness.training.process.trainers import make_trainer

    job_dir = JobDir(path)
    path.mkdir(parents=True, exist_ok=True)
    write_jsonl(job_dir.rows, rows)
    job_dir.table.unlink(missing_ok=True)
    numbers = (signal.SIGTERM, signal.SIGINT)
    use_triton = utils._use_triton
    before = [signal.getsignal(number) for number in numbers]
    try:
        yield make_trainer(job_dir, job, open_rows(job_dir))
    finally:
        utils._use_triton = use_triton
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def train_here(path: Path, job: dict[str, Any], rows: Rows, resume: Path | None = None) -> Path:
    """Train a job and return the folder of its adapter."""
    with trainer_of(path, job, rows) as trainer:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    return save(trainer, path)


def save(trainer: Any, path: Path) -> Path:
    """The trained adapter alone, as the worker saves it."""
    from harness.training.process.models import save_adapter

    folder = JobDir(path).adapter
    save_adapter(trainer.model, folder)
    return folder


def weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


def logprob(model: Any, prompt: list[int], answer: list[int]) -> float:
    """Natural-log probability of a whole answer under a model, from its plain logits."""
    import torch

    with torch.no_grad():
        table = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
    places = range(len(prompt) - 1, len(prompt) + len(answer) - 1)
    return float(sum(table[i, token] for i, token in zip(places, answer, strict=True)))


def load_stock(folder: Path | None) -> Any:
    """The pocket base, with an adapter as stock PEFT loads it."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(POCKET, dtype=torch.float32)
    return (PeftModel.from_pretrained(base, folder) if folder else base).eval()
