"""A job's settings and rows to the TRL trainer that trains them.

Part of the training process: imports torch, trl and peft. Rows come as token ids and labels, so
TRL renders nothing. Knows nothing of recipes, chats or the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer
from trl.trainer import utils as trl_utils

from harness.training.callbacks import Progress, Stop
from harness.training.job import JobDir
from harness.training.order import arrange

_N_LOGS = 50


class _RowTrainer(SFTTrainer):  # type: ignore[misc]
    """Visits the rows in the order it is given, all epochs as one."""

    order: Sequence[int] = ()

    def _get_train_sampler(self, train_dataset: Any = None) -> Sequence[int]:
        return self.order


def make_trainer(job_dir: JobDir, job: dict[str, Any], rows: list[Any]) -> _RowTrainer:
    train = job["train"]
    _score_trained_tokens_only()
    trainer = _RowTrainer(
        model=AutoModelForCausalLM.from_pretrained(
            job["base_dir"], dtype=getattr(torch, job["dtype"])
        ),
        args=_arguments(job_dir, job),
        train_dataset=Dataset.from_dict(
            {"input_ids": [ids for ids, _ in rows], "labels": [labels for _, labels in rows]}
        ),
        processing_class=AutoTokenizer.from_pretrained(job["base_dir"]),
        peft_config=_lora(job["lora"]),
        callbacks=[Progress(job_dir.events), Stop()],
    )
    trainer.remove_callback(PrinterCallback)
    if len(trainer.train_dataset) != len(rows):
        raise RuntimeError(f"{len(rows)} rows came in, {len(trainer.train_dataset)} are left")
    lengths = [len(ids) for ids, _ in rows]
    trainer.order = arrange(lengths, job["n_visits"], train["batch"], job["data_seed"])
    return trainer


def _score_trained_tokens_only() -> None:
    """TRL projects every position to the vocabulary where Triton is missing, and drops the
    untrained ones after; on a CPU that costs a quarter of the step."""
    trl_utils._use_triton = lambda device: True


def _arguments(job_dir: JobDir, job: dict[str, Any]) -> SFTConfig:
    train, on_gpu = job["train"], torch.cuda.is_available()
    schedule = train["schedule"]
    return SFTConfig(
        output_dir=str(job_dir.checkpoints),
        max_length=None,
        max_steps=job["n_steps"],
        per_device_train_batch_size=train["batch"],
        gradient_accumulation_steps=train["grad_accum"],
        learning_rate=train["lr"],
        lr_scheduler_type="constant_with_warmup" if schedule == "constant" else schedule,
        warmup_steps=train["warmup_steps"],
        weight_decay=train["weight_decay"],
        seed=train["seed"],
        use_cpu=not on_gpu,
        bf16=job["dtype"] == "bfloat16",
        fp16=job["dtype"] == "float16",
        gradient_checkpointing=on_gpu,
        dataloader_pin_memory=on_gpu,
        save_steps=train["save_every"],
        save_total_limit=2,
        logging_steps=max(1, job["n_steps"] // _N_LOGS),
        disable_tqdm=True,
        report_to=[],
    )


def _lora(lora: dict[str, Any]) -> LoraConfig:
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora["r"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        target_modules=lora["targets"],
        use_rslora=lora["rslora"],
    )
