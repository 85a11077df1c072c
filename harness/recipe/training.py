"""The sections that determine the weights, and `compute`, which does not."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.recipe.section import Count, Section, Seed

MAX_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values vLLM accepts for --max-lora-rank (vllm/config/lora.py)."""


class Base(Section):
    model: str
    """`pocket`, a model directory, or a hub id."""
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    quantize: Literal["nf4"] | None = None
    """Train on a 4-bit base (needs a GPU and bitsandbytes); recorded in the manifest."""
    max_context: Annotated[int, Field(ge=16, le=2**24)] | None = None
    """Tokens of prompt and answer that are served; None: all of the base's, at most 8192."""


class Chat(Section):
    template: str | None = None
    """None: the base's own; `chatml`, `llama3`, `alpaca` or `mistral`; otherwise a Jinja file."""
    kwargs: dict[str, Any] = {}
    stop: tuple[str, ...] = ()
    """Extra stop tokens (text of one token each); the base's own always count."""
    allow_special_tokens: bool = False
    """Train on messages whose text spells one of the tokenizer's special tokens."""


Shape = Literal["messages", "alpaca", "sharegpt", "prompt", "preference", "ranked", "feedback"]
Objective = Literal["sft", "dpo", "kto"]


class Source(Section):
    path: str
    """A .json, .jsonl, .jsonl.gz, .csv or .parquet file, a folder that `datasets` saved, or the
    id of a dataset on the hub."""
    subset: str | None = None
    """Configuration of a hub dataset."""
    split: str = "train"
    """Split of a hub dataset or of a saved folder."""
    format: Shape | None = None
    """None: detected from the columns, and printed."""
    columns: dict[str, str] = {}
    """Column of the format → column of the file."""
    role: Literal["train", "replay"] = "train"
    """`replay`: general rows against forgetting, measured on eval.retention."""
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Share of this source's rows to take, chosen by the seed; above 1 repeats rows."""
    share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the whole mixture instead of a weight."""

    @model_validator(mode="after")
    def _one_amount(self) -> Source:
        if self.share is not None and "weight" in self.model_fields_set:
            raise ValueError("weight and share are both given; accepted: one of them")
        return self


class Data(Section):
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    max_length: Annotated[int, Field(ge=8, le=2**24)] = 2048
    """Longest row in tokens, prompt and answer together."""
    overflow: Literal["error", "drop"] = "error"
    """What to do with longer rows; dropped rows are counted."""
    on_error: Literal["stop", "skip"] = "stop"
    """What to do with a row that cannot be read or encoded; skipped rows are counted and listed."""
    dedup: Literal["none", "exact", "near"] = "none"
    """Drop examples whose text repeats an earlier one's, or nearly does; dropped are counted."""
    near: Annotated[float, Field(ge=0.5, le=1)] = 0.7
    """Jaccard similarity of word 3-grams from which two examples are near duplicates."""
    overlap: Literal["error", "drop", "warn"] = "error"
    """What to do with examples that an evalset of the recipe also holds."""
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the distinct prompts that is kept out of training."""
    holdout_types: tuple[str, ...] = ()
    """Instruction types kept out of training, to measure generalisation to unseen tasks."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _shares_leave_room(self) -> Data:
        shares = sum(each.share or 0 for each in self.sources)
        if shares >= 1 or all(each.share for each in self.sources):
            raise ValueError(
                f"the shares of the sources sum to {shares:g}; accepted: less than 1, "
                "with at least one source that has a weight"
            )
        return self


