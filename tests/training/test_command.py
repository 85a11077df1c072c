"""How the training process is started, and what is refused before it is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from harness.errors import RecipeError
from harness.recipe import Compute, LoadedRecipe
from harness.training.command import (
    PARENT,
    require_processes,
    worker_command,
    worker_environment,
)
from tests.training.recipes import make_recipe

WORKER = ["-m", "harness.training.process.worker", "job"]


def command(recipe: LoadedRecipe) -> list[str]:
    python, *words = worker_command(recipe, Path("job"))
    assert python == sys.executable
    return words


def test_the_environment_is_clean() -> None:
    outer = {"WANDB_MODE": "online", "RANK": "1", "ACCELERATE_MIXED_PRECISION": "bf16"}
    inner = worker_environment(outer | {"CUDA_VISIBLE_DEVICES": "3,4"}, Compute(threads=2))
    assert not inner.keys() & {"RANK", "ACCELERATE_MIXED_PRECISION"}
    assert inner["WANDB_MODE"] == "online", "what a tracker was told by its user"
    assert inner["CUDA_VISIBLE_DEVICES"] == "3"
    assert inner["OMP_NUM_THREADS"] == "2"
    assert inner["HF_HUB_OFFLINE"] == "1"
    assert inner[PARENT] == str(os.getpid())
    assert "OMP_NUM_THREADS" not in worker_environment(outer, Compute())


def test_processes_share_threads_and_have_a_gpu_each() -> None:
    outer = {"CUDA_VISIBLE_DEVICES": "3,4"}
    inner = worker_environment(outer, Compute(threads=5, processes=2))
    assert inner["OMP_NUM_THREADS"] == "2"
    assert inner["CUDA_VISIBLE_DEVICES"] == "3,4"
    assert worker_environment({}, Compute(processes=999))["OMP_NUM_THREADS"] == "1"


def test_one_process_is_plain_python_and_more_are_torch_s(tmp_path: Path) -> None:
    assert command(make_recipe(tmp_path)) == WORKER
    several = command(make_recipe(tmp_path, compute={"processes": 4}))
    assert several == [
        *("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "4"),
        *WORKER,
    ]


def test_accelerate_starts_what_its_file_says(tmp_path: Path) -> None:
    (tmp_path / "fsdp.yaml").write_text("num_processes: 4\nmixed_precision: 'no'\n")
    compute = {"accelerate_config": "fsdp.yaml", "processes": 4}
    recipe = make_recipe(tmp_path, compute=compute)
    require_processes(recipe)
    config = str(tmp_path / "fsdp.yaml")
    start = ["-m", "accelerate.commands.launch", "--config_file", config]
    assert command(recipe) == [*start, *WORKER]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("num_processes: 8\n", "num_processes: 8, the recipe compute.processes: 2"),
        ("mixed_precision: bf16\n", "num_processes: 1, the recipe compute.processes: 2"),
        ("- 1\n", "num_processes: None"),
        ("a: [\n", "fsdp.yaml"),
        (None, "there is no file"),
    ],
)
def test_a_file_that_starts_something_else_is_refused(
    tmp_path: Path, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "fsdp.yaml").write_text(text)
    recipe = make_recipe(tmp_path, compute={"accelerate_config": "fsdp.yaml", "processes": 2})
    with pytest.raises(RecipeError, match=said):
        require_processes(recipe)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, train={"batch": 16}, compute={"processes": 3})
    with pytest.raises(RecipeError, match=r"cannot be divided among compute\.processes = 3"):
        require_processes(recipe)
