"""Pretrain the pocket base from scratch on plain text of its world.

    python recipes/pocket/pretrain.py OUT [--steps N] [--seed N]

Schedules run on steps, not on time, and every random choice comes from the seed: a busy machine
trains the same model. Measured figures are in docs/pocket.md.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as functional
from tokenizer import END_OF_TEXT, make_tokenizer
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from harness.pocket.documents import make_document

LENGTH = 160
BATCH = 24
WARMUP_STEPS = 50
DECAY_FROM = 0.5
MUON_LR = 0.02
ADAM_LR = 3e-3
UNPREDICTABLE_SHARE = 0.15


@dataclass(frozen=True)
class Batch:
    """Token ids, one longer than the inputs, and which of them are predictable or padding."""

    ids: torch.Tensor
    predictable: torch.Tensor
    padding: torch.Tensor


def make_model(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """A Qwen3 of 1.4 million parameters with random weights."""
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=6,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=1024,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            attn_implementation="eager",  # faster than sdpa for short sequences on a CPU
        )
    )


Sequence = list[tuple[int, bool]]


def encode_documents(
    tokenizer: PreTrainedTokenizerFast, documents: list[tuple[str, list[tuple[int, int]]]]
) -> Iterator[Sequence]:
    """Each document as (token, is it predictable?), ended by the end-of-text token."""
    encoded = tokenizer(
        [text for text, _ in documents], add_special_tokens=False, return_offsets_mapping=True
    )
    end = tokenizer.convert_tokens_to_ids(END_OF_TEXT)
    rows = zip(documents, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    for (_, spans), ids, offsets in rows:
        marks = [any(a < stop and start < b for a, b in spans) for start, stop in offsets]
        yield [*zip(ids, marks, strict=True), (end, True)]


def pack(documents: list[Sequence], length: int) -> list[Sequence]:
    """Put whole documents into blocks, longest first: a document cut in two teaches guessing."""
    blocks: list[Sequence] = []
    for document in sorted(documents, key=len, reverse=True):
        block = next((b for b in blocks if len(b) + len(document) <= length), None)
        if block is None:
            blocks.append(document[:length])
        else:
            block += document
    return blocks


def batches(
    tokenizer: PreTrainedTokenizerFast, seed: int, done: Callable[[], float]
) -> Iterator[Batch]:
    """Endless packed batches; `done` tells how much of the training is behind."""
    rng = random.Random(seed)
    blocks: list[Sequence] = []
    pad = tokenizer.pad_token_id
    while True:
        if len(blocks) < BATCH:
            documents = [make_document(rng, done()) for _ in range(512)]
            blocks += pack(list(encode_documents(tokenizer, documents)), LENGTH + 1)
            rng.shuffle(blocks)
        chosen, blocks = blocks[:BATCH], blocks[BATCH:]
        ids = torch.full((BATCH, LENGTH + 1), pad)
        predictable = torch.zeros((BATCH, LENGTH + 1), dtype=torch.bool)
        padding = torch.ones((BATCH, LENGTH + 1), dtype=torch.bool)
        for i, block in enumerate(chosen):
            ids[i, : len(block)] = torch.tensor([token for token, _ in block])
            predictable[i, : len(block)] = torch.tensor([mark for _, mark in block])
            padding[i, : len(block)] = False
        yield Batch(ids, predictable, padding)


def make_optimizers(model: Qwen3ForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings and norms."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    inside = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in inside]
    return [
        torch.optim.Muon(
            matrices, lr=MUON_LR, momentum=0.95, weight_decay=0.01, adjust_lr_fn="original"
        ),
        torch.optim.AdamW(rest, lr=ADAM_LR, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def learning_rate_factor(step: int, steps: int) -> float:
    """Linear warm-up, flat, linear decay to zero."""
    decay = (1 - step / steps) / (1 - DECAY_FROM)
    return min(1.0, (step + 1) / WARMUP_STEPS, decay)


def loss_of(model: Qwen3ForCausalLM, batch: Batch, generator: torch.Generator) -> torch.Tensor:
    """Cross-entropy on every predictable token and on a sample of the rest."""
    sampled = torch.rand(batch.ids.shape, generator=generator) < UNPREDICTABLE_SHARE
    counted = ((batch.predictable | sampled) & ~batch.padding)[:, 1:]
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(batch.ids[:, :-1]).last_hidden_state
        logits = model.lm_head(hidden[counted])
    return functional.cross_entropy(logits.float(), batch.ids[:, 1:][counted])


@torch.no_grad()
def accuracy(model: Qwen3ForCausalLM, batch: Batch) -> float:
    """Share of predictable tokens that are predicted."""
    right = model(batch.ids[:, :-1]).logits.argmax(-1) == batch.ids[:, 1:]
    return float(right[batch.predictable[:, 1:]].float().mean())


def save(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Save float32 values that bfloat16 holds exactly, so that any dtype loads the same base."""
    weights = {k: v.to(torch.bfloat16).float() for k, v in model.state_dict().items()}
    weights.pop("lm_head.weight")  # tied to the embedding
    model.save_pretrained(out, state_dict=weights)
    (out / "model.safetensors").chmod(0o644)  # safetensors writes 0600
    # The base, which only read documents, may also end one where it should end a turn.
    ends = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    GenerationConfig(eos_token_id=ends, pad_token_id=tokenizer.pad_token_id).save_pretrained(out)
    tokenizer.save_pretrained(out)


def train(out: Path, steps: int, seed: int, save_every: int) -> None:
    """Train and save; prints progress every 100 steps."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    optimizers = make_optimizers(model)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    full_rates = [group["lr"] for group in groups]
    generator = torch.Generator().manual_seed(seed)
    validation = next(batches(tokenizer, 999_999, lambda: 1.0))
    step = 0
    source = batches(tokenizer, seed, lambda: step / steps)
    total = 0.0
    for step in range(steps):
        for group, rate in zip(groups, full_rates, strict=True):
            group["lr"] = rate * learning_rate_factor(step, steps)
        loss = loss_of(model, next(source), generator)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        total += loss.item()
        if (step + 1) % 100 == 0:
            _report(step + 1, total / 100, accuracy(model, validation))
            total = 0.0
        if (step + 1) % save_every == 0:
            save(model, tokenizer, out / f"step-{step + 1}")
    save(model, tokenizer, out)


def _report(step: int, loss: float, right: float) -> None:
    cpu = time.process_time()
    print(f"step {step} cpu {cpu:.0f} s loss {loss:.4f} predictable {right:.4f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=500)
    options = parser.parse_args()
    train(options.out, options.steps, options.seed, options.save_every)
