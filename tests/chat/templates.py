"""Chat templates and a small real tokenizer that the chat tests share.

The tokenizer merges line breaks with what stands before and after them, as the large
vocabularies do, so that prompts and answers can grow together at their border.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

POCKET = Path(__file__).parents[2] / "harness" / "pocket" / "assets" / "base"
SHARED = Path(__file__).parents[3] / "shared" / "data" / "templates"

CHATML = (
    "{%- for m in messages -%}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' -}}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)
ALPACA = (
    "{{- bos_token -}}{%- for m in messages -%}"
    "{%- if m.role == 'system' -%}{{- m.content + '\n\n' -}}"
    "{%- elif m.role == 'user' -%}{{- '### Instruction:\n' + m.content + '\n\n' -}}"
    "{%- else -%}{{- '### Response:\n' + m.content + eos_token -}}"
    "{%- if not loop.last -%}{{- '\n\n' -}}{%- endif -%}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '### Response:\n' -}}{%- endif -%}"
)
LLAMA = (
    "{{- bos_token -}}{%- for m in messages -%}"
    "{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim -}}"
    "{{- '<|eot_id|>' -}}{%- endfor -%}{%- if add_generation_prompt -%}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}{%- endif -%}"
)
TEMPLATES = {"chatml": (CHATML, "<|im_end|>"), "alpaca": (ALPACA, "</s>")}
TEMPLATES["llama"] = (LLAMA, "<|eot_id|>")

SPECIAL = (
    "<s> </s> <unk> <|im_start|> <|im_end|> <|endoftext|> <|start_header_id|> <|end_header_id|> "
    "<|eot_id|> <|begin_of_text|> <|end|> <|user|> <|assistant|> <|system|> <start_of_turn> "
    "<end_of_turn> <|end_of_text|> <|end_of_turn|>"
).split()
# The pre-tokeniser of Llama 3 without its rule for contractions.
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def make_tokenizer(directory: Path, *, eos: str, **config: Any) -> Path:
    """A model directory without weights: tokenizer and configs."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = "assistant\n\nHello Response:\n\nHello\n\n\n there :\n Hello"
    bpe.train_from_iterator([text] * 50, trainer)
    directory.mkdir(parents=True, exist_ok=True)
    bpe.save(str(directory / "tokenizer.json"))
    tokenizer = {"tokenizer_class": "TokenizersBackend", "bos_token": "<s>", "eos_token": eos}
    _write(directory / "tokenizer_config.json", tokenizer)
    _write(directory / "config.json", {"model_type": "llama"} | config)
    return directory


def real_template(path: Path) -> str:
    """One collection indents its templates and has the layout removed before use."""
    text = path.read_text()
    return text.replace("    ", "").replace("\n", "") if path.parent.name != "trl" else text


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value))
