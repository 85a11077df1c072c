"""What a version was made with, as far as the store still has it: its recipe in a run, else the
settings of its training, else its manifest. Each is taken only where a digest proves that it is
the version's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from harness.diff.parts import RecipePart
from harness.diff.settings import changes
from harness.errors import HarnessError
from harness.recipe import Recipe
from harness.run import Run
from harness.store import Store
from harness.training.origin import own_job
from harness.types import Manifest
from harness.yamlio import read_yaml

Level = Literal["recipe", "training", "manifest"]
_SCOPES: dict[Level, str] = {
    "recipe": "every key",
    "training": "the keys that training used; the rest is not known for both",
    "manifest": "only what the manifests say; no recipe is known for both",
}


class Made(NamedTuple):
    """Settings, how much of the recipe they are, and where they were found."""

    level: Level
    values: dict[str, Any]
    found_in: str


def recipe_part(store: Store, before: Manifest, after: Manifest) -> RecipePart:
    """At the level that both are known on, and what the manifests say beside it."""
    made = made_with(store, before), made_with(store, after)
    level = next(level for level in reversed(_SCOPES) if level in (made[0].level, made[1].level))
    old, new = (_reduced(each, level) for each in made)
    return RecipePart(
        known_from=(made[0].found_in, made[1].found_in),
        scope=_SCOPES[level],
        changes=changes(old | _noted(before, level), new | _noted(after, level)),
    )


def made_with(store: Store, manifest: Manifest) -> Made:
    """The most that is known."""
    for path in _recipes(store, manifest.version):
        if recipe := _recipe(Run(path.parent), manifest):
            return Made("recipe", recipe.model_dump(mode="json"), f"run {path.parent.name}")
    job = own_job(store, manifest)
    settings = job.read() if job else None
    if job and settings:
        return Made("training", settings["made_from"], f"training/{job.path.name}")
    return Made("manifest", {}, "not known")


def _recipes(store: Store, version: str) -> list[Path]:
    """Those of runs that were about the version first: one of them is likely its own."""
    entries = store.decision_log().entries
    about = {each.run for each in entries if each.candidate == version}
    paths = (store.home / "runs").glob("*/recipe.yaml")
    return sorted(paths, key=lambda path: (path.parent.name not in about, path))


def _recipe(run: Run, manifest: Manifest) -> Recipe | None:
    try:
        recipe = Recipe.model_validate(read_yaml(run.recipe_path, HarnessError).value)
    except (OSError, HarnessError, ValidationError):
        return None
    return recipe if recipe.digest() == manifest.recipe else None


def _reduced(made: Made, level: Level) -> dict[str, Any]:
    """A recipe's keys as a training notes them."""
    if level == "manifest" or made.level == level == "recipe":
        return made.values if level == "recipe" else {}
    values = made.values
    seed = values["data"]["seed"] if made.level == "recipe" else values.get("data_seed")
    return {
        "name": values["name"],
        "base": {key: values["base"][key] for key in ("dtype", "quantize")},
        "data": {"seed": seed},
        "lora": values["lora"],
        "train": {key: value for key, value in values["train"].items() if key != "save_every"},
    }


def _noted(manifest: Manifest, level: Level) -> dict[str, Any]:
    """What no recipe says, and where there is none all that the manifest does."""
    noted: dict[str, Any] = {
        "base's weights": manifest.base.weights[:12],
        "steps": manifest.n_steps,
        "packages": manifest.packages,
    }
    if level == "manifest":
        kept = ("rank", "objective", "quantize", "parent", "seeds")
        noted |= {key: getattr(manifest, key) for key in kept}
        noted |= {"base": {key: getattr(manifest.base, key) for key in ("model", "dtype")}}
    return noted
