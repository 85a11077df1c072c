"""Real PEFT adapters on a tiny random base, and ways to break them."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
Q_A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
Q_B = Q_A.replace("lora_A", "lora_B")
Break = Callable[[Path], None]


def save_base(folder: Path, **options: Any) -> Path:
    """A Llama of two layers with random weights; q_proj is square, the rest is not."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
    sizes |= {"num_hidden_layers": 2, "num_key_value_heads": 1, "vocab_size": 32}
    torch.manual_seed(0)
    options = {"tie_word_embeddings": True, **options}
    saving = {"max_shard_size": options.pop("max_shard_size", "1GB")}
    LlamaForCausalLM(LlamaConfig(**sizes | options)).save_pretrained(folder, **saving)
    return folder


def save_adapter(base_dir: Path, folder: Path, config: Any = None, **options: Any) -> Path:
    """An adapter that stock PEFT writes, every trained number random; `config` instead of a
    LoraConfig of `options`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        base = AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float32)
        plain = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"]}
        config = config or LoraConfig(**plain | {"task_type": "CAUSAL_LM"} | options)
        model = get_peft_model(base, config)
        generator = torch.Generator().manual_seed(1)
        for weights in model.parameters():
            if weights.requires_grad:
                weights.data = 0.2 * torch.randn(weights.shape, generator=generator)
        model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink()
    return folder


def configured(**changes: Any) -> Break:
    """Set keys of adapter_config.json."""

    def change(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(config | changes))

    return change


def weighted(change: Callable[[dict[str, Any]], Any]) -> Break:
    """Change the tensors, in place or by returning others."""

    def apply(folder: Path) -> None:
        from safetensors.numpy import load_file, save_file

        tensors = {name: np.array(values) for name, values in load_file(folder / WEIGHTS).items()}
        save_file(change(tensors) or tensors, folder / WEIGHTS)

    return apply


def number(name: str, value: float) -> Break:
    """One number of a tensor becomes `value`."""
    return weighted(lambda tensors: tensors[name].__setitem__((0, 0), value))


def shaped(name: str, *shape: int) -> Break:
    """A tensor gets another shape."""
    return weighted(lambda tensors: {**tensors, name: np.ones(shape, np.float32)})


def renamed(old: str, new: str) -> Break:
    """A part of all names becomes another."""
    return weighted(
        lambda tensors: {name.replace(old, new): each for name, each in tensors.items()}
    )


def without(part: str) -> Break:
    """The tensors with `part` in their name are left out."""
    return weighted(
        lambda tensors: {name: each for name, each in tensors.items() if part not in name}
    )


def holding(name: str, data: bytes) -> Break:
    """A file with these contents, in the place of one or beside the others."""

    def write(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return write


def cut(n_bytes: int) -> Break:
    """The weights end so many bytes early."""
    return lambda folder: os.truncate(folder / WEIGHTS, (folder / WEIGHTS).stat().st_size - n_bytes)


def pickled(folder: Path) -> None:
    """The weights as PEFT wrote them before safetensors."""
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / WEIGHTS), folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()
