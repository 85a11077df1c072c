"""The recipes of real bases on small random ones: check, two steps, publish, stock PEFT."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from benchmarks.recipes import needs
from harness.errors import HarnessError
from harness.recipe import load
from harness.store import Store
from tests.dry_runs import RECIPES, DryRun, check_small, publish_small, train_all
from tests.families import FAMILIES

NAMES = sorted(FAMILIES)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DryRun]:
    """All of them checked, and then trained together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "unused")
        folder = tmp_path_factory.mktemp("dry")
        found = {name: check_small(name, folder / name) for name in NAMES}
        train_all(list(found.values()))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_passes_its_check(runs: dict[str, DryRun], name: str) -> None:
    checkup = runs[name].checkup
    assert not [each for each in checkup.template if each.level == "error"]
    stops = {checkup.plan.chat.decode([each]) for each in checkup.plan.contract.stop_ids}
    assert stops >= {*FAMILIES[name].stops, FAMILIES[name].eos}
    assert {each.number for each in checkup.rows} >= {1}


@pytest.mark.parametrize("name", NAMES)
def test_the_adapter_is_published_and_stock_peft_loads_it(
    runs: dict[str, DryRun], name: str
) -> None:
    run = runs[name]
    version = publish_small(run)
    store = Store(run.home)
    manifest = store.manifest(version)
    assert (manifest.rank, manifest.n_steps, manifest.base.dtype) == (16, 2, "bfloat16")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        base = AutoModelForCausalLM.from_pretrained(
            run.loaded.recipe.base.model, dtype=torch.bfloat16
        )
        model = PeftModel.from_pretrained(base, store.version_dir(version)).eval()
    row = manifest.probes[0]
    with torch.no_grad():
        ids = torch.tensor([row.prompt_ids + row.completion_ids])
        tuned = model(input_ids=ids).logits
        with model.disable_adapter():
            plain = model(input_ids=ids).logits
    assert tuned.isfinite().all()
    assert not torch.equal(tuned, plain)


@pytest.mark.parametrize("name", NAMES)
def test_the_header_has_the_figures_that_the_benchmark_computes(name: str) -> None:
    text = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8")
    header, _, _ = text.partition("\nname:")
    found = needs(name)
    for said in (
        f"harness check recipes/{name}.yaml",
        f"harness round recipes/{name}.yaml --promote",
        "Computed, not measured (python -m benchmarks.recipes",
        f"training {found.training:.1f} GiB",
        f"serving {found.serving:.1f} GiB",
        f"{found.minutes:.1f} min a million tokens",
        f"One GPU with {found.gpu.split()[1]} GB",
        f"what one {found.gpu.split()[0]} can do",
    ):
        assert said in header
    assert (load(RECIPES / f"{name}.yaml").recipe.base.model) == FAMILIES[name].hub


def shown(run: DryRun, number: int = 2) -> str:
    """A row as the model reads it."""
    plan = run.checkup.plan
    return plan.chat.decode(plan.prepared.rows[number - 1].input_ids)


def test_what_is_peculiar_to_each_template(runs: dict[str, DryRun]) -> None:
    said = {name: shown(run) for name, run in runs.items()}
    assert "<think>\n\n</think>\n\n" in said["qwen3-0.6b"]
    assert "<think>" not in said["qwen3-4b"]
    assert "Today Date: 26 Jul 2024" in said["llama-3.2-1b"]
    assert "Today Date: 26 Jul 2024" in said["llama-3.1-8b"]
    assert "system" not in said["gemma-3-1b"]
    assert "<start_of_turn>user\nBe " in said["gemma-3-1b"]
    assert "[INST] Be " in said["mistral-7b"]
    for name in ("llama-3.2-1b", "llama-3.1-8b", "mistral-7b", "gemma-3-1b"):
        assert said[name].count(FAMILIES[name].bos or "") == 1


def test_the_template_of_mistrals_hub_loses_system_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    with pytest.raises(HarnessError, match="Be "):
        check_small("mistral-7b", tmp_path, "chat.template=null")


def test_weights_that_a_hub_holds_twice_count_once(runs: dict[str, DryRun]) -> None:
    """A hub of Mistral's has them in its own format too, with other names for the same matrices."""
    cost = {name: run.checkup.cost for name, run in runs.items()}
    assert cost["mistral-7b"].n_trainable == cost["llama-3.1-8b"].n_trainable


def test_llamas_template_writes_the_clock_unless_it_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    with pytest.raises(HarnessError, match="clock"):
        check_small("llama-3.2-1b", tmp_path, "chat.kwargs={}")
