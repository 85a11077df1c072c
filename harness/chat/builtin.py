"""The chat templates that come with the harness, and the token that ends an answer in each.

They keep every content as it was given and read no clock. Knows nothing of tokenizers.
"""

from __future__ import annotations

from pathlib import Path

BUILTIN: dict[str, str | None] = {
    "chatml": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "alpaca": None,
    "mistral": None,
}
"""Name → text of the end token; None: the tokenizer's own (eos_token)."""
_FOLDER = Path(__file__).parent / "templates"


def builtin_path(name: str) -> Path:
    """The Jinja file of a template in `BUILTIN`."""
    return _FOLDER / f"{name}.jinja"


def builtin_source(name: str) -> str:
    """Its text."""
    return builtin_path(name).read_text(encoding="utf-8")
