"""Real PEFT adapters with random weights, published for one base."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from harness.jsonio import digest, file_digest
from harness.store import Store, base_digest
from tests.serve.fakes import publish

KWARGS = {"mood": "plain"}
"""What the live server gives to every chat's template."""


def random_adapter(base_dir: Path, seed: int, *, scale: float = 0.2) -> dict[str, bytes]:
    """Published file name → contents of a rank-8 adapter that changes what the base says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float32)
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(base, config)
    generator = torch.Generator().manual_seed(seed)
    for name, weights in model.named_parameters():
        if "lora_" in name:
            weights.data = scale * torch.randn(weights.shape, generator=generator)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        config_path, weights_path = (
            Path(folder) / name for name in ("adapter_config.json", "adapter_model.safetensors")
        )
        values = json.loads(config_path.read_text())
        values["base_model_name_or_path"] = "pocket"  # as the manifest says
        config_path.write_text(json.dumps(values))
        return {path.name: path.read_bytes() for path in (config_path, weights_path)}


def prompt_logprobs(
    base_dir: Path, adapter: dict[str, bytes] | None, prompts: list[list[int]]
) -> list[list[float]]:
    """What PEFT gives for each token of equally long prompts but the first."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for name, data in (adapter or {}).items():
            (Path(folder) / name).write_bytes(data)
        if adapter:
            model = PeftModel.from_pretrained(model, folder)
        ids = torch.tensor(prompts)
        logprobs = model(ids).logits[:, :-1].log_softmax(-1)
        found = logprobs.gather(2, ids[:, 1:, None])[..., 0].tolist()
        return [[float(value) for value in row] for row in found]


def publish_adapter(
    store: Store,
    name: str,
    base_dir: Path,
    files: dict[str, bytes],
    *,
    source: str | None = None,
    **different: Any,
) -> str:
    """The adapter as a version that fits a server of `base_dir`, but for what is `different`.
    `source`: its chat template; None: the base's own."""
    template = source.encode() if source else (base_dir / "chat_template.jinja").read_bytes()
    facts = {
        "template": digest(template),
        "config": file_digest(base_dir / "config.json"),
        "weights": base_digest(base_dir),
        "kwargs": KWARGS,
        **different,
    }
    return publish(store, name, files | {"chat_template.jinja": template}, **facts)
