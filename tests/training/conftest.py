"""One real training that the launch and publish tests share."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from harness.recipe import LoadedRecipe
from harness.training.launch import TrainEvent, train
from harness.training.prepare import Prepared, prepare
from tests.training.recipes import chats, make_recipe, write_rows


class Finished(NamedTuple):
    """A training that ran straight through."""

    recipe: LoadedRecipe
    prepared: Prepared
    job_dir: Path
    events: list[TrainEvent]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    root = tmp_path_factory.mktemp("training")
    write_rows(root / "rows.jsonl", chats(60))
    recipe = make_recipe(root)
    prepared = prepare(recipe)
    events: list[TrainEvent] = []
    train(recipe, prepared, root / "job", on_event=events.append)
    return Finished(recipe, prepared, root / "job", events)
