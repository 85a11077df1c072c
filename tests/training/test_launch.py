"""Real TRL trainings: repeatable to the byte, whatever interrupts them; none is left behind."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
from pathlib import Path

import pytest

from harness.errors import EnvironmentFault, Interrupted, RecipeError
from harness.training.job import JobDir
from harness.training.launch import TrainEvent, train
from harness.training.prepare import prepare
from tests.training.conftest import Finished
from tests.training.recipes import chats, make_recipe, write_rows
from tests.training.watching import Blow, adapter_of, ignore, launched, wait_for, workers_of


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


def test_ctrl_c_saves_and_goes_on_as_ctrl_c(finished: Finished, tmp_path: Path) -> None:
    def interrupt(event: TrainEvent) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(finished.recipe, finished.prepared, tmp_path / "job", on_event=interrupt)
    assert workers_of(tmp_path / "job") == []
    assert JobDir(tmp_path / "job").saved_steps()


def test_ten_kills_and_three_interrupts_give_the_same_bytes(
    finished: Finished, tmp_path: Path
) -> None:
    """Any moment will do: while it starts, in a step, in a checkpoint; the first takes the
    launcher, whose orphan has ended before another begins."""
    root, often = finished.recipe.root, {"max_steps": 160, "batch": 4, "save_every": 2}
    recipe, job = make_recipe(root, train=often), JobDir(tmp_path / "job")
    prepared, straight = prepare(recipe), JobDir(tmp_path / "straight")
    train(recipe, prepared, straight.path, on_event=ignore)
    rng = random.Random(20)
    with launched(root, job.path, train=often):
        wait_for(lambda: job.events.is_file(), "first event")
    for number in range(9):
        starting = number % 4 == 1
        blow = Blow(job.path, signal.SIGKILL, rng.uniform(0, 3 if starting else 0.4))
        if starting:
            blow.strike_once(lambda: workers_of(job.path))
        with pytest.raises(EnvironmentFault, match="signal 9"):
            train(recipe, prepared, job.path, on_event=blow)
        assert blow.n_workers == 1
        assert not job.finished()
    for _ in range(3):
        blow = Blow(job.path, signal.SIGTERM, rng.uniform(0, 0.3))
        with pytest.raises(Interrupted, match=r"with step \d+ saved") as caught:
            train(recipe, prepared, job.path, on_event=blow)
        assert caught.value.exit_code == 75
        assert workers_of(job.path) == []
    (job.checkpoints / "checkpoint-159").mkdir()
    assert 0 < train(recipe, prepared, job.path, on_event=ignore) < 160
    assert adapter_of(job.path) == adapter_of(straight.path)
    assert job.probes.read_bytes() == straight.probes.read_bytes()
    assert job.saved_steps() == straight.saved_steps() == [158, 160]


def test_a_changed_recipe_is_refused_before_a_process_starts(
    finished: Finished, tmp_path: Path
) -> None:
    job = JobDir(tmp_path / "job")
    job.path.mkdir()
    job.write(finished.recipe, finished.prepared)
    checkpoint = job.checkpoints / "checkpoint-4"
    checkpoint.mkdir(parents=True)
    (checkpoint / "COMPLETE").touch()
    other = make_recipe(finished.recipe.root, train={"lr": 1e-3})
    with pytest.raises(RecipeError, match=r"train\.lr 0\.002 → 0\.001") as caught:
        train(other, finished.prepared, job.path, on_event=ignore)
    assert caught.value.exit_code == 2
    assert not job.events.exists()


def test_what_the_worker_refuses_is_told_as_such(finished: Finished, tmp_path: Path) -> None:
    recipe = make_recipe(finished.recipe.root, train={"extra": {"fsdp": True}})
    with pytest.raises(RecipeError, match=r"train\.extra: .*only works in distributed") as caught:
        train(recipe, prepare(recipe), tmp_path / "job", on_event=ignore)
    assert caught.value.exit_code == 2


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


def test_a_disk_that_is_full_is_one_clear_line(finished: Finished, tmp_path: Path) -> None:
    """Files may not grow beyond what rows and log need, so the first checkpoint fails."""
    job = JobDir(tmp_path / "job")
    optimizer = JobDir(finished.job_dir).checkpoints / "checkpoint-10" / "optimizer.pt"
    limit = optimizer.stat().st_size // 2
    assert JobDir(finished.job_dir).rows.stat().st_size < limit
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(EnvironmentFault, match="is full, so no checkpoint could") as caught:
            train(finished.recipe, finished.prepared, job.path, on_event=ignore)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert job.saved_steps() == []
    train(finished.recipe, finished.prepared, job.path, on_event=ignore)
    assert adapter_of(job.path) == adapter_of(finished.job_dir)


def test_rows_that_find_no_room_are_one_clear_line(finished: Finished, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(EnvironmentFault, match=r"rows cannot be written .* File too large"):
            train(finished.recipe, finished.prepared, tmp_path / "job", on_event=ignore)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not JobDir(tmp_path / "job").rows.exists()


def test_a_dying_worker_shows_its_last_words(finished: Finished, tmp_path: Path) -> None:
    broken_dir = tmp_path / "base"
    broken_dir.mkdir()
    for each in finished.prepared.base_dir.iterdir():
        (broken_dir / each.name).write_bytes(each.read_bytes())
    (broken_dir / "model.safetensors").write_bytes(b"broken")
    prepared = finished.prepared._replace(base_dir=broken_dir)
    with pytest.raises(EnvironmentFault, match=r"exit status 1\n  SafetensorError: ") as caught:
        train(finished.recipe, prepared, tmp_path / "job", on_event=ignore)
    assert "Traceback" not in str(caught.value)
    log = tmp_path / "job" / "worker.log"
    assert str(log) in str(caught.value.hint)
    assert "Traceback" in log.read_text()


def test_of_several_processes_the_first_that_dies_says_why(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", chats(20))
    recipe = make_recipe(
        tmp_path, train={"extra": {"max_grad_norm": "x"}}, compute={"processes": 2}
    )
    with pytest.raises(EnvironmentFault, match=r"exit status 1\n  TypeError: .*'str' and 'int'"):
        train(recipe, prepare(recipe), tmp_path / "job", on_event=ignore)


def test_a_process_that_was_killed_probably_had_no_memory(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", chats(20))
    recipe = make_recipe(tmp_path, compute={"processes": 2})
    blow = Blow(tmp_path / "job", signal.SIGKILL, 0)
    job = JobDir(tmp_path / "job")
    job.path.mkdir()
    job.log.write_text("what an earlier process said\n")
    with pytest.raises(EnvironmentFault) as caught:
        train(recipe, prepare(recipe), job.path, on_event=blow)
    assert "out of memory" in str(caught.value.hint)
    assert "earlier" not in str(caught.value)
