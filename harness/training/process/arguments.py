"""A job's settings to the arguments of TRL's trainers.

Part of the training process: imports torch and trl. Knows nothing of models and rows but how many
are desirable.
"""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

import torch
from transformers import TrainingArguments
from trl import DPOConfig, KTOConfig, SFTConfig

from harness.errors import RecipeError
from harness.training.job import JobDir
from harness.training.objective import feedback_weights

_CONFIGS = {"sft": SFTConfig, "dpo": DPOConfig, "kto": KTOConfig}
_WEIGHTS = ("desirable_weight", "undesirable_weight")
_METADATA = "No package metadata was found for "
"""Begins the message of a PackageNotFoundError, even where that has one of its own."""
_N_LOGS = 50


def make_arguments(job_dir: JobDir, job: dict[str, Any], opinions: list[bool]) -> TrainingArguments:
    """The arguments, `train.extra` merged in; `opinions` are those of feedback rows.

    Raises RecipeError for an extra argument that TRL does not have or does not take.
    """
    train = job["train"]
    config, extra = _CONFIGS[train["objective"]], train["extra"]
    values = _common(job_dir, job)
    if train["objective"] != "sft":
        values["beta"] = train["beta"]
    if train["objective"] == "kto" and not extra.keys() & set(_WEIGHTS):
        n_desirable = sum(opinions)
        weights = feedback_weights(n_desirable, len(opinions) - n_desirable)
        values |= dict(zip(_WEIGHTS, weights, strict=True))
    _require_known(config, extra)
    try:
        return config(**values | extra)
    except (TypeError, ValueError, ImportError) as error:
        if not extra:
            raise
        raise RecipeError(
            f"train.extra: {config.__name__} refuses it: {str(error).removeprefix(_METADATA)}",
            hint="install what it needs" if isinstance(error, ImportError) else None,
        ) from error


def _require_known(config: type, extra: dict[str, Any]) -> None:
    accepted = [each.name for each in dataclasses.fields(config) if each.init]
    for key in extra:
        if key not in accepted:
            close = difflib.get_close_matches(key, accepted, n=1)
            offer = f"; did you mean {close[0]!r}?" if close else ""
            raise RecipeError(
                f"train.extra.{key}: TRL's {config.__name__} has no such argument{offer}",
                hint=f"its arguments: python -c 'import trl; help(trl.{config.__name__})'",
            )


def _common(job_dir: JobDir, job: dict[str, Any]) -> dict[str, Any]:
    train, on_gpu = job["train"], torch.cuda.is_available()
    schedule = train["schedule"]
    return {
        "output_dir": str(job_dir.checkpoints),
        "max_length": None,
        "max_steps": job["n_steps"],
        "per_device_train_batch_size": train["batch"] // job["processes"],
        "gradient_accumulation_steps": train["grad_accum"],
        "learning_rate": train["lr"],
        "lr_scheduler_type": "constant_with_warmup" if schedule == "constant" else schedule,
        "warmup_steps": train["warmup_steps"],
        "weight_decay": train["weight_decay"],
        "seed": train["seed"],
        "use_cpu": not on_gpu,
        "bf16": job["dtype"] == "bfloat16" or job["quantize"] is not None,
        "fp16": job["dtype"] == "float16" and job["quantize"] is None,
        "gradient_checkpointing": on_gpu,
        "ddp_find_unused_parameters": False,
        "dataloader_pin_memory": on_gpu,
        "save_steps": train["save_every"],
        "save_total_limit": 2,
        "logging_steps": max(1, job["n_steps"] // _N_LOGS),
        "disable_tqdm": True,
        "report_to": job["report_to"],
    }
