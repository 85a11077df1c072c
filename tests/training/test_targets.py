"""Targets that no server could load are refused before a training is paid for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.errors import RecipeError
from harness.training.prepare import prepare
from harness.training.targets import require_targets
from tests.chat.templates import POCKET
from tests.training.recipes import chats, make_recipe, write_rows


@pytest.mark.parametrize(
    "targets",
    [
        "all-linear",
        ("q_proj", "v_proj"),
        ("self_attn.o_proj",),
        ("model.layers.0.mlp.up_proj",),
        r".*\.(q|v)_proj",
    ],
)
def test_linear_layers_are_accepted(targets: str | tuple[str, ...]) -> None:
    require_targets(targets, POCKET)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (
            ("q_prj",),
            "'q_prj': the base has no such module.*did you mean 'q_proj'\\? accepted: all",
        ),
        (("q_proj", "c_attn"), "'c_attn': the base has no such module"),
        (("proj",), "'proj': the base has no such module"),
        (("",), "'': the base has no such module"),
        (("embed_tokens",), "'embed_tokens': model.embed_tokens is no linear layer"),
        (("q_norm",), r"'q_norm': model\.layers\.0\.self_attn\.q_norm is no linear layer"),
        (("input_layernorm",), "is no linear layer"),
        ("q_proj", "'q_proj': the base has no such module"),
        (".*", "'.*': model.embed_tokens is no linear layer"),
        ("(", r"'\(': not a regular expression"),
    ],
)
def test_all_else_is_refused_with_the_nearest(targets: str | tuple[str, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=rf"lora\.targets.*{message}"):
        require_targets(targets, POCKET)


def test_the_output_head_of_an_untied_base_is_refused(tmp_path: Path) -> None:
    tensors = {"model.a.weight": np.zeros((2, 2)), "lm_head.weight": np.zeros((2, 2))}
    save_file(tensors, tmp_path / "model.safetensors")
    require_targets(("a",), tmp_path)
    with pytest.raises(RecipeError, match="lm_head is no linear layer"):
        require_targets(r"lm_head|model\.a", tmp_path)


def test_a_check_of_the_recipe_asks_for_it(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", chats(2))
    with pytest.raises(RecipeError, match="did you mean 'gate_proj'"):
        prepare(make_recipe(tmp_path, lora={"targets": ["gate_prj"]}))
