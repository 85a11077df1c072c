"""A job's settings and rows to the TRL trainer that trains them.

Part of the training process: imports torch, trl and peft. Rows come as token ids and labels, so
TRL renders nothing. Knows nothing of recipes, chats or the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoTokenizer
from transformers.trainer_callback import PrinterCallback
from trl import DPOTrainer, KTOTrainer, SFTTrainer
from trl.trainer import utils as trl_utils

from harness.errors import RecipeError
from harness.training.job import JobDir
from harness.training.order import arrange
from harness.training.process.arguments import make_arguments
from harness.training.process.callbacks import Progress, Stop
from harness.training.process.models import ADAPTER, load_model
from harness.training.process.table import lengths
from harness.training.process.trackers import keep_local, require_trackers

_REFERENCE = "ref"
"""What TRL calls its frozen copy of an adapter that is trained on."""


class _Encoded:
    """What the three trainers do alike: rows come as token ids, in the order of visiting, all
    epochs as one."""

    order: Sequence[int] = ()

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def _get_train_sampler(self, train_dataset: Any = None) -> Sequence[int]:
        return self.order

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Transformers restores only adapters saved in folders of their own, so beside the
        reference it leaves the trained one as it began."""
        super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
        trained: Any = self.accelerator.unwrap_model(model or self.model)  # type: ignore[attr-defined]
        if _REFERENCE in trained.peft_config:
            weights = load_file(Path(resume_from_checkpoint) / "adapter_model.safetensors")
            set_peft_model_state_dict(trained, weights, ADAPTER)


class _Supervised(_Encoded, SFTTrainer):  # type: ignore[misc]
    """Rows with `input_ids` and `labels`."""


class _Preference(_Encoded, DPOTrainer):  # type: ignore[misc]
    """Rows with `prompt_ids`, `chosen_ids` and `rejected_ids`."""


class _Feedback(_Encoded, KTOTrainer):  # type: ignore[misc]
    """Rows with `prompt_ids`, `completion_ids` and `label`.

    For its estimate of the divergence each prompt gets the completion of another row. TRL pairs
    them before the training, by their place in the file; here they are of the batch as visited.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        if self.calculate_KL:
            collate = self.data_collator  # type: ignore[has-type]
            self.data_collator = lambda rows: collate(_mismatched(rows))


_COLUMNS = {
    "sft": {name: name for name in ("input_ids", "labels")},
    "dpo": {
        "prompt_ids": "prompt_ids",
        "completion_ids": "chosen_ids",
        "rejected": "rejected_ids",
    },
    "kto": {
        "prompt_ids": "prompt_ids",
        "completion_ids": "completion_ids",
        "desirable": "label",
    },
}
"""Objective → our columns, under TRL's names."""
_TRAINERS: dict[str, Any] = {"sft": _Supervised, "dpo": _Preference, "kto": _Feedback}


def make_trainer(job_dir: JobDir, job: dict[str, Any], rows: Dataset) -> Any:
    """The trainer of the job's objective, ready to train or to resume.

    Raises RecipeError for what the recipe asks for and this machine or TRL does not have.
    """
    train = job["train"]
    if job["report_to"]:
        require_trackers(job["report_to"])
        keep_local(job_dir.trackers)
    opinions = list(rows["desirable"]) if train["objective"] == "kto" else []
    arguments = make_arguments(job_dir, job, opinions)
    columns = _COLUMNS[train["objective"]]
    model, lora = load_model(job)
    _score_trained_tokens_only()
    try:
        trainer: Any = _TRAINERS[train["objective"]](
            model=model,
            args=arguments,
            train_dataset=rows.select_columns(list(columns)).rename_columns(columns),
            processing_class=AutoTokenizer.from_pretrained(job["base_dir"]),
            peft_config=lora,
            callbacks=[Progress(job_dir.events), Stop()],
        )
    except (ValueError, NotImplementedError) as error:
        if not train["extra"]:
            raise
        raise RecipeError(f"train.extra: TRL refuses it: {error}") from error
    trainer.remove_callback(PrinterCallback)
    trainer.order = arrange(lengths(rows), job["n_visits"], train["batch"], job["data_seed"])
    return trainer


def _score_trained_tokens_only() -> None:
    """TRL projects every position to the vocabulary where Triton is missing, and drops the
    untrained ones after; on a CPU that costs a quarter of the step."""
    trl_utils._use_triton = lambda device: True


def _mismatched(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a batch, each with the completion of the one before it, as TRL rotates them."""
    completions = [row["completion_ids"] for row in rows]
    others = [completions[-1], *completions[:-1]]
    return [row | {"KL_completion_ids": other} for row, other in zip(rows, others, strict=True)]
