"""What lands in the store is clean, loads with stock PEFT and says the truth about itself."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from harness.errors import EnvironmentFault
from harness.store import Store
from harness.training.job import JobDir, select_probes
from harness.training.launch import train
from harness.training.prepare import prepare
from harness.training.publish import publish
from tests.chat.templates import POCKET
from tests.store.build import save_base
from tests.training.conftest import Finished
from tests.training.recipes import chats, make_recipe, write_rows

Tensors = dict[str, Any]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def test_a_version_is_clean_and_complete(finished: Finished, store: Store) -> None:
    version = publish(finished.recipe, finished.prepared, finished.job_dir, store)
    store.verify(version)
    version_dir = store.version_dir(version)
    assert sorted(each.name for each in version_dir.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "manifest.json",
    ]
    assert {each.stat().st_mode & 0o777 for each in version_dir.iterdir()} == {0o644}
    config = json.loads((version_dir / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "pocket"
    assert config["target_modules"] == sorted(config["target_modules"])
    assert (version_dir / "chat_template.jinja").read_text() == finished.prepared.template
    manifest = store.manifest(version)
    assert (manifest.rank, manifest.n_rows, manifest.n_steps) == (8, 60, 10)
    assert manifest.base == finished.prepared.base
    assert not any((store.home / "staging").iterdir())


def test_publishing_again_is_the_same_version(finished: Finished, store: Store) -> None:
    first = publish(finished.recipe, finished.prepared, finished.job_dir, store)
    assert publish(finished.recipe, finished.prepared, finished.job_dir, store) == first
    assert store.versions() == [first]
    assert store.find_trained(store.manifest(first).train_key) == first


def require_evidence(store: Store, version: str) -> None:
    """Stock PEFT gives every probe's log-probabilities, with the adapter and without."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        base = AutoModelForCausalLM.from_pretrained(POCKET, dtype=torch.float32)
        model = PeftModel.from_pretrained(base, store.version_dir(version))
    model.eval()

    def logprobs(prompt: tuple[int, ...], completion: tuple[int, ...]) -> list[float]:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + completion])).logits[0]
        table = logits.log_softmax(-1)
        places = range(len(prompt) - 1, len(prompt) + len(completion) - 1)
        return [float(table[i, token]) for i, token in zip(places, completion, strict=True)]

    probes = store.manifest(version).probes
    assert len(probes) == 8
    for probe in probes:
        tuned = logprobs(probe.prompt_ids, probe.completion_ids)
        assert tuned == pytest.approx(probe.logprobs, abs=1e-4)
        with model.disable_adapter():
            plain = logprobs(probe.prompt_ids, probe.completion_ids)
        assert plain == pytest.approx(probe.base_logprobs, abs=1e-4)
        assert tuned != plain


def test_stock_peft_reproduces_the_evidence(finished: Finished, store: Store) -> None:
    version = publish(finished.recipe, finished.prepared, finished.job_dir, store)
    require_evidence(store, version)
    for probe in store.manifest(version).probes:
        assert sum(probe.logprobs) > sum(probe.base_logprobs)


def rows_for(objective: str, n: int) -> list[dict[str, Any]]:
    """A file's rows of an objective, from the chats."""
    found = []
    for index, chat in enumerate(chats(n)):
        asked, answer = (each["content"] for each in chat["messages"])
        row: dict[str, Any] = {"prompt": asked}
        if objective == "dpo":
            row |= {"chosen": answer, "rejected": "I would rather not say."}
        else:
            row |= {"completion": answer}
        if objective == "kto":
            row |= {"label": index % 3 > 0}
        found.append(row)
    return found


