"""The training process: `python -m harness.training.process.worker JOB_DIR`.

Trains a LoRA on rows that are already token ids and labels, then measures the evidence. Knows
nothing of chats or the store. Exits with 0 when the job is finished, 75 when it was asked to stop
and saved a checkpoint, 2 when the recipe asks for what cannot be trained; error.json then says why.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from harness.errors import RecipeError
from harness.jsonio import read_json, write_json
from harness.training.job import COMPLETE, JobDir
from harness.training.process.callbacks import watch_parent
from harness.training.process.measure import evidence
from harness.training.process.models import as_served, save_adapter
from harness.training.process.table import open_rows
from harness.training.process.trainers import make_trainer

INTERRUPTED = 75


def main(path: Path) -> int:
    """Train, or go on training, the job in `path`."""
    watch_parent()
    job_dir = JobDir(path)
    with job_dir.workers.open("a") as living:
        fcntl.flock(living, fcntl.LOCK_SH)
        return _answer(job_dir)


def _answer(job_dir: JobDir) -> int:
    try:
        return _train(job_dir, read_json(job_dir.job))
    except RecipeError as error:
        if _is_first():
            told = {"kind": "recipe", "message": str(error), "hint": error.hint}
            write_json(job_dir.error, told)
        return error.exit_code
    except Exception as error:
        if not job_dir.error.exists():  # What the other processes then die of says nothing.
            told = {"kind": "defect", "message": f"{type(error).__name__}: {error}"}
            write_json(job_dir.error, told)
        raise


def _train(job_dir: JobDir, job: dict[str, Any]) -> int:
    _require_processes(job["processes"])
    rows = open_rows(job_dir)
    trainer = make_trainer(job_dir, job, rows)
    _require_sharding(trainer, job["train"]["extra"])
    trainer.train(resume_from_checkpoint=_newest_complete(job_dir.checkpoints))
    if trainer.state.global_step < job["n_steps"]:
        trainer.end()
        return INTERRUPTED
    _save(trainer, job_dir.adapter)
    trainer.accelerator.wait_for_everyone()
    served = as_served(trainer.model, job, job_dir.adapter)
    measured = evidence(served, rows, job["probes"])
    if _is_first():
        write_json(job_dir.probes, measured)
    trainer.end()
    return 0


def _save(trainer: Any, adapter_dir: Path) -> None:
    """Write the adapter; where it is spread over the processes, all of them give their part."""
    whole = None
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        whole = trainer.accelerator.get_state_dict(trainer.model)
    if _is_first():
        save_adapter(trainer.accelerator.unwrap_model(trainer.model), adapter_dir, whole)


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _require_processes(wanted: int) -> None:
    """Accelerate starts a single process on a machine without a GPU whatever it was asked for, and
    processes that share a GPU deadlock."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != wanted:
        raise RecipeError(
            f"compute.processes = {wanted}, and {started} started",
            hint="leave compute.accelerate_config out: without a GPU, accelerate starts only one",
        )
    here, n_gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if 0 < n_gpus < here:
        raise RecipeError(
            f"compute.processes puts {here} processes on a machine with {n_gpus} GPUs",
            hint=f"set compute.processes to {n_gpus}, or list more in CUDA_VISIBLE_DEVICES",
        )


def _require_sharding(trainer: Any, extra: dict[str, Any]) -> None:
    """Accelerate leaves FSDP and DeepSpeed out without a word where there is one process or no
    GPU."""
    on = {"fsdp": trainer.is_fsdp_enabled, "deepspeed": trainer.is_deepspeed_enabled}
    for name, active in on.items():
        if extra.get(name) and not active:
            raise RecipeError(
                f"train.extra.{name} has no effect on {trainer.args.world_size} processes on "
                f"{trainer.args.device.type}",
                hint="leave it out, or set compute.processes to the number of GPUs",
            )


def _newest_complete(checkpoints: Path) -> str | None:
    """The last whole checkpoint; halves of others are deleted."""
    found = sorted(checkpoints.glob("checkpoint-*"), key=lambda each: int(each.name[11:]))
    whole = [each for each in found if (each / COMPLETE).exists()]
    for each in found if _is_first() else ():
        if each not in whole:
            shutil.rmtree(each)
    return str(whole[-1]) if whole else None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
