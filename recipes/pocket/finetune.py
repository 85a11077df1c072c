"""Train a LoRA on the pocket base from chat rows, with the settings the product's recipes use.

    python recipes/pocket/finetune.py BASE ROWS.jsonl OUT [--steps N] [--seed N] [--keep 20,60]

The rows are encoded here, prompt and answer apart; the loss is on the answer and its stop token.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

IGNORED = -100


def encode(tokenizer: Any, messages: list[dict[str, str]]) -> dict[str, list[int]]:
    """Token ids and labels of a chat whose last message is the answer."""
    prompt = tokenizer.apply_chat_template(
        messages[:-1], tokenize=False, add_generation_prompt=True
    )
    question = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer = tokenizer(messages[-1]["content"], add_special_tokens=False)["input_ids"]
    answer = [*answer, tokenizer.eos_token_id]
    return {"input_ids": question + answer, "labels": [IGNORED] * len(question) + answer}


class KeepSteps(TrainerCallback):  # type: ignore[misc]
    """Save the adapter at chosen steps: imperfect adapters are what a judge has to be good at."""

    def __init__(self, out: Path, steps: set[int]) -> None:
        self.out = out
        self.steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in self.steps:
            save(kwargs["model"], self.out.with_name(f"{self.out.name}-step{state.global_step}"))


def save(model: Any, out: Path) -> None:
    """Write a plain PEFT directory that is the same for the same weights."""
    model.save_pretrained(out)
    config = json.loads((out / "adapter_config.json").read_text())
    config["target_modules"] = sorted(config["target_modules"])
    config["base_model_name_or_path"] = "pocket"
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (out / "README.md").unlink(missing_ok=True)
    (out / "adapter_model.safetensors").chmod(0o644)


def train(options: argparse.Namespace) -> None:
    """Train one adapter."""
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(options.base)
    model = AutoModelForCausalLM.from_pretrained(options.base, dtype=torch.float32)
    rows = [json.loads(line) for line in options.rows.read_text().splitlines()]
    dataset = Dataset.from_list([encode(tokenizer, row["messages"]) for row in rows])
    scratch = options.out.with_name(f"{options.out.name}-scratch")
    settings = SFTConfig(
        output_dir=str(scratch),
        max_length=None,
        per_device_train_batch_size=options.batch,
        max_steps=options.steps,
        learning_rate=options.lr,
        lr_scheduler_type="linear",
        warmup_steps=options.warmup,
        weight_decay=0.0,
        seed=options.seed,
        bf16=options.bf16,
        use_cpu=True,
        gradient_checkpointing=False,
        save_strategy="no",
        logging_steps=25,
        report_to=[],
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=model,
        args=settings,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=options.rank,
            lora_alpha=options.alpha,
            lora_dropout=0.0,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
        callbacks=[KeepSteps(options.out, set(options.keep))],
    )
    wall, cpu = time.time(), time.process_time()
    trainer.train()
    wall, cpu = time.time() - wall, time.process_time() - cpu
    save(trainer.model, options.out)
    shutil.rmtree(scratch, ignore_errors=True)
    print(f"{options.out}: {len(rows)} rows, {options.steps} steps, {wall:.0f} s, cpu {cpu:.0f} s")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--alpha", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument(
        "--keep", type=lambda text: [int(n) for n in text.split(",")], default=[], metavar="N,N"
    )
    return parser.parse_args()


if __name__ == "__main__":
    train(parse())
