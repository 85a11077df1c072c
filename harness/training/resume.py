"""What may be gone on with: a job's checkpoints belong to one recipe, one data and one number of
processes.

Compares what a job was begun with to what is asked for now, and names the difference. Knows
nothing of how a checkpoint is made.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import RecipeError
from harness.recipe import LoadedRecipe
from harness.training.job import JobDir, launched_by
from harness.training.prepare import Prepared, ingredients, train_key

_SHOWN = 40
_DIGEST = re.compile(r"[0-9a-f]{32,}")


def job_dir(training_root: Path, name: str, key: str) -> Path:
    """Where the training of this recipe name and key happens."""
    return training_root / f"{name}-{key[:12]}"


def require_resumable(job: JobDir, loaded: LoadedRecipe, prepared: Prepared) -> None:
    """Raises RecipeError where the checkpoints of a job would go on as something else, naming
    what changed."""
    steps = job.saved_steps()
    if job.finished() or not steps:
        return
    stored = job.read()
    if stored is None:
        raise _refusal(job, steps[-1], [f"{job.job} is not as it was written"])
    now = ingredients(loaded, prepared) | {"compute": launched_by(loaded)}
    before = stored["made_from"] | {"compute": {name: stored[name] for name in now["compute"]}}
    if changed := changes(before, now):
        raise _refusal(job, steps[-1], changed)
    if not job.holds_rows(stored["rows"]):
        raise _refusal(job, steps[-1], [f"{job.rows} is not as it was written"])


def require_unchanged(training_root: Path, loaded: LoadedRecipe, prepared: Prepared) -> None:
    """Raises RecipeError where another training of this recipe's name was interrupted with a
    checkpoint and this one would start afresh beside it."""
    key = train_key(loaded, prepared)
    if JobDir(job_dir(training_root, loaded.recipe.name, key)).job.is_file():
        return
    for job, stored in _unfinished(training_root, loaded.recipe.name):
        changed = changes(stored["made_from"], ingredients(loaded, prepared))
        raise _refusal(job, job.saved_steps()[-1], changed)


def abandon(training_root: Path, loaded: LoadedRecipe, prepared: Prepared) -> None:
    """Delete this training and every interrupted one of the recipe's name; one that is running is
    left alone."""
    own = JobDir(job_dir(training_root, loaded.recipe.name, train_key(loaded, prepared)))
    if own.path.is_dir() and not _running(own):
        own.clear()
    for job, _ in list(_unfinished(training_root, loaded.recipe.name)):
        job.clear()


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs, leaf by leaf: `train.lr 0.0002 → 0.0001`; `data changed` where the values are
    digests or too long to show."""
    old, new = dict(_leaves(before)), dict(_leaves(now))
    return [
        _difference(name, old.get(name), new.get(name))
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]


def _leaves(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield above + name, json.dumps(value, ensure_ascii=False, sort_keys=True)


def _difference(name: str, old: str | None, new: str | None) -> str:
    shown = [(value or "nothing").strip('"') for value in (old, new)]
    if any(len(each) > _SHOWN or _DIGEST.fullmatch(each) for each in shown):
        return f"{name} changed"
    return f"{name} {shown[0]} → {shown[1]}"


def _unfinished(training_root: Path, name: str) -> Iterator[tuple[JobDir, dict[str, Any]]]:
    """Interrupted jobs of a recipe name with a whole checkpoint, the newest first."""
    found = [JobDir(path.parent) for path in training_root.glob(f"{name}-*/job.json")]
    for job in sorted(found, key=lambda each: each.job.stat().st_mtime, reverse=True):
        stored = job.read()
        if stored is None or stored["made_from"]["name"] != name:
            continue
        if job.saved_steps() and not job.finished() and not _running(job):
            yield job, stored


def _running(job: JobDir) -> bool:
    """Whether another process trains it now."""
    with job.lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _refusal(job: JobDir, step: int, changed: list[str]) -> RecipeError:
    return RecipeError(
        f"a training was interrupted at step {step} and cannot go on as another: "
        + "; ".join(changed),
        hint=f"undo that to go on, or --restart to begin anew, which deletes {job.path}",
    )
