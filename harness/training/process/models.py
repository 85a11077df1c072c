"""The base and the LoRA on it: what is trained, and what is served afterwards.

Part of the training process: imports torch, transformers and peft. Knows nothing of rows or
trainers.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from harness.errors import RecipeError
from harness.training.targets import ALL_LINEAR

ADAPTER = "default"
"""What PEFT calls the adapter that is trained."""


def load_model(job: dict[str, Any]) -> tuple[Any, LoraConfig | None]:
    """The base, and the LoRA to put on it; None where it carries its parent's already.

    Raises RecipeError where the base cannot be quantised on this machine.
    """
    base = _quantised(job) if job["quantize"] else _plain(job)
    lora = job["lora"]
    if job["parent_dir"] is None:
        return base, lora_config(lora, base)
    config = LoraConfig.from_pretrained(job["parent_dir"])
    config.lora_dropout = lora["dropout"]
    config.base_model_name_or_path = job["base_dir"]
    model = PeftModel.from_pretrained(
        base, job["parent_dir"], ADAPTER, is_trainable=True, config=config
    )
    return model, None


def as_served(trained: Any, job: dict[str, Any], adapter_dir: Path) -> Any:
    """The model whose log-probabilities a server must reproduce: the trained one, but on the
    unquantised base. That one is loaded again, for the processor: a base that was quantised may
    not fit the GPU."""
    if not job["quantize"]:
        return trained
    return PeftModel.from_pretrained(_plain(job), adapter_dir, ADAPTER)


def save_adapter(model: Any, adapter_dir: Path, state: dict[str, Any] | None = None) -> None:
    """Write the trained adapter, in float32 whatever it was trained in, which changes no value;
    without the copy of its parent that a preference training held beside it.

    `state` has the weights where they are spread over several processes.
    """
    model.save_pretrained(
        adapter_dir, selected_adapters=[ADAPTER], state_dict=state, save_embedding_layers=False
    )
    path = adapter_dir / "adapter_model.safetensors"
    tensors = load_file(path)
    if any(tensor.dtype != torch.float32 for tensor in tensors.values()):
        wide = {name: tensor.float() for name, tensor in tensors.items()}
        save_file(wide, path, metadata={"format": "pt"})


def _plain(job: dict[str, Any]) -> Any:
    return AutoModelForCausalLM.from_pretrained(job["base_dir"], dtype=getattr(torch, job["dtype"]))


def _quantised(job: dict[str, Any]) -> Any:
    """The base in 4-bit NormalFloat with double quantisation (Dettmers et al. 2023,
    arXiv:2305.14314), computing in bfloat16."""
    if not torch.cuda.is_available():
        raise RecipeError(
            "base.quantize: nf4 needs an NVIDIA GPU, and torch finds none here",
            hint="leave base.quantize out, or train on a machine with a GPU",
        )
    if find_spec("bitsandbytes") is None:
        raise RecipeError(
            "base.quantize: nf4 needs bitsandbytes, which is not installed",
            hint="pip install bitsandbytes",
        )
    return AutoModelForCausalLM.from_pretrained(
        job["base_dir"],
        dtype=torch.bfloat16,
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=job["quantize"],
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        ),
    )


def lora_config(lora: dict[str, Any], base: Any) -> LoraConfig:
    """The recipe's `lora` section as PEFT takes it."""
    targets = lora["targets"]
    if targets == ALL_LINEAR and lora["layers"] is not None:
        targets = _linear_names(base)
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora["r"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        target_modules=targets,
        exclude_modules=lora["exclude"] or None,
        layers_to_transform=lora["layers"],
        rank_pattern=lora["rank_pattern"],
        alpha_pattern=lora["alpha_pattern"],
        use_rslora=lora["rslora"],
    )


def _linear_names(base: Any) -> list[str]:
    """What all-linear stands for; PEFT takes layers with a list of names only."""
    head = base.get_output_embeddings()
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in base.named_modules()
            if isinstance(module, torch.nn.Linear) and module is not head
        }
    )
