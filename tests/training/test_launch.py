"""Real TRL trainings: repeatable to the byte, whatever interrupts them; none is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.errors import EnvironmentFault, Interrupted
from harness.training.job import JobDir, worker_environment
from harness.training.launch import TrainEvent, train
from harness.training.prepare import prepare
from tests.training.conftest import Finished
from tests.training.recipes import make_recipe

ROOT = Path(__file__).parents[2]
LAUNCH = """
import sys
from pathlib import Path
from harness.training.launch import train
from harness.training.prepare import prepare
from tests.training.recipes import make_recipe
recipe = make_recipe(Path(sys.argv[1]))
train(recipe, prepare(recipe), Path(sys.argv[2]), on_event=print)
"""


def ignore(event: TrainEvent) -> None:
    pass


def wait_for(condition: object, what: str, timeout_s: float = 120) -> None:
    assert callable(condition)
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"no {what} within {timeout_s} s"
        time.sleep(0.05)


def workers_of(job_dir: Path) -> list[int]:
    """Processes whose command line names the job."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(job_dir).encode() in words and b"harness.training.worker" in words:
            found.append(int(each.parent.name))
    return found


def saved_steps(job_dir: Path) -> set[int]:
    marks = JobDir(job_dir).checkpoints.glob("checkpoint-*/COMPLETE")
    return {int(each.parent.name.removeprefix("checkpoint-")) for each in marks}


def adapter_of(job_dir: Path) -> bytes:
    return (JobDir(job_dir).adapter / "adapter_model.safetensors").read_bytes()


def test_progress_is_told(finished: Finished) -> None:
    first, *logs = finished.events
    assert first == TrainEvent(0, 10, None, None)
    assert [each.step for each in logs] == list(range(1, 11))
    losses = [each.loss for each in logs if each.loss is not None]
    assert len(losses) == 10
    assert losses[-1] < 0.9 * losses[0]
    assert all(each.tokens_per_s and each.tokens_per_s > 0 for each in logs)
    assert logs[-1].step == logs[-1].n_steps


def test_every_token_of_the_plan_was_seen(finished: Finished) -> None:
    lines = JobDir(finished.job_dir).events.read_text().splitlines()
    n_tokens = [json.loads(line)["n_tokens"] for line in lines if '"log"' in line]
    assert n_tokens == sorted(n_tokens)
    mean = finished.prepared.counts.n_tokens / finished.prepared.counts.n_rows
    assert n_tokens[-1] == pytest.approx(160 * mean, rel=0.05)


def test_a_finished_job_is_not_run_again(finished: Finished) -> None:
    before = JobDir(finished.job_dir).events.read_bytes()
    events: list[TrainEvent] = []
    n_steps = train(finished.recipe, finished.prepared, finished.job_dir, on_event=events.append)
    assert n_steps == 0
    assert events == []
    assert JobDir(finished.job_dir).events.read_bytes() == before


def test_kill_interrupt_and_resume_give_the_same_bytes(finished: Finished, tmp_path: Path) -> None:
    job_dir = tmp_path / "job"
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, str(finished.recipe.root), str(job_dir)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: JobDir(job_dir).events.is_file(), "first event")
    finally:
        launcher.kill()
        launcher.wait()
    wait_for(lambda: not workers_of(job_dir), "end of the orphaned worker", 30)
    assert len(saved_steps(job_dir)) >= 1
    assert not JobDir(job_dir).finished()

    (JobDir(job_dir).checkpoints / "checkpoint-9").mkdir()

    def interrupt(event: TrainEvent) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=r"with step \d+ saved") as caught:
        train(finished.recipe, finished.prepared, job_dir, on_event=interrupt)
    assert caught.value.exit_code == 75
    assert workers_of(job_dir) == []
    assert not JobDir(job_dir).finished()

    n_steps = train(finished.recipe, finished.prepared, job_dir, on_event=ignore)
    assert 0 < n_steps < 10
    assert adapter_of(job_dir) == adapter_of(finished.job_dir)
    assert JobDir(job_dir).probes.read_bytes() == JobDir(finished.job_dir).probes.read_bytes()
    assert saved_steps(job_dir) == {8, 10}


def test_ctrl_c_saves_and_goes_on_as_ctrl_c(finished: Finished, tmp_path: Path) -> None:
    def interrupt(event: TrainEvent) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(finished.recipe, finished.prepared, tmp_path / "job", on_event=interrupt)
    assert workers_of(tmp_path / "job") == []
    assert saved_steps(tmp_path / "job")


def test_another_recipe_starts_afresh(finished: Finished, tmp_path: Path) -> None:
    job = JobDir(tmp_path / "job")
    job.path.mkdir()
    job.write(finished.recipe, finished.prepared)
    checkpoint = job.checkpoints / "checkpoint-4"
    checkpoint.mkdir(parents=True)
    job.write(finished.recipe, finished.prepared)
    assert checkpoint.is_dir()
    other = make_recipe(finished.recipe.root, train={"lr": 1e-3})
    job.write(other, finished.prepared)
    assert not checkpoint.exists()
    assert json.loads(job.job.read_text())["train"]["lr"] == 1e-3


def test_a_base_that_changes_meanwhile_is_refused(finished: Finished, tmp_path: Path) -> None:
    base_dir = tmp_path / "base"
    shutil.copytree(finished.prepared.base_dir, base_dir)
    recipe = make_recipe(
        finished.recipe.root, base={"model": str(base_dir)}, train={"max_steps": 2}
    )
    weights = base_dir / "model.safetensors"
    changed = weights.read_bytes()[:-1] + b"!"

    def overwrite(event: TrainEvent) -> None:
        with weights.open("r+b") as file:
            file.write(changed)

    with pytest.raises(EnvironmentFault, match="changed while it was trained on"):
        train(recipe, prepare(recipe), tmp_path / "job", on_event=overwrite)
    assert not JobDir(tmp_path / "job").finished()


def test_a_dying_worker_shows_its_last_words(finished: Finished, tmp_path: Path) -> None:
    broken_dir = tmp_path / "base"
    broken_dir.mkdir()
    for each in finished.prepared.base_dir.iterdir():
        (broken_dir / each.name).write_bytes(each.read_bytes())
    (broken_dir / "model.safetensors").write_bytes(b"broken")
    prepared = finished.prepared._replace(base_dir=broken_dir)
    with pytest.raises(
        EnvironmentFault, match=r"exit status 1\n.*(?s:.)*SafetensorError"
    ) as caught:
        train(finished.recipe, prepared, tmp_path / "job", on_event=ignore)
    assert str(tmp_path / "job" / "worker.log") in str(caught.value.hint)


def test_the_worker_s_environment_is_clean() -> None:
    outer = {"WANDB_API_KEY": "k", "RANK": "1", "ACCELERATE_MIXED_PRECISION": "bf16", "HOME": "/h"}
    inner = worker_environment(outer | {"CUDA_VISIBLE_DEVICES": "3,4"}, 2)
    assert not inner.keys() & {"WANDB_API_KEY", "RANK", "ACCELERATE_MIXED_PRECISION"}
    assert inner["HOME"] == "/h"
    assert inner["CUDA_VISIBLE_DEVICES"] == "3"
    assert inner["OMP_NUM_THREADS"] == "2"
    assert inner["HF_HUB_OFFLINE"] == "1"
    assert "OMP_NUM_THREADS" not in worker_environment(outer, None)
