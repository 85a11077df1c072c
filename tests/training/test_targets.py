"""Targets that no server could load are refused before a training is paid for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.errors import RecipeError
from harness.recipe import Lora
from harness.training.prepare import prepare
from harness.training.targets import require_lora, require_targets, targeted_modules
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


@pytest.mark.parametrize(
    "lora",
    [
        {},
        {"layers": (0, 5), "exclude": ("k_proj", "layers.5.mlp.up_proj")},
        {"targets": ("q_proj", "v_proj"), "layers": (1,), "exclude": ("v_proj",)},
        {"rank_pattern": {"q_proj": 4, r"layers\.0\.mlp\..*": 2}},
        {"targets": r".*\.(q|v)_proj", "alpha_pattern": {"self_attn.v_proj": 8}},
    ],
)
def test_options_that_fit_the_base_select_what_peft_selects(lora: dict[str, Any]) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from harness.training.process.models import lora_config

    wanted = Lora(**lora)
    require_lora(wanted, POCKET)
    with torch.device("meta"):
        base = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(POCKET))
    config = lora_config(wanted.model_dump(mode="json"), base)
    assert isinstance(config, LoraConfig)
    model = get_peft_model(base, config)
    trained = {
        name.removeprefix("base_model.model.").rpartition(".lora_A")[0]
        for name, _ in model.named_parameters()
        if ".lora_A." in name
    }
    assert trained == set(targeted_modules(wanted, POCKET))


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ({"layers": (0, 6)}, r"lora\.layers: the base has no layer 6 to train; accepted: 0 to 5"),
        (
            {"layers": (0,), "targets": r".*q_proj"},
            r"lora\.layers: lora\.targets = .* is a regular expression",
        ),
        (
            {"targets": ("q_proj",), "exclude": ("k_proj",)},
            r"lora\.exclude: 'k_proj' is none of the modules that are trained; .*accepted: q_proj",
        ),
        ({"exclude": ("q_prj",)}, r"lora\.exclude: 'q_prj' .*did you mean 'q_proj'"),
        ({"targets": ("q_proj",), "exclude": ("q_proj",)}, "leaves no module to train"),
        ({"rank_pattern": {"up_prj": 4}}, r"lora\.rank_pattern: 'up_prj' .*did you mean 'up_proj'"),
        (
            {"exclude": ("q_proj",), "rank_pattern": {"q_proj": 4}},
            r"rank_pattern: 'q_proj' is none",
        ),
        ({"alpha_pattern": {"q_proj(": 4}}, r"lora\.alpha_pattern: 'q_proj\(' is not a pattern"),
        (
            {"rank_pattern": {"q_proj": 4, "self_attn.q_proj": 2}},
            r"lora\.rank_pattern: 'q_proj' and 'self_attn.q_proj' are both model\.layers\.0\.self",
        ),
    ],
)
def test_options_that_do_not_fit_the_base_are_refused(lora: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        require_lora(Lora(**lora), POCKET)
