"""KEY=V1,V2 words to points: every combination of the values, each a recipe of its own.

Knows which keys may be swept and how a point is called, nothing of training or scores.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_origin

from harness.errors import RecipeError, nearest
from harness.jsonio import digest
from harness.recipe import Data, LoadedRecipe, Lora, Recipe, Train, load
from harness.recipe.section import Section
from harness.yamlio import parse_yaml

MAX_POINTS = 64
"""A larger grid is more often a slip than a wish."""
_MAX_NAME = 63
_FORM = "accepted: KEY=V1,V2 words, as in --grid lora.r=4,8 train.lr=1e-4,3e-4"
_SECTIONS: dict[str, type[Section]] = {"data": Data, "lora": Lora, "train": Train}
_ONE_SERVER = (
    "one server session answers for all points, and it has one base and one template; "
    "train other bases and templates as recipes of their own"
)
_SAME_WEIGHTS = "it does not change the weights, and points differ in what they are trained with"
_REFUSED = {
    "name": "every point is named after its values",
    "base": _ONE_SERVER,
    "chat": _ONE_SERVER,
    **dict.fromkeys(("compute", "eval", "judge", "gate", "train.save_every"), _SAME_WEIGHTS),
}


class Axis(NamedTuple):
    """One key and the values it takes."""

    key: str
    texts: tuple[str, ...]
    """The values as they were typed, in YAML."""


class Point(NamedTuple):
    """One combination of values, as a recipe with a name of its own."""

    loaded: LoadedRecipe
    settings: tuple[str, ...]
    """`key.path=value` words that make this recipe out of the one that is swept, its name too."""
    values: dict[str, Any]
    """Key path → value, as the recipe has it."""

    @property
    def name(self) -> str:
        return self.loaded.recipe.name


def parse_grid(words: Sequence[str]) -> tuple[Axis, ...]:
    """The axes, keys of `data` first, so that neighbouring points share their rows.

    Commas separate values except inside brackets and quotes. Raises RecipeError for what is not
    of the form KEY=V1,V2, for keys that are unknown, twice there or cannot be swept, and for more
    than MAX_POINTS points.
    """
    axes = [_axis(word) for text in words for word in _split(text, " \t\n") if word]
    if not axes:
        raise RecipeError("--grid: there is nothing to sweep", hint=_FORM)
    for key, n in Counter(axis.key for axis in axes).items():
        if n > 1:
            raise RecipeError(f"--grid {key}: the key is there {n} times", hint=_FORM)
    n_points = math.prod(len(axis.texts) for axis in axes)
    if n_points > MAX_POINTS:
        raise RecipeError(
            f"--grid: {n_points} points; accepted: at most {MAX_POINTS}",
            hint="leave values out, or sweep one key after the other",
        )
    return tuple(sorted(axes, key=lambda axis: not axis.key.startswith("data.")))


def make_points(path: Path, overrides: Sequence[str], axes: Sequence[Axis]) -> list[Point]:
    """A checked recipe for every combination, the last axis changing fastest.

    Raises RecipeError for a value that its key does not take, and for two points that are one.
    """
    points = [_point(path, overrides, axes, texts) for texts in _combinations(axes)]
    seen: dict[str, Point] = {}
    for point in points:
        first = seen.setdefault(point.loaded.recipe.digest(), point)
        if first is not point:
            raise RecipeError(
                f"--grid: {' '.join(first.settings)} and {' '.join(point.settings)} are the same "
                "point",
                hint="leave one of them out",
            )
    return _named(points, [axis.key for axis in axes])


def _axis(word: str) -> Axis:
    key, equals, text = word.partition("=")
    where = f"--grid {word!r}"
    if not equals or not key:
        raise RecipeError(f"{where}: not a key and its values", hint=_FORM)
    _require_sweepable(key)
    texts = tuple(_split(text, ","))
    for each in texts:
        if not each.strip():
            raise RecipeError(f"{where}: an empty value; accepted: YAML values, null for none")
        parse_yaml(each, where, RecipeError, numbered=False)
    return Axis(key, texts)


def _split(text: str, separators: str) -> list[str]:
    """The parts between separators, except those inside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in separators and not depth:
            parts.append("")
            continue
        depth += 0 if quote else (character in "[{") - (character in "]}")
        parts[-1] += character
    return parts


