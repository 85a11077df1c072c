"""Names read from a base's safetensors headers."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import StoreError
from serve.modules import base_modules
from tests.serve.fakes import safetensors
from tests.serve.live import POCKET_BASE

SQUARE = (2, 2)


def test_the_pocket_base_has_seven_kinds_of_matrices() -> None:
    assert base_modules(POCKET_BASE) == (
        *("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"),
    )


def test_shards_experts_and_quantised_matrices_count_vectors_and_the_head_do_not(
    tmp_path: Path,
) -> None:
    assert base_modules(tmp_path) == ()
    first = {"model.layers.0.mlp.experts.3.up_proj.weight": SQUARE, "lm_head.weight": SQUARE}
    second = {
        "model.layers.0.qkv.qweight": SQUARE,
        "model.embed_tokens.weight": SQUARE,
        "a.bias": SQUARE,
        "norm.weight": (2,),
    }
    (tmp_path / "model-00001.safetensors").write_bytes(safetensors(first))
    (tmp_path / "model-00002.safetensors").write_bytes(safetensors(second))
    assert base_modules(tmp_path) == ("experts", "qkv", "up_proj")


def test_a_damaged_base_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\x01")
    with pytest.raises(StoreError, match=r"model\.safetensors is damaged or cut short"):
        base_modules(tmp_path)
