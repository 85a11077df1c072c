"""Recipes of real bases run for real on small random bases: checked, trained, published, proven."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from harness.checkup.inspect import Checkup, inspect
from harness.progress import Reporter
from harness.recipe import LoadedRecipe, load
from harness.store import Store
from harness.training.command import worker_environment
from harness.training.job import JobDir
from harness.training.publish import publish
from tests.families import FAMILIES, save_small
from tests.training.recipes import chats, write_rows
from tests.workbench import ROOT

RECIPES = ROOT / "recipes"
TRAIN_ALL = """
import sys
from pathlib import Path
from harness.training.process.worker import main
sys.exit(max(main(Path(each)) for each in sys.argv[1:]))
"""
"""The real worker for one job after the other: starting it is most of such a training."""


class DryRun(NamedTuple):
    """A recipe on its small base."""

    name: str
    loaded: LoadedRecipe
    checkup: Checkup
    job: JobDir
    home: Path


def check_small(name: str, folder: Path, *changes: str) -> DryRun:
    """The shipped recipe as it is, but for base, data, evalset and the length of the training.
    Raises HarnessError for what `harness check` would."""
    base_dir = save_small(FAMILIES[name], folder / "base")
    rows_path = folder / "rows.jsonl"
    rows = [*chats(16), *chats(16)]
    for index, row in enumerate(rows):
        content = "Be brief." if index % 2 else "Be kind.\n"
        row["messages"].insert(0, {"role": "system", "content": content})
    first, second = rows[0]["messages"], chats(2)[1]["messages"]
    rows[0]["messages"] = [*first, *second]
    write_rows(rows_path, rows)
    settings = [
        f"base.model={base_dir}",
        f"data.sources=[{{path: {rows_path}}}]",
        "data.max_length=256",
        *("train.max_steps=2", "train.warmup_steps=0", "train.lr=0.01", "compute.threads=1"),
        *("train.batch=4", "train.grad_accum=1"),
        "eval.evalset=pocket",
        *changes,
    ]
    loaded = load(RECIPES / f"{name}.yaml", settings)
    home = folder / "home"
    with Reporter() as reporter:
        checkup = inspect(loaded, Store(home), reporter)
    return DryRun(name, checkup.plan.loaded, checkup, JobDir(folder / "job"), home)


def train_all(runs: Sequence[DryRun]) -> None:
    """Two steps of each in one process; fails with what the worker says."""
    for each in runs:
        each.job.path.mkdir()
        each.job.write(each.loaded, each.checkup.plan.prepared)
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_ALL, *(str(each.job.path) for each in runs)],
        env=worker_environment(os.environ, runs[0].loaded.recipe.compute),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def publish_small(run: DryRun) -> str:
    """Its version, verified in a store of its own."""
    store = Store(run.home)
    version = publish(run.loaded, run.checkup.plan.prepared, run.job.path, store)
    store.verify(version)
    return version
