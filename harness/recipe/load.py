"""A recipe file, read and explained.

An unknown key, a wrong type or an option that vLLM cannot load is refused with the file, line and
key path, before anything is spent. Knows nothing of how the choices are used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import ValidationError, model_validator

from harness.errors import RecipeError, nearest
from harness.jsonio import digest
from harness.recipe.asking import Eval
from harness.recipe.contradictions import Contradiction, contradictions
from harness.recipe.gate import Gate
from harness.recipe.judging import Judge
from harness.recipe.section import Name, Section
from harness.recipe.serving import Serve
from harness.recipe.training import Base, Chat, Compute, Data, Lora, Train
from harness.yamlio import parse_yaml, read_yaml

_SHOWN = 80


class Recipe(Section):
    """Everything chosen before a run. Paths are as written, relative to the recipe's folder."""

    name: Name
    base: Base
    chat: Chat = Chat()
    data: Data
    lora: Lora = Lora()
    train: Train = Train()
    compute: Compute = Compute()
    serve: Serve = Serve()
    eval: Eval
    judge: Judge = Judge()
    gate: Gate = Gate()

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, values: Any) -> Any:
        """With vLLM's arguments under their present key, in recipes and records of runs from before
        `serve` was there."""
        if not isinstance(values, dict):
            return values
        compute, serve = values.get("compute"), values.get("serve", {})
        if not (isinstance(compute, dict) and isinstance(serve, dict) and "server_args" in compute):
            return values
        rest = {key: value for key, value in compute.items() if key != "server_args"}
        engine_args = {"engine_args": compute["server_args"]}
        return {**values, "compute": rest, "serve": {**engine_args, **serve}}

    def digest(self) -> str:
        """SHA-256 of every choice but `compute`, `serve` and `judge.budget`, which say how and not
        what: a run that a larger budget resumes is the same run. What files contain has digests
        of its own."""
        left_out: Any = {"compute": True, "serve": True, "judge": {"budget"}}
        return digest(self.model_dump(mode="json", exclude=left_out))


class LoadedRecipe(NamedTuple):
    """A recipe, the folder its relative paths start from, and its file."""

    recipe: Recipe
    root: Path
    path: Path
    places: Mapping[str, str] = {}
    """Key path → file:line, or the option that set it."""

    def where(self, key: str) -> str:
        """File and line of a key, or of the section it is in; or the option that set it."""
        return _where(key, self.path, self.places)

    def locate(self, path: str) -> Path:
        """The file a path of the recipe means. Raises RecipeError for an unknown user."""
        return locate(self.root, path)


def locate(root: Path, path: str) -> Path:
    """The file or folder a path of a recipe means: `~` is a home folder, a relative path starts
    from `root`. Raises RecipeError for an unknown user."""
    try:
        return root / Path(path).expanduser()
    except RuntimeError:
        raise RecipeError(
            f"the path {path!r} in the recipe: there is no such home folder",
            hint="accepted: ~/ for your own home folder, or the path written out",
        ) from None


def load(path: Path, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read a recipe; `overrides` are `key.path=value` with YAML values.

    Raises RecipeError that names file, line and key path, the value seen and what is accepted,
    also where two keys contradict each other.
    """
    try:
        values, lines = read_yaml(path, RecipeError)
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe file") from None
    if not isinstance(values, dict):
        accepted = ", ".join(Recipe.model_fields)
        raise RecipeError(f"{path}: a recipe is a mapping of sections; accepted: {accepted}")
    places = {key: f"{path}:{line}" for key, line in lines.items()}
    for override in overrides:
        key = _override(values, override)
        places = {each: at for each, at in places.items() if not each.startswith(f"{key}.")}
        places[key] = f"--set {key}"
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise _explain(
            [_problem(dict(each), path, places) for each in error.errors()], path
        ) from None
    if found := list(contradictions(recipe.gate, recipe.eval)):
        raise _explain([_contradiction(each, path, places) for each in found], path)
    return LoadedRecipe(recipe, path.resolve().parent, path, places)


def _override(values: dict[str, Any], override: str) -> str:
    """Put one value in its place; returns its key path."""
    key, equals, value = override.partition("=")
    where = f"--set {override[:_SHOWN]!r}"
    if not equals or not key:
        raise RecipeError(f"{where}: accepted: key.path=value, as in train.lr=1e-4")
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise RecipeError(f"{where}: {parent!r} is not a section")
    values[last] = parse_yaml(value, where, RecipeError, numbered=False).value
    return key


def _explain(problems: Sequence[str], path: Path) -> RecipeError:
    """The first problem in full, the others counted."""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    hint = f"edit {path}, then: harness check {path}"
    if problems[0].startswith("--set "):
        hint = "change that --set, then the same command"
    return RecipeError(problems[0] + more, hint=hint)


def _contradiction(found: Contradiction, path: Path, places: Mapping[str, str]) -> str:
    return f"{_where(found.key, path, places)}: {found.key} = {_seen(found.seen)}: {found.problem}"


def _where(key: str, path: Path, places: Mapping[str, str]) -> str:
    while key and key not in places and "." in key:
        key = key.rpartition(".")[0]
    return places.get(key, str(path))


def _seen(value: object) -> str:
    seen = repr(value)
    return seen if len(seen) <= _SHOWN else f"{seen[:_SHOWN]}…"


def _problem(error: dict[str, Any], path: Path, places: Mapping[str, str]) -> str:
    parts = [str(part) for part in error["loc"]]
    name = ".".join(parts)
    where = _where(name, path, places)
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key {name!r}: {nearest(parts[-1], _keys(parts[:-1]))}"
    if error["type"] == "missing":
        return f"{where}: required key {name!r} is missing"
    message = str(error["msg"]).removeprefix("Value error, ")
    if not parts or error["type"] == "value_error":
        return f"{where}: {name + ': ' if name else ''}{message}"
    if error["type"] == "tuple_type":
        message = "accepted: a list"
    if error["type"] == "literal_error":
        message = nearest(str(error["input"]), re.findall(r"'([^']*)'", error["ctx"]["expected"]))
    return f"{where}: {name} = {_seen(error['input'])}: {message}"


def _keys(parts: Sequence[str]) -> list[str]:
    """Names of the fields at a key path."""
    model: Any = Recipe
    is_own = False
    for part in parts:
        if is_own or part.isdigit():  # a name of the user's, as in eval.targets, or a place
            is_own = False
            continue
        annotation = model.model_fields[part].annotation
        found = [
            each
            for each in (annotation, *get_args(annotation), *_nested(annotation))
            if isinstance(each, type) and issubclass(each, Section)
        ]
        if not found:
            return []
        model, is_own = found[0], get_origin(annotation) is dict
    return list(model.model_fields)


def _nested(annotation: Any) -> list[Any]:
    return [inner for each in get_args(annotation) for inner in get_args(each)]
