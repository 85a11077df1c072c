"""The real bases that have a recipe: their public config in full size, and each of them small.

The small ones have random weights and everything that makes the architecture peculiar: grouped
queries, heads wider than their share, norms of queries and keys, tied embeddings, sliding windows,
scaled rotary positions, special tokens. Nothing is downloaded.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from harness import jsonio
from tests.training.recipes import chats

_SCALED = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
_QWEN3 = {
    "vocab_size": 151936,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "tie_word_embeddings": True,
    "max_position_embeddings": 40960,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
}
_LLAMA3 = {
    "vocab_size": 128256,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 131072,
}
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""The pre-tokeniser of Llama 3 without its rule for contractions."""


class Family(NamedTuple):
    """One base as its hub shows it, and how it is made small."""

    hub: str
    """Its config.json and generation_config.json are where the numbers are from."""
    config_class: str
    config: dict[str, Any]
    small: dict[str, Any]
    """Instead of the keys of the same name."""
    template: str
    """A file among trl's chat templates, which are the hubs'; or Jinja source."""
    bos: str | None
    eos: str
    stops: tuple[str, ...]
    """What generation_config.json ends an answer at."""
    specials: tuple[str, ...]


def _sized(hidden: int, inner: int, layers: int, heads: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }


_QWEN_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
_LLAMA_TOKENS = (
    *("<|begin_of_text|>", "<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"),
    *("<|start_header_id|>", "<|end_header_id|>"),
)
_GEMMA_TOKENS = (
    *("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
    *("<start_of_image>", "<end_of_image>", "<image_soft_token>"),
)
_SMALL = {**_sized(128, 192, 2, 4), "num_key_value_heads": 2, "head_dim": 32}
_WIDE = {**_SMALL, "hidden_size": 64}
"""Queries of all heads together are wider than the hidden state, as in Qwen3 and Gemma."""
_NEWEST = (  # what mistralai/Mistral-7B-Instruct-v0.3 does: only where the question comes last
    "{%- if messages[0].role == 'system' -%}{%- set system = messages[0].content -%}"
    "{%- set messages = messages[1:] -%}{%- endif -%}{{- bos_token -}}"
    "{%- for m in messages -%}{%- if m.role == 'user' and loop.last and system is defined -%}"
    "{{- '[INST] ' + system + '\n\n' + m.content + '[/INST]' -}}"
    "{%- elif m.role == 'user' -%}{{- '[INST] ' + m.content + '[/INST]' -}}"
    "{%- else -%}{{- ' ' + m.content + eos_token -}}{%- endif -%}{%- endfor -%}"
)

FAMILIES: dict[str, Family] = {
    "qwen3-0.6b": Family(
        "Qwen/Qwen3-0.6B",
        "Qwen3Config",
        _QWEN3 | _sized(1024, 3072, 28, 16),
        _WIDE,
        "qwen3.jinja",
        None,
        "<|im_end|>",
        ("<|im_end|>", "<|endoftext|>"),
        _QWEN_TOKENS,
    ),
    "qwen3-4b": Family(
        "Qwen/Qwen3-4B-Instruct-2507",
        "Qwen3Config",
        _QWEN3
        | _sized(2560, 9728, 36, 32)
        | {
            "max_position_embeddings": 262144,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e6},
        },
        _WIDE,
        "qwen3_instruct_2507.jinja",
        None,
        "<|im_end|>",
        ("<|im_end|>", "<|endoftext|>"),
        _QWEN_TOKENS,
    ),
    "llama-3.2-1b": Family(
        "meta-llama/Llama-3.2-1B-Instruct",
        "LlamaConfig",
        _LLAMA3
        | _sized(2048, 8192, 16, 32)
        | {
            "head_dim": 64,
            "tie_word_embeddings": True,
            "rope_parameters": _SCALED | {"factor": 32.0},
        },
        _SMALL,
        "llama3_2.jinja",
        "<|begin_of_text|>",
        "<|eot_id|>",
        ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"),
        _LLAMA_TOKENS,
    ),
    "llama-3.1-8b": Family(
        "meta-llama/Llama-3.1-8B-Instruct",
        "LlamaConfig",
        _LLAMA3
        | _sized(4096, 14336, 32, 32)
        | {
            "head_dim": 128,
            "tie_word_embeddings": False,
            "rope_parameters": _SCALED | {"factor": 8.0},
        },
        _SMALL,
        "llama3_1.jinja",
        "<|begin_of_text|>",
        "<|eot_id|>",
        ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"),
        _LLAMA_TOKENS,
    ),
    "mistral-7b": Family(
        "mistralai/Mistral-7B-Instruct-v0.3",
        "MistralConfig",
        _sized(4096, 14336, 32, 32)
        | {
            "vocab_size": 32768,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "rms_norm_eps": 1e-5,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "max_position_embeddings": 32768,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        },
        _SMALL,
        _NEWEST,
        "<s>",
        "</s>",
        ("</s>",),
        ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"),
    ),
    "gemma-3-1b": Family(
        "google/gemma-3-1b-it",
        "Gemma3TextConfig",
        _sized(1152, 6912, 26, 4)
        | {
            "vocab_size": 262144,
            "num_key_value_heads": 1,
            "head_dim": 256,
            "query_pre_attn_scalar": 256,
            "sliding_window": 512,
            "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 4
            + ["sliding_attention"] * 2,
            "tie_word_embeddings": True,
            "max_position_embeddings": 32768,
        },
        _WIDE
        | {
            "num_hidden_layers": 3,
            "num_key_value_heads": 1,
            "query_pre_attn_scalar": 32,
            "sliding_window": 32,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
        "gemma3.jinja",
        "<bos>",
        "<eos>",
        ("<eos>", "<end_of_turn>"),
        _GEMMA_TOKENS,
    ),
}


def config_of(family: Family, **changes: Any) -> Any:
    """Its transformers config in full size, but for `changes`."""
    import transformers

    kind = getattr(transformers, family.config_class)
    return kind(**family.config | {"dtype": "bfloat16"} | changes)


def save_small(family: Family, folder: Path) -> Path:
    """The base as a folder: config, random weights, tokenizer, template, stop tokens."""
    import torch
    from transformers import AutoModelForCausalLM

    ids = _save_tokenizer(family, folder)
    named = {"eos_token_id": ids[family.stops[0]], "pad_token_id": ids[family.specials[0]]}
    config = config_of(
        family,
        **family.small,
        vocab_size=-(-len(ids) // 64) * 64,
        bos_token_id=ids[family.bos] if family.bos else None,
        **named,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    model.generation_config.eos_token_id = [ids[each] for each in family.stops]
    model.save_pretrained(folder)
    if family.config_class == "MistralConfig":
        _add_own_format(folder)
    return folder


def _add_own_format(folder: Path) -> None:
    """The weights a second time under other names, beside what makes vLLM prefer them."""
    from safetensors.torch import load_file, save_file

    held = load_file(folder / "model.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(held, "model.safetensors")}
    jsonio.write_json(folder / "model.safetensors.index.json", index)
    own = {
        name.removeprefix("model.").replace("self_attn.q_proj", "attention.wq"): values
        for name, values in held.items()
    }
    save_file(own, folder / "consolidated.safetensors")
    jsonio.write_json(folder / "params.json", {"dim": 128, "n_layers": 2})
    jsonio.write_bytes(folder / "tokenizer.model.v3", b"not read")


def _save_tokenizer(family: Family, folder: Path) -> dict[str, int]:
    """Byte-level, as small as it can be; token → id."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_WORDS), "isolated")
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_])
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(family.specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = (each["content"] for row in chats(60) for each in row["messages"])
    bpe.train_from_iterator(words, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    bpe.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "TokenizersBackend", "eos_token": family.eos}
    settings |= {"pad_token": family.specials[0]}
    settings |= {"bos_token": family.bos} if family.bos else {}
    jsonio.write_json(folder / "tokenizer_config.json", settings)
    (folder / "chat_template.jinja").write_text(hub_template(family), encoding="utf-8")
    vocabulary: dict[str, int] = bpe.get_vocab(with_added_tokens=True)
    return vocabulary


def hub_template(family: Family) -> str:
    """What the hub ships, or what does the same."""
    if not family.template.endswith(".jinja"):
        return family.template
    found = find_spec("trl")
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin).with_name("chat_templates") / family.template
    return path.read_text(encoding="utf-8")
