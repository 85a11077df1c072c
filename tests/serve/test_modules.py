"""Names read from safetensors headers."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from harness.errors import DataError
from serve.modules import adapter_modules, base_modules
from tests.serve.fakes import safetensors
from tests.serve.live import POCKET_BASE


def test_the_pocket_base_has_seven_kinds_of_matrices() -> None:
    assert base_modules(POCKET_BASE) == (
        *("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"),
    )


def test_shards_experts_and_quantised_matrices_count_vectors_and_the_head_do_not(
    tmp_path: Path,
) -> None:
    assert base_modules(tmp_path) == ()
    first = safetensors("model.layers.0.mlp.experts.3.up_proj.weight", "lm_head.weight")
    second = safetensors("model.layers.0.qkv.qweight", "model.embed_tokens.weight", "a.bias")
    (tmp_path / "model-00001.safetensors").write_bytes(first)
    (tmp_path / "model-00002.safetensors").write_bytes(second)
    assert base_modules(tmp_path) == ("experts", "qkv", "up_proj")


def test_an_adapters_modules(tmp_path: Path) -> None:
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes(
        safetensors(
            "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
            "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight",
            "base_model.model.model.layers.1.mlp.experts.base_layer.lora_A.weight",
            "base_model.model.lm_head.lora_A.weight",
        )
    )
    assert adapter_modules(path) == {"q_proj", "experts", "lm_head"}


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\x01",
        struct.pack("<Q", 1 << 60),
        struct.pack("<Q", 5) + b"{",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 8) + json.dumps({"a": 1}).encode(),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes(damage)
    with pytest.raises(DataError, match=r"adapter_model\.safetensors: not a safetensors file"):
        adapter_modules(path)