def _require_sweepable(key: str) -> None:
    section, _, rest = key.partition(".")
    reason = _REFUSED.get(section) or _REFUSED.get(key)
    if reason:
        raise RecipeError(f"--grid {key}: {reason}", hint="keys of data, lora and train are swept")
    if section not in _SECTIONS:
        raise RecipeError(f"--grid {key}: unknown key; {nearest(section, _SECTIONS)}")
    fields = _SECTIONS[section].model_fields
    field, _, inner = rest.partition(".")
    if field not in fields or (inner and get_origin(fields[field].annotation) is not dict):
        raise RecipeError(f"--grid {key}: unknown key of {section}; {nearest(rest, fields)}")


def _combinations(axes: Sequence[Axis]) -> Iterator[tuple[str, ...]]:
    return itertools.product(*(axis.texts for axis in axes))


def _point(
    path: Path, overrides: Sequence[str], axes: Sequence[Axis], texts: tuple[str, ...]
) -> Point:
    settings = tuple(f"{axis.key}={text}" for axis, text in zip(axes, texts, strict=True))
    loaded = load(path, (*overrides, *settings))
    values = {axis.key: _value(loaded.recipe, axis.key) for axis in axes}
    return Point(loaded, settings, values)


def _value(recipe: Recipe, key: str) -> Any:
    value: Any = recipe.model_dump(mode="json")
    for part in key.split("."):
        value = value[part]
    return value


def _named(points: Sequence[Point], keys: Sequence[str]) -> list[Point]:
    """The points, each with its values in its name: `bot-r4-lr1e-4`."""
    labels = short_keys(keys)
    names = [_name(point, labels) for point in points]
    counted = Counter(names)
    return [
        _renamed(
            point, name if counted[name] == 1 and len(name) <= _MAX_NAME else _cut(name, point)
        )
        for point, name in zip(points, names, strict=True)
    ]


def short_keys(keys: Sequence[str]) -> list[str]:
    """The last part of each key, or the whole key where two would be the same."""
    counted = Counter(key.rpartition(".")[2] for key in keys)
    return [last if counted[last := key.rpartition(".")[2]] == 1 else key for key in keys]


def _name(point: Point, labels: Sequence[str]) -> str:
    parts = [point.loaded.recipe.name]
    for label, value in zip(labels, point.values.values(), strict=True):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        joined = number and not label[-1].isdigit()
        parts.append(f"{_plain(label)}{'' if joined else '-'}{_plain(value_text(value))}")
    return "-".join(parts)


def value_text(value: Any) -> str:
    """A value in few characters; equal values give equal texts."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, list):
        return "+".join(map(value_text, value))
    if isinstance(value, float):
        exact, power = f"{value:.12g}", f"{value:.11e}"
        digits, _, exponent = power.partition("e")
        power = f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"
        return power if len(power) < len(exact) else exact
    return digest(value)[:6]


def _plain(text: str) -> str:
    """Characters that a name takes."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-")


def _cut(name: str, point: Point) -> str:
    """Within a name's length, told apart by a digest."""
    tail = digest(point.values)[:6]
    return f"{name[: _MAX_NAME - len(tail) - 1]}-{tail}"


def _renamed(point: Point, name: str) -> Point:
    recipe = point.loaded.recipe.model_copy(update={"name": name})
    loaded = point.loaded._replace(recipe=recipe)
    return point._replace(loaded=loaded, settings=(f"name={name}", *point.settings))
