"""Examples as the readers make them, in one line."""

from __future__ import annotations

from harness.training.reading.example import Example
from harness.types import Message


def example(prompt: str, answer: str, source: str = "rows.jsonl:1") -> Example:
    return Example((said("user", prompt), said("assistant", answer)), source)


def chat(*turns: tuple[str, str], source: str = "rows.jsonl:1") -> Example:
    return Example(tuple(said(role, text) for role, text in turns), source)


def said(role: str, text: str) -> Message:
    return Message.model_validate({"role": role, "content": text})
