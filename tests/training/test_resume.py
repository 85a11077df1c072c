"""Checkpoints belong to one recipe, one data and one number of processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import RecipeError
from harness.jsonio import locked, read_json, write_json
from harness.recipe import LoadedRecipe
from harness.training.job import COMPLETE, JobDir
from harness.training.prepare import Prepared, prepare, train_key
from harness.training.resume import (
    abandon,
    changes,
    job_dir,
    require_resumable,
    require_unchanged,
)
from tests.training.recipes import chats, make_recipe, write_rows


class Begun:
    """A training that was interrupted at step 4, as its files say."""

    def __init__(self, root: Path, **sections: Any) -> None:
        write_rows(root / "rows.jsonl", chats(12))
        self.root = root
        self.recipe, self.prepared = self.again(**sections)
        key = train_key(self.recipe, self.prepared)
        self.job = JobDir(job_dir(root / "training", "test", key))
        self.job.path.mkdir(parents=True)
        self.job.write(self.recipe, self.prepared)
        checkpoint = self.job.checkpoints / "checkpoint-4"
        checkpoint.mkdir(parents=True)
        (checkpoint / COMPLETE).touch()

    def again(self, **sections: Any) -> tuple[LoadedRecipe, Prepared]:
        recipe = make_recipe(self.root, **sections)
        return recipe, prepare(recipe)

    def refusal(self, **sections: Any) -> RecipeError:
        with pytest.raises(RecipeError) as caught:
            require_resumable(self.job, *self.again(**sections))
        return caught.value


@pytest.fixture
def begun(tmp_path: Path) -> Begun:
    return Begun(tmp_path)


def test_the_same_goes_on(begun: Begun) -> None:
    recipe, prepared = begun.again()
    require_resumable(begun.job, recipe, prepared)
    require_unchanged(begun.root / "training", recipe, prepared)
    written = begun.job.rows.stat().st_ino
    begun.job.write(recipe, prepared)
    assert begun.job.rows.stat().st_ino == written, "the rows are not written again"
    assert begun.job.saved_steps() == [4]


def test_how_often_to_save_may_change(begun: Begun) -> None:
    require_resumable(begun.job, *begun.again(train={"save_every": 1}))


def test_a_changed_recipe_is_named_leaf_by_leaf(begun: Begun) -> None:
    refused = begun.refusal(train={"lr": 1e-3}, lora={"targets": ["q_proj"]})
    assert str(refused) == (
        "a training was interrupted at step 4 and cannot go on as another: "
        'lora.targets all-linear → ["q_proj"]; train.lr 0.002 → 0.001'
    )
    assert "--restart" in str(refused.hint)


def test_changed_data_is_named(begun: Begun) -> None:
    write_rows(begun.root / "rows.jsonl", chats(13))
    assert str(begun.refusal()).endswith("another: data changed")


def test_another_number_of_processes_is_refused(begun: Begun) -> None:
    assert "compute.processes 1 → 2" in str(begun.refusal(compute={"processes": 2}))


def test_what_was_tampered_with_is_refused(begun: Begun) -> None:
    text = begun.job.rows.read_text()
    begun.job.rows.write_text(text.replace("1", "2", 1))
    assert f"{begun.job.rows} is not as it was written" in str(begun.refusal())
    begun.job.rows.write_text(text)
    require_resumable(begun.job, begun.recipe, begun.prepared)
    settings = read_json(begun.job.job)
    settings["train"]["lr"] = 1.0
    write_json(begun.job.job, settings)
    assert f"{begun.job.job} is not as it was written" in str(begun.refusal())


def test_without_a_whole_checkpoint_there_is_nothing_to_lose(begun: Begun) -> None:
    (begun.job.checkpoints / "checkpoint-4" / COMPLETE).unlink()
    recipe, prepared = begun.again(train={"lr": 1e-3}, compute={"processes": 2})
    require_resumable(begun.job, recipe, prepared)
    require_unchanged(begun.root / "training", recipe, prepared)
    begun.job.write(recipe, prepared)
    assert not begun.job.checkpoints.exists()
    stored = begun.job.read()
    assert stored
    assert stored["train"]["lr"] == 1e-3


def test_a_changed_recipe_does_not_start_beside_the_interrupted(begun: Begun) -> None:
    training = begun.root / "training"
    changed = begun.again(train={"lr": 1e-3})
    with pytest.raises(RecipeError, match=r"train\.lr 0\.002 → 0\.001"):
        require_unchanged(training, *changed)
    with locked(begun.job.lock):
        require_unchanged(training, *changed)
        abandon(training, *changed)
    assert begun.job.saved_steps() == [4]
    abandon(training, *changed)
    assert not begun.job.job.exists()
    require_unchanged(training, *changed)


def test_a_finished_training_or_another_name_is_no_obstacle(begun: Begun) -> None:
    training = begun.root / "training"
    other = make_recipe(begun.root)
    renamed = other.recipe.model_copy(update={"name": "tes"})
    require_unchanged(training, other._replace(recipe=renamed), begun.prepared)
    write_json(begun.job.probes, [])
    require_unchanged(training, *begun.again(train={"lr": 1e-3}))
    require_resumable(begun.job, *begun.again(train={"lr": 1e-3}))


def test_changes_name_what_came_and_went() -> None:
    before = {"a": {"b": 1, "c": [1]}, "d": "x" * 41, "e": None, "f": {}}
    now = {"a": {"b": 2, "c": [1]}, "d": "y", "g": True, "f": {"h": 3}}
    assert changes(before, now) == [
        "a.b 1 → 2",
        "d changed",
        "e null → nothing",
        "f {} → nothing",
        "g nothing → true",
        "f.h nothing → 3",
    ]
