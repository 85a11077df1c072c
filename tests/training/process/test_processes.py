"""Two gloo processes train what one trains, to a rounding error, and resume exactly."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.errors import EnvironmentFault, Interrupted, RecipeError
from harness.recipe import LoadedRecipe
from harness.training.command import worker_environment
from harness.training.job import JobDir
from harness.training.launch import train
from harness.training.prepare import Prepared, prepare
from tests.training.recipes import chats, make_recipe, write_rows
from tests.training.watching import (
    Blow,
    adapter_of,
    ignore,
    kill,
    launched,
    wait_for,
    workers_of,
)

CLOSE = 1e-6
"""The largest difference of a weight between one process and two."""


def recipe_of(root: Path, processes: int, **sections: Any) -> LoadedRecipe:
    write_rows(root / "rows.jsonl", chats(50))
    train = {"max_steps": 5, "batch": 8, "save_every": 2, "lr": 2e-4, "warmup_steps": 0}
    train |= sections.pop("train", {})
    compute = {"processes": processes} | sections.pop("compute", {})
    return make_recipe(root, lora={"dropout": 0.0}, train=train, compute=compute, **sections)


def as_pairs(prepared: Prepared) -> Prepared:
    """The rows as preferences: the worse answer is that of another row."""
    rows = list(prepared.rows)
    other = [row.input_ids[row.n_prompt :] for row in rows[1:] + rows[:1]]
    pairs: Any = [row._replace(rejected=worse) for row, worse in zip(rows, other, strict=True)]
    return prepared._replace(rows=pairs)


def difference(one: Path, two: Path) -> float:
    from safetensors.numpy import load_file

    first, second = (
        load_file(JobDir(each).adapter / "adapter_model.safetensors") for each in (one, two)
    )
    assert first.keys() == second.keys()
    assert any(abs(values).max() > 1e-4 for name, values in first.items() if "lora_B" in name)
    return max(float(abs(first[name] - second[name]).max()) for name in first)


def told(job_dir: Path, event: str) -> list[dict[str, Any]]:
    lines = JobDir(job_dir).events.read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["event"] == event]


def configure(path: Path, processes: int) -> None:
    """Accelerate's answers for processes without a GPU."""
    kind = "MULTI_CPU" if processes > 1 else "NO"
    path.write_text(
        f"compute_environment: LOCAL_MACHINE\ndistributed_type: {kind}\n"
        f"num_processes: {processes}\nuse_cpu: true\nmixed_precision: 'no'\n"
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trainings of one and of two processes, straight through."""
    root = tmp_path_factory.mktemp("pair")
    for processes in (1, 2):
        recipe = recipe_of(root, processes)
        train(recipe, prepare(recipe), root / str(processes), on_event=ignore)
    return root


def test_two_processes_train_what_one_does(pair: Path) -> None:
    one, two = pair / "1", pair / "2"
    assert difference(one, two) < CLOSE
    logs = [told(each, "log") for each in (one, two)]
    assert [len(each) for each in logs] == [5, 5]
    for first, second in zip(*logs, strict=True):
        assert first["loss"] == pytest.approx(second["loss"], abs=1e-5)
        assert first["n_tokens"] == second["n_tokens"]
    first, second = (json.loads(JobDir(each).probes.read_text()) for each in (one, two))
    for before, after in zip(first, second, strict=True):
        assert before["logprobs"] == pytest.approx(after["logprobs"], abs=1e-4)
        assert before["base_logprobs"] == pytest.approx(after["base_logprobs"], abs=1e-5)


def test_one_process_of_the_two_tells_and_saves(pair: Path) -> None:
    assert len(told(pair / "2", "begin")) == len(told(pair / "2", "end")) == 1
    assert [each["step"] for each in told(pair / "2", "save")] == [2, 4, 5]
    checkpoint = JobDir(pair / "2").checkpoints / "checkpoint-5"
    assert len(list(checkpoint.glob("rng_state_*.pth"))) == 2


@pytest.mark.parametrize("objective", ["sft", "dpo"])
def test_accumulated_and_ragged_steps_too(tmp_path: Path, objective: str) -> None:
    """50 rows are 13 batches of 4: six steps of two and one of a single batch, whose last rows
    come round again."""
    shape = {"max_steps": None, "epochs": 1, "batch": 4, "grad_accum": 2, "objective": objective}
    for processes in (1, 2):
        recipe = recipe_of(tmp_path, 1, train=shape | {"objective": "sft"})
        prepared = prepare(recipe)
        assert prepared.n_steps == 7
        recipe = recipe_of(tmp_path, processes, train=shape)
        rows = as_pairs(prepared) if objective == "dpo" else prepared
        train(recipe, rows, tmp_path / str(processes), on_event=ignore)
    assert difference(tmp_path / "1", tmp_path / "2") < CLOSE


def test_whatever_ends_two_processes_they_resume_exactly(pair: Path, tmp_path: Path) -> None:
    recipe, job = recipe_of(pair, 2), JobDir(tmp_path / "job")
    prepared, rng = prepare(recipe), random.Random(3)

    def kill_one(event: object) -> None:
        kill(rng.choice(workers_of(job.path)))

    with pytest.raises(EnvironmentFault, match="the training process died"):
        train(recipe, prepared, job.path, on_event=kill_one)
    assert workers_of(job.path) == []
    with pytest.raises(Interrupted, match=r"with step \d saved") as caught:
        train(recipe, prepared, job.path, on_event=Blow(job.path, signal.SIGTERM, 0))
    assert caught.value.exit_code == 75
    assert workers_of(job.path) == []
    assert not job.finished()
    assert train(recipe, prepared, job.path, on_event=ignore) < 5
    assert adapter_of(job.path) == adapter_of(pair / "2")
    assert job.probes.read_bytes() == JobDir(pair / "2").probes.read_bytes()


def test_no_process_outlives_a_killed_launcher(pair: Path, tmp_path: Path) -> None:
    job = JobDir(tmp_path / "job")
    with launched(pair, job.path, compute={"processes": 2}):
        wait_for(lambda: job.events.is_file(), "first event")
        assert len(workers_of(job.path)) == 2
    wait_for(lambda: not workers_of(job.path), "end of the orphans", 60)
    assert job.saved_steps()


def test_another_number_of_processes_cannot_go_on(pair: Path) -> None:
    JobDir(pair / "2").probes.rename(pair / "kept")
    try:
        recipe = recipe_of(pair, 1)
        with pytest.raises(RecipeError, match=r"compute\.processes 2 → 1") as caught:
            train(recipe, prepare(recipe), pair / "2", on_event=ignore)
        assert "--restart" in str(caught.value.hint)
    finally:
        (pair / "kept").rename(JobDir(pair / "2").probes)


def test_sharding_that_would_be_left_out_is_refused(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, 2, train={"extra": {"fsdp": True}})
    with pytest.raises(RecipeError, match=r"train\.extra\.fsdp has no effect on 2 processes"):
        train(recipe, prepare(recipe), tmp_path / "job", on_event=ignore)


def test_accelerate_that_starts_fewer_is_refused(tmp_path: Path) -> None:
    configure(tmp_path / "accelerate.yaml", 2)
    recipe = recipe_of(tmp_path, 2, compute={"accelerate_config": "accelerate.yaml"})
    with pytest.raises(RecipeError, match=r"compute\.processes = 2, and 1 started"):
        train(recipe, prepare(recipe), tmp_path / "job", on_event=ignore)


def test_accelerate_starts_the_training(pair: Path, tmp_path: Path) -> None:
    configure(pair / "accelerate.yaml", 1)
    recipe = recipe_of(pair, 1, compute={"accelerate_config": "accelerate.yaml"})
    train(recipe, prepare(recipe), tmp_path / "job", on_event=ignore)
    assert adapter_of(tmp_path / "job") == adapter_of(pair / "1")


def test_a_sharded_training_is_saved_whole(pair: Path, tmp_path: Path) -> None:
    """FSDP2 over gloo, stopped by SIGTERM and resumed."""
    extra = {"fsdp": True, "fsdp_config": {"version": 2}}
    recipe, job = recipe_of(pair, 2, train={"extra": extra}), JobDir(tmp_path)
    job.write(recipe, prepare(recipe))
    starter = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    script = str(Path(__file__).with_name("fsdp_worker.py"))
    for finished in (False, True):
        with subprocess.Popen(
            [sys.executable, *starter, script, str(job.path)],
            env=worker_environment(os.environ, recipe.recipe.compute),
            stderr=subprocess.DEVNULL,
        ) as process:
            if not finished:
                wait_for(lambda: told_begin(job), "start")
                process.terminate()
        assert job.finished() == finished
        assert job.saved_steps()
    assert difference(pair / "2", job.path) < CLOSE
    evidence = json.loads(job.probes.read_text())
    straight = json.loads(JobDir(pair / "2").probes.read_text())
    for before, after in zip(straight, evidence, strict=True):
        assert before["logprobs"] == pytest.approx(after["logprobs"], abs=1e-4)


def told_begin(job: JobDir) -> bool:
    return job.events.is_file() and bool(told(job.path, "begin"))