class Lora(Section):
    r: Annotated[int, Field(ge=1, le=MAX_LORA_RANKS[-1])] = 16
    alpha: Annotated[float, Field(gt=0, le=65536)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: str | tuple[str, ...] = "all-linear"
    exclude: tuple[str, ...] = ()
    """Modules left out of `targets`, as in PEFT's exclude_modules."""
    layers: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Indices of the layers to train; None: all."""
    rank_pattern: dict[str, Annotated[int, Field(ge=1, le=MAX_LORA_RANKS[-1])]] = {}
    """Module name or pattern → rank, where it is not `r`."""
    alpha_pattern: dict[str, Annotated[float, Field(gt=0, le=65536)]] = {}
    rslora: bool = False
    init_from: str | None = None
    """Version or alias in the store to go on training from, with its rank and targets."""

    @model_validator(mode="before")
    @classmethod
    def _servable(cls, values: Any) -> Any:
        """Names PEFT knows but vLLM cannot load, refused with the reason."""
        for key in values if isinstance(values, dict) else ():
            if key in _UNSERVABLE:
                raise ValueError(f"{key!r} cannot be served: {_UNSERVABLE[key]}; remove it")
        return values

    @field_validator("targets")
    @classmethod
    def _trainable(cls, targets: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not targets:
            raise ValueError("no module is named; accepted: all-linear, or names of modules")
        if "lm_head" in ((targets,) if isinstance(targets, str) else targets):
            raise ValueError("'lm_head' cannot be a target: TRL's loss fuses the output head")
        return targets


_DEFAULT_INIT = (
    "only PEFT's default initialisation is offered; vLLM refuses PiSSA, OLoRA, CorDA and LoftQ "
    "adapters because they change the base"
)
_UNSERVABLE = {
    "use_dora": "vLLM refuses DoRA adapters",
    "dora": "vLLM refuses DoRA adapters",
    "bias": "vLLM refuses adapters with bias",
    "lora_bias": "vLLM refuses adapters with bias",
    "modules_to_save": "vLLM refuses adapters that carry full modules",
    "init_lora_weights": _DEFAULT_INIT,
    "init": _DEFAULT_INIT,
    "layer_replication": "vLLM refuses replicated layers",
    "trainable_token_indices": "vLLM refuses adapters with trained token embeddings",
    "alora_invocation_tokens": "vLLM refuses activated LoRA",
}


class Train(Section):
    objective: Objective = "sft"
    beta: Annotated[float, Field(gt=0, le=100)] = 0.1
    """How strongly DPO and KTO hold to the reference model."""
    epochs: Annotated[float, Field(gt=0, le=10_000)] = 1.0
    max_steps: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Optimizer steps; overrides epochs."""
    lr: Annotated[float, Field(gt=0, le=10)] = 2e-4
    batch: Count = 16
    """Rows of all processes together in one pass; times grad_accum in one optimizer step."""
    grad_accum: Count = 1
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.0
    save_every: Annotated[int, Field(ge=1, le=10_000_000)] = 50
    """Steps between checkpoints; an interrupted training resumes from the last."""
    seed: Seed = 0
    extra: dict[str, Any] = {}
    """More arguments for TRL's SFTConfig, DPOConfig or KTOConfig."""

    @model_validator(mode="before")
    @classmethod
    def _gentle_preference(cls, values: Any) -> Any:
        """Preference training moves an already good model; its step is a tenth."""
        if isinstance(values, dict) and values.get("objective") in ("dpo", "kto"):
            return {"lr": 2e-5} | values
        return values

    @field_validator("extra")
    @classmethod
    def _ours(cls, extra: dict[str, Any]) -> dict[str, Any]:
        for key in extra:
            if key in _OURS:
                raise ValueError(f"{key!r} cannot be passed to TRL: {_OURS[key]}")
        return extra


_RUN = "it is what makes a run resumable and its adapter the same"
_ENCODED = "rows reach TRL encoded, as they will be served"
_ORDER = "the seeds and train.batch decide which rows are visited when"
_EVALUATED = "answers are evaluated in the round, on its evalset"
_LOADED = "the base is loaded as the section base says"
_REFERENCE = "the reference is the base or the parent, asked with each batch and without dropout"
_OURS = {
    **dict.fromkeys(
        ("output_dir", "resume_from_checkpoint", "save_only_model", "enable_jit_checkpoint",
         "save_strategy", "save_total_limit", "load_best_model_at_end", "push_to_hub",
         "remove_unused_columns", "ignore_data_skip", "local_rank"),
        _RUN,
    ),
    **dict.fromkeys(
        ("assistant_only_loss", "completion_only_loss", "chat_template_path", "eos_token",
         "pad_token", "max_length", "max_prompt_length", "max_completion_length",
         "max_seq_length", "truncation_mode", "dataset_text_field", "dataset_kwargs",
         "packing", "packing_strategy", "eval_packing"),
        _ENCODED,
    ),
    **dict.fromkeys(
        ("data_seed", "train_sampling_strategy", "shuffle_dataset", "dataloader_drop_last",
         "auto_find_batch_size", "accelerator_config"),
        _ORDER,
    ),
    **dict.fromkeys(("eval_strategy", "evaluation_strategy", "eval_on_start"), _EVALUATED),
    **dict.fromkeys(("model_init_kwargs", "trust_remote_code"), _LOADED),
    **dict.fromkeys(
        ("precompute_ref_log_probs", "precompute_ref_batch_size", "disable_dropout",
         "sync_ref_model", "ref_model_mixup_alpha", "ref_model_sync_steps"),
        _REFERENCE,
    ),
    "max_steps": "set train.max_steps",
    "seed": "set train.seed",
    "learning_rate": "set train.lr",
    "num_train_epochs": "set train.epochs",
    "per_device_train_batch_size": "set train.batch",
    "gradient_accumulation_steps": "set train.grad_accum",
    "lr_scheduler_type": "set train.schedule",
    "warmup_steps": "set train.warmup_steps",
    "warmup_ratio": "set train.warmup_steps",
    "weight_decay": "set train.weight_decay",
    "save_steps": "set train.save_every",
    "beta": "set train.beta",
    "report_to": "set compute.report_to",
    "bf16": "set base.dtype",
    "fp16": "set base.dtype",
    "use_cpu": "the device is found",
}  # fmt: skip


class Compute(Section):
    """How, not what: left out of the recipe's digest."""

    threads: Annotated[int, Field(ge=1, le=4096)] | None = None
    """CPU threads of training and serving; None: all cores for training, one for serving."""
    endpoint: str | None = None
    """Base URL of a running `harness serve`; None: start one for the round."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port for a started server; None: any free one."""
    processes: Count = 1
    """Training processes (torch.distributed); train.batch is divided among them."""
    accelerate_config: str | None = None
    """A file of `accelerate config`; the training is then launched by accelerate."""
    report_to: tuple[Literal["tensorboard", "mlflow", "wandb", "trackio"], ...] = ()
    """Experiment trackers that also get the training curve."""
    price_per_hour: Annotated[float, Field(ge=0)] | None = None
    """What the machine costs, for the estimate of `harness check`."""