@pytest.mark.parametrize(
    ("objective", "continued", "lora", "rank"),
    [
        ("sft", True, {}, 8),
        ("dpo", False, {"rank_pattern": {"q_proj": 4, "down_proj": 12}, "rslora": True}, 12),
        ("dpo", True, {}, 8),
        ("kto", False, {"layers": [1, 3], "exclude": ["k_proj", "gate_proj"]}, 8),
    ],
)
def test_every_objective_is_published_as_one_lora_on_the_base(
    finished: Finished,
    store: Store,
    tmp_path: Path,
    objective: str,
    continued: bool,
    lora: dict[str, Any],
    rank: int,
) -> None:
    parent = publish(finished.recipe, finished.prepared, finished.job_dir, store)
    write_rows(tmp_path / "rows.jsonl", rows_for(objective, 24))
    recipe = make_recipe(
        tmp_path,
        train={"objective": objective, "max_steps": 4, "batch": 8},
        lora={"dropout": 0.0, "init_from": parent if continued else None} | lora,
    )
    parent_dir = store.version_dir(parent) if continued else None
    prepared = prepare(recipe, parent_dir=parent_dir)
    train(recipe, prepared, tmp_path / "job", on_event=lambda event: None)
    version = publish(recipe, prepared, tmp_path / "job", store)
    store.verify(version)
    manifest = store.manifest(version)
    assert (manifest.objective, manifest.rank, manifest.quantize) == (objective, rank, None)
    assert manifest.parent == (parent if continued else None)
    assert sorted(each.name for each in JobDir(tmp_path / "job").adapter.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    config = json.loads((store.version_dir(version) / "adapter_config.json").read_text())
    assert config["exclude_modules"] == (sorted(lora["exclude"]) if "exclude" in lora else None)
    require_evidence(store, version)
    assert "Could not find a config file" not in JobDir(tmp_path / "job").log.read_text()


def test_an_adapter_that_is_still_its_parent_is_refused(
    finished: Finished, store: Store, tmp_path: Path
) -> None:
    parent = publish(finished.recipe, finished.prepared, finished.job_dir, store)
    prepared = finished.prepared._replace(parent_dir=store.version_dir(parent))
    with pytest.raises(EnvironmentFault, match="it is its parent, unchanged"):
        publish(finished.recipe, prepared, finished.job_dir, store)


def test_probes_are_spread_and_are_the_rows(finished: Finished, store: Store) -> None:
    prepared = finished.prepared
    version = publish(finished.recipe, prepared, finished.job_dir, store)
    chosen = select_probes(prepared.rows, prepared.contract.stop_ids)
    assert [each.row for each in chosen] == [0, 8, 17, 25, 34, 42, 51, 59]
    for place, probe in zip(chosen, store.manifest(version).probes, strict=True):
        row = prepared.rows[place.row]
        assert probe.prompt_ids + probe.completion_ids == row.input_ids
        assert probe.completion_ids[-1] in prepared.contract.stop_ids
    assert len(select_probes(prepared.rows[:3], prepared.contract.stop_ids)) == 3
    assert len(select_probes(prepared.rows[:1], prepared.contract.stop_ids)) == 1


def without_one_side(tensors: Tensors) -> Tensors:
    name = next(each for each in tensors if "lora_B" in each)
    return {key: value for key, value in tensors.items() if key != name}


def with_nan(tensors: Tensors) -> Tensors:
    name = next(iter(tensors))
    broken = tensors[name].copy()
    broken[0, 0] = np.nan
    return tensors | {name: broken}


def with_zero_b(tensors: Tensors) -> Tensors:
    return {key: value * (0 if "lora_B" in key else 1) for key, value in tensors.items()}


def of_another_rank(tensors: Tensors) -> Tensors:
    return {key: value[:4] if "lora_A" in key else value for key, value in tensors.items()}


def with_full_module(tensors: Tensors) -> Tensors:
    return tensors | {"base_model.model.lm_head.weight": np.zeros((2, 2), np.float32)}


def with_nothing(tensors: Tensors) -> Tensors:
    return {}


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (with_nan, "not finite"),
        (with_zero_b, "does nothing"),
        (without_one_side, "has only lora_A"),
        (of_another_rank, "are not a LoRA of rank 8"),
        (with_full_module, "lm_head.weight': is not a LoRA tensor"),
        (with_nothing, "no LoRA tensors"),
    ],
)
def test_an_unfit_adapter_is_refused(
    finished: Finished,
    store: Store,
    tmp_path: Path,
    spoil: Callable[[Tensors], Tensors],
    expected: str,
) -> None:
    shutil.copytree(finished.job_dir, tmp_path / "job")
    path = JobDir(tmp_path / "job").adapter / "adapter_model.safetensors"
    save_file(spoil(load_file(path)), path)
    with pytest.raises(EnvironmentFault, match=expected):
        publish(finished.recipe, finished.prepared, tmp_path / "job", store)
    assert store.versions() == []


def test_evidence_that_is_not_finite_is_refused(
    finished: Finished, store: Store, tmp_path: Path
) -> None:
    shutil.copytree(finished.job_dir, tmp_path / "job")
    path = JobDir(tmp_path / "job").probes
    evidence = json.loads(path.read_text())
    evidence[3]["logprobs"][0] = float("nan")
    path.write_text(json.dumps(evidence))
    with pytest.raises(EnvironmentFault, match=r"rows\.jsonl:.*: its log-probabilities are not"):
        publish(finished.recipe, finished.prepared, tmp_path / "job", store)
    assert store.versions() == []
    assert not any((store.home / "staging").iterdir())


def test_an_adapter_without_its_weights_is_refused(
    finished: Finished, store: Store, tmp_path: Path
) -> None:
    shutil.copytree(finished.job_dir, tmp_path / "job")
    (JobDir(tmp_path / "job").adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(EnvironmentFault, match=r"adapter_model\.safetensors is missing"):
        publish(finished.recipe, finished.prepared, tmp_path / "job", store)


def test_an_adapter_of_another_base_is_refused(
    finished: Finished, store: Store, tmp_path: Path
) -> None:
    other = save_base(tmp_path / "other")
    prepared = finished.prepared._replace(base_dir=other)
    with pytest.raises(EnvironmentFault, match="the trained adapter is refused") as caught:
        publish(finished.recipe, prepared, finished.job_dir, store)
    assert "changes a matrix of shape" in str(caught.value) or "no matrix" in str(caught.value)


def test_an_unfinished_or_foreign_job_is_refused(
    finished: Finished, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(EnvironmentFault, match="no finished training"):
        publish(finished.recipe, finished.prepared, tmp_path / "none", store)
    other = make_recipe(finished.recipe.root, train={"lr": 1e-3})
    with pytest.raises(EnvironmentFault, match="no finished training"):
        publish(other, finished.prepared, finished.job_dir, store)
