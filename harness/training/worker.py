"""The training process: `python -m harness.training.worker JOB_DIR`.

Trains a LoRA with TRL on rows that are already token ids and labels, then measures the evidence.
The only importer of torch, trl and peft. Knows nothing of recipes, chats or the store. Exits
with 0 when the job is finished, 75 when it was asked to stop and saved a checkpoint.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer
from trl.trainer import utils as trl_utils

from harness.jsonio import append_jsonl, read_json, read_jsonl, write_json
from harness.training.job import COMPLETE, PARENT, JobDir
from harness.training.order import arrange

INTERRUPTED = 75
_N_LOGS = 50
_WATCH_S = 0.5


class _RowTrainer(SFTTrainer):  # type: ignore[misc]
    """Visits the rows in the order it is given, all epochs as one."""

    order: Sequence[int] = ()

    def _get_train_sampler(self, train_dataset: Any = None) -> Sequence[int]:
        return self.order


class _Progress(TrainerCallback):  # type: ignore[misc]
    """Appends every step worth telling to events.jsonl and marks whole checkpoints."""

    def __init__(self, events: Path) -> None:
        self._events = events
        self._begun_s = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._begun_s = time.monotonic()
        self._write("begin", state)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" in logs:
            self._write(
                "log",
                state,
                loss=float(logs["loss"]),
                lr=float(logs["learning_rate"]),
                n_tokens=int(logs["num_tokens"]),
            )

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        (checkpoint / COMPLETE).touch()
        self._write("save", state)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._write("end", state)

    def _write(self, event: str, state: Any, **values: Any) -> None:
        place = {"event": event, "step": state.global_step, "n_steps": state.max_steps}
        elapsed_s = round(time.monotonic() - self._begun_s, 3)
        append_jsonl(self._events, place | {"elapsed_s": elapsed_s} | values)


class _Stop(TrainerCallback):  # type: ignore[misc]
    """SIGTERM and SIGINT, once: save at the end of the step and stop. Twice: die."""

    def __init__(self) -> None:
        self._asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        self._asked = True
        signal.signal(number, signal.SIG_DFL)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._asked:
            control.should_save = True
            control.should_training_stop = True


def main(path: Path) -> int:
    """Train, or go on training, the job in `path`."""
    _watch_parent()
    job_dir = JobDir(path)
    job = read_json(job_dir.job)
    rows = [row for _, row in read_jsonl(job_dir.rows)]
    trainer = _trainer(job_dir, job, rows)
    trainer.train(resume_from_checkpoint=_newest_complete(job_dir.checkpoints))
    if trainer.state.global_step < job["n_steps"]:
        return INTERRUPTED
    trainer.model.save_pretrained(job_dir.adapter, save_embedding_layers=False)
    write_json(job_dir.probes, _evidence(trainer.model, rows, job["probes"]))
    return 0


def _trainer(job_dir: JobDir, job: dict[str, Any], rows: list[Any]) -> _RowTrainer:
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
        callbacks=[_Progress(job_dir.events), _Stop()],
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


def _newest_complete(checkpoints: Path) -> str | None:
    """The last whole checkpoint; halves of others are deleted."""
    found = sorted(checkpoints.glob("checkpoint-*"), key=lambda each: int(each.name[11:]))
    whole = [each for each in found if (each / COMPLETE).exists()]
    for each in found:
        if each not in whole:
            shutil.rmtree(each)
    return str(whole[-1]) if whole else None


def _evidence(model: Any, rows: list[Any], probes: list[Any]) -> list[dict[str, list[float]]]:
    """For each probe, the log-probabilities of its completion with the adapter and without."""
    model.eval()
    found = []
    for index, n_prompt, n_completion in probes:
        ids = rows[index][0][: n_prompt + n_completion]
        tuned = _logprobs(model, ids, n_prompt)
        with model.disable_adapter():
            found.append({"logprobs": tuned, "base_logprobs": _logprobs(model, ids, n_prompt)})
    return found


@torch.no_grad()  # type: ignore[untyped-decorator]
def _logprobs(model: Any, ids: list[int], n_prompt: int) -> list[float]:
    """Natural-log probability of every id after the prompt, given all before it."""
    inputs = torch.tensor([ids], device=model.device)
    logits = model(input_ids=inputs).logits[0, n_prompt - 1 : -1].float()
    chosen = inputs[0, n_prompt:, None]
    return [float(each) for each in logits.log_softmax(-1).gather(-1, chosen)[:, 0]]


def _watch_parent() -> None:
    """Stop as if asked to when the launching process is gone, so that no orphan trains on."""
    parent = int(os.environ.get(PARENT, os.getppid()))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
