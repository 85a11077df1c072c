"""What an objective, a parent or a tracker needs is known before anything is trained."""

from __future__ import annotations

import dataclasses
import json
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from harness.errors import RecipeError
from harness.pocket import JUDGE_DIR
from harness.recipe import Lora, Train
from harness.recipe.training import _OURS
from harness.training.launch import train
from harness.training.objective import feedback_weights, require_objective
from harness.training.parent import require_parent
from harness.training.prepare import prepare
from harness.training.process.trackers import keep_local, require_trackers
from tests.chat.templates import POCKET
from tests.training.process.jobs import make_job, make_rows, train_here
from tests.training.recipes import chats, make_recipe, write_rows

REMOVED = {
    "max_prompt_length",
    "max_completion_length",
    "max_seq_length",
    "evaluation_strategy",
    "warmup_ratio",
}
"""Arguments of older versions, refused with the reason that their successors get."""


@pytest.mark.parametrize("n_desirable", [1, 7, 10, 13, 20, 400])
@pytest.mark.parametrize("n_undesirable", [1, 9, 10, 14, 300])
def test_feedback_is_weighed_into_the_paper_s_range(n_desirable: int, n_undesirable: int) -> None:
    desirable, undesirable = feedback_weights(n_desirable, n_undesirable)
    ratio = desirable * n_desirable / (undesirable * n_undesirable)
    assert 1 - 1e-9 <= ratio <= 4 / 3 + 1e-9
    assert min(desirable, undesirable) == 1


@pytest.mark.parametrize(
    ("objective", "lora", "counts", "message"),
    [
        ("dpo", {}, (0, 0), r"lora\.dropout = 0\.1: dpo compares .* accepted: 0"),
        ("kto", {}, (3, 3), r"lora\.dropout = 0\.1: kto"),
        ("kto", {"dropout": 0}, (3, 0), "3 are desirable and 0 undesirable"),
        ("kto", {"dropout": 0}, (0, 3), "0 are desirable and 3 undesirable"),
    ],
)
def test_what_an_objective_cannot_use_is_refused(
    tmp_path: Path, objective: str, lora: dict[str, Any], counts: tuple[int, int], message: str
) -> None:
    recipe = make_recipe(tmp_path, train={"objective": objective}, lora=lora).recipe
    with pytest.raises(RecipeError, match=message):
        require_objective(recipe, *counts)


def test_objectives_that_can_be_trained(tmp_path: Path) -> None:
    require_objective(make_recipe(tmp_path).recipe, 0, 0)
    for objective in ("dpo", "kto"):
        loaded = make_recipe(tmp_path, train={"objective": objective}, lora={"dropout": 0})
        require_objective(loaded.recipe, 1, 1)


PARENT: dict[str, Any] = json.loads((JUDGE_DIR / "adapter_config.json").read_text())


def test_a_parent_decides_everything_but_dropout() -> None:
    lora = require_parent(Lora(init_from="a@000000000000", dropout=0.2), PARENT, POCKET)
    assert (lora.r, lora.alpha) == (PARENT["r"], PARENT["lora_alpha"])
    assert set(lora.targets) == set(PARENT["target_modules"])
    assert (lora.dropout, lora.init_from) == (0.2, "a@000000000000")


def test_what_the_recipe_says_again_is_accepted() -> None:
    said = {"r": PARENT["r"], "alpha": PARENT["lora_alpha"], "rslora": False, "exclude": ()}
    for targets in ("all-linear", tuple(reversed(PARENT["target_modules"]))):
        require_parent(Lora(**said, targets=targets), PARENT, POCKET)


@pytest.mark.parametrize(
    "said",
    [
        {"r": 32},
        {"alpha": 5},
        {"rslora": True},
        {"rank_pattern": {"q_proj": 2}},
        {"alpha_pattern": {"q_proj": 2}},
        {"targets": ("q_proj",)},
        {"exclude": ("q_proj",)},
        {"layers": (0,)},
    ],
    ids=lambda said: next(iter(said)),
)
def test_what_the_recipe_says_otherwise_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=rf"lora\.{next(iter(said))} = .* goes on from a@"):
        require_parent(Lora(init_from="a@000000000000", **said), PARENT, POCKET)


def test_a_parent_with_layers_and_patterns_is_adopted() -> None:
    options = {"layers_to_transform": [0, 1], "rank_pattern": {"q_proj": 4}, "use_rslora": True}
    lora = require_parent(Lora(rslora=True), PARENT | options, POCKET)
    assert (lora.layers, lora.rank_pattern, lora.rslora) == ((0, 1), {"q_proj": 4}, True)


def test_every_refused_extra_is_an_argument_of_trl() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl import DPOConfig, KTOConfig, SFTConfig
    fields = {
        field.name
        for each in (SFTConfig, DPOConfig, KTOConfig)
        for field in dataclasses.fields(each)
    }
    assert set(_OURS) - fields == REMOVED
    for key in _OURS:
        with pytest.raises(ValidationError, match=f"'{key}' cannot be passed to TRL"):
            Train(extra={key: 1})


def test_what_only_trl_knows_reaches_the_user_as_one_line(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", chats(8))
    recipe = make_recipe(tmp_path, train={"extra": {"max_grad_nrom": 1}})
    with pytest.raises(RecipeError, match=r"extra\.max_grad_nrom.*did you mean 'max_grad_norm'"):
        train(recipe, prepare(recipe), tmp_path / "job", on_event=lambda event: None)


def test_a_missing_tracker_is_named() -> None:
    require_trackers(())
    with pytest.raises(RecipeError, match="report_to: no_such_tracker is not installed"):
        require_trackers(("no_such_tracker",))


def test_trackers_stay_on_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"WANDB_MODE": "online"})
    keep_local(tmp_path / "trackers")
    found = dict(os.environ)
    assert found.pop("WANDB_MODE") == "online"
    assert len(found) == 4
    assert all(str(tmp_path) in value for value in found.values())


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_gets_the_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="pip install tensorboard"
    )
    monkeypatch.setattr(os, "environ", os.environ.copy())
    job = make_job("sft", n_steps=3, report_to=["tensorboard"])
    train_here(tmp_path / "job", job, make_rows("sft"))
    events = reader.EventAccumulator(str(tmp_path / "job" / "trackers" / "tensorboard"))
    events.Reload()
    assert len(events.Scalars("train/loss")) == 3
