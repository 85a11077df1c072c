"""Greedy answers of the pocket base, with or without an adapter, in transformers on one thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

BATCH = 70


class Answerer:
    """A loaded base, and an adapter unless it is None."""

    def __init__(self, base: Path, adapter: Path | None) -> None:
        torch.set_num_threads(1)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(base, padding_side="left")
        self.model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        if adapter is not None:
            self.model = PeftModel.from_pretrained(self.model, adapter)
        self.model.eval()

    def answer(self, questions: list[str], max_new_tokens: int) -> list[str]:
        """One answer per question; batches are sorted by length to save padding."""
        prompts = [self._render(question) for question in questions]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        answers = [""] * len(prompts)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            texts = self._generate([prompts[i] for i in chosen], max_new_tokens)
            for i, text in zip(chosen, texts, strict=True):
                answers[i] = text
        return answers

    def _render(self, question: str) -> str:
        message = {"role": "user", "content": question}
        text: str = self.tokenizer.apply_chat_template(
            [message], tokenize=False, add_generation_prompt=True
        )
        return text

    @torch.no_grad()
    def _generate(self, prompts: list[str], max_new_tokens: int) -> list[str]:
        encoded = self.tokenizer(
            prompts, return_tensors="pt", padding=True, add_special_tokens=False
        )
        tokens = self.model.generate(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            max_new_tokens=max_new_tokens,
            do_sample=False,
        )
        new = tokens[:, encoded["input_ids"].shape[1] :]
        return [str(text) for text in self.tokenizer.batch_decode(new, skip_special_tokens=True)]
