"""Adapters as the trainers write them, served by real vLLM: the log-probabilities of PEFT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.serve.adapters import prompt_logprobs, publish_adapter
from tests.serve.live import Live
from tests.training.process.jobs import make_job, make_rows, train_here

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]
PROMPTS = [[10 + index, 20, 300, 40 + 5 * index, 600, 2] for index in range(12)]
FILES = ("adapter_config.json", "adapter_model.safetensors")


def dpo_from_adapter(folder: Path) -> Path:
    parent = train_here(folder / "parent", make_job("sft"), make_rows("sft"))
    job = make_job("dpo", parent_dir=str(parent))
    return train_here(folder / "child", job, make_rows("dpo"))


def ranks_and_rslora(folder: Path) -> Path:
    lora = {"rank_pattern": {"q_proj": 4, "down_proj": 16}, "rslora": True}
    lora |= {"alpha_pattern": {r"layers\.1\.mlp\..*": 48}}
    return train_here(folder, make_job("sft", lora=lora), make_rows("sft"))


def kto_on_some_layers(folder: Path) -> Path:
    lora = {"layers": [1, 3], "exclude": ["k_proj", "gate_proj"]}
    return train_here(folder, make_job("kto", lora=lora), make_rows("kto"))


@pytest.mark.parametrize("make", [dpo_from_adapter, ranks_and_rslora, kto_on_some_layers])
def test_served_log_probabilities_are_those_of_peft(live: Live, tmp_path: Path, make: Any) -> None:
    adapter_dir = make(tmp_path)
    files = {name: (adapter_dir / name).read_bytes() for name in FILES}
    config = json.loads(files["adapter_config.json"]) | {"base_model_name_or_path": "pocket"}
    files["adapter_config.json"] = json.dumps(config).encode()
    rank = max([config["r"], *config["rank_pattern"].values()])
    version = publish_adapter(live.store, "trained", live.base_dir, files, rank=rank)
    body = {"model": version, "prompt": PROMPTS, "prompt_logprobs": 0, "max_tokens": 1}
    with live.client() as client:
        answer = client.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    expected = prompt_logprobs(live.base_dir, files, PROMPTS)
    plain = prompt_logprobs(live.base_dir, None, PROMPTS)
    worst = 0.0
    for choice, prompt, wanted in zip(answer.json()["choices"], PROMPTS, expected, strict=True):
        entries = zip(choice["prompt_logprobs"][1:], prompt[1:], strict=True)
        seen = [entry[str(token)]["logprob"] for entry, token in entries]
        worst = max(worst, *(abs(a - b) for a, b in zip(seen, wanted, strict=True)))
    assert worst < 1e-4
    assert max(abs(a - b) for a, b in zip(expected[0], plain[0], strict=True)) > 0.01
