"""What a training will take, against numbers worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.recipe import Lora
from harness.training.cost import count_trainable, estimate, measured_speed
from harness.training.prepare import prepare
from tests.training.recipes import chats, make_recipe, write_rows


def test_trainable_parameters_are_those_that_peft_counts(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    write_rows(tmp_path / "rows.jsonl", chats(4))
    directory = prepare(make_recipe(tmp_path)).base_dir
    lora = Lora(r=4, targets=("q_proj", "down_proj"), rank_pattern={"q_proj": 8}, layers=(0, 2))
    config = LoraConfig(
        r=4,
        target_modules=["q_proj", "down_proj"],
        rank_pattern={"q_proj": 8},
        layers_to_transform=[0, 2],
    )
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(directory), config)
    counted, total = model.get_nb_trainable_parameters()
    assert count_trainable(lora, directory) == counted
    whole = make_recipe(tmp_path, lora=lora.model_dump())
    cost = estimate(whole.recipe, prepare(whole), None)
    assert (cost.n_trainable, cost.n_parameters) == (counted, total)


def test_tokens_time_and_price(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", chats(40))
    loaded = make_recipe(
        tmp_path,
        train={"max_steps": None, "epochs": 3, "batch": 8},
        compute={"price_per_hour": 3.6},
    )
    prepared = prepare(loaded)
    cost = estimate(loaded.recipe, prepared, 100.0)
    assert (cost.n_steps, cost.n_visits) == (15, 120)
    assert cost.n_tokens == 3 * prepared.counts.n_tokens
    assert cost.hours == pytest.approx(cost.n_tokens / 100 / 3600)
    assert cost.price == pytest.approx(cost.n_tokens / 100 / 1000)
    unknown = estimate(loaded.recipe, prepared, None)
    assert (unknown.hours, unknown.price) == (None, None)


def test_memory_grows_with_what_it_is_made_of(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", chats(40))

    def memory(**sections: dict[str, object]) -> float:
        loaded = make_recipe(tmp_path, **sections)
        return estimate(loaded.recipe, prepare(loaded), None).memory_gib

    small = memory()
    assert memory(lora={"r": 64}) > small
    assert memory(train={"batch": 32}) > small
    assert memory(base={"model": "pocket", "dtype": "bfloat16"}) < small
    assert memory(compute={"processes": 2}) < small


def test_a_pair_takes_the_memory_of_two_rows(tmp_path: Path) -> None:
    rows = [{"prompt": "Who?", "chosen": f"Mara {i}.", "rejected": f"Nia {i}."} for i in range(9)]
    write_rows(tmp_path / "rows.jsonl", rows)
    both = {}
    for objective in ("dpo", "kto"):
        train = {"objective": objective, "batch": 64}
        loaded = make_recipe(tmp_path, train=train, lora={"dropout": 0})
        both[objective] = estimate(loaded.recipe, prepare(loaded), None).memory_gib
    assert 1.2 * both["kto"] < both["dpo"] < 2 * both["kto"]


def test_speed_is_that_of_the_last_training_of_the_base(tmp_path: Path) -> None:
    def training(name: str, base: str, n_tokens: int) -> None:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "job.json").write_text(json.dumps({"made_from": {"base": {"weights": base}}}))
        lines = [
            {"event": "begin", "step": 0},
            {"event": "log", "n_tokens": 10, "elapsed_s": 10.0},
            {"event": "log", "n_tokens": n_tokens, "elapsed_s": 20.0},
        ]
        (folder / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))

    assert measured_speed(tmp_path, "b1") is None
    training("one", "b1", 2000)
    training("other", "b2", 8000)
    assert measured_speed(tmp_path, "b1") == 100.0
    for name, torn in {
        "cut": '{"event": "lo',
        "list": "[1]\n",
        "bare": '{"event": "log"}\n',
    }.items():
        training(name, "b1", 4000)
        with (tmp_path / name / "events.jsonl").open("a") as file:
            file.write(torn)
        assert measured_speed(tmp_path, "b1") == 200.0, "a check does not fail for a cut line"
