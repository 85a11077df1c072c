"""Which modules of a base a LoRA trains, and whether a server can load it there.

Reads tensor names and shapes from the base's files and follows PEFT's rules of matching. Knows
nothing of the training.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.chat.base import tensor_shapes
from harness.errors import RecipeError, nearest
from harness.recipe import Lora
from harness.store.loraconfig import suffix

ALL_LINEAR = "all-linear"
_LISTED = (
    "names go in a list: [q_proj, v_proj]; a single text is a regular expression for whole "
    "module names"
)
_VOCABULARY = re.compile(r"lm_head|embed_out|wte|wpe|.*embed.*")
_LAYER = re.compile(r".*?\.[^.]*\.(\d+)\.")
"""The first number in a module's name, where PEFT looks for the layer."""


def require_lora(lora: Lora, directory: Path) -> None:
    """Raises RecipeError for what `lora` names and the base in `directory` does not have, and
    where that leaves nothing to train."""
    require_targets(lora.targets, directory)
    _require_layers(lora, directory)
    targeted = targeted_modules(lora.model_copy(update={"exclude": ()}), directory)
    _require_each("exclude", lora.exclude, targeted, _ending)
    kept = targeted_modules(lora, directory)
    if not kept:
        raise RecipeError(
            "lora.exclude: it leaves no module to train",
            hint="leave out what should be trained after all",
        )
    for key, patterns in (("rank", lora.rank_pattern), ("alpha", lora.alpha_pattern)):
        _require_each(f"{key}_pattern", patterns, kept, suffix)
        _require_one_each(f"{key}_pattern", patterns, kept)


def targeted_modules(lora: Lora, directory: Path) -> list[str]:
    """Full names of the modules that `lora` trains, in the files' order."""
    linear, _ = _modules(directory)
    patterns = [] if lora.targets == ALL_LINEAR else _patterns(lora.targets)
    excluded = [_ending(each) for each in lora.exclude]
    return [
        module
        for module in linear
        if (not patterns or any(each.fullmatch(module) for _, each in patterns))
        and (lora.layers is None or _layer(module) in lora.layers)
        and not any(each.fullmatch(module) for each in excluded)
    ]


def _layer(module: str) -> int | None:
    match = _LAYER.match(module)
    return int(match[1]) if match else None


def _require_layers(lora: Lora, directory: Path) -> None:
    if lora.layers is None:
        return
    if isinstance(lora.targets, str) and lora.targets != ALL_LINEAR:
        raise RecipeError(
            f"lora.layers: lora.targets = {lora.targets!r} is a regular expression, which names "
            "the layers itself; accepted: layers beside a list or all-linear",
            hint=_LISTED,
        )
    everywhere = targeted_modules(
        lora.model_copy(update={"layers": None, "exclude": ()}), directory
    )
    there = {layer for layer in map(_layer, everywhere) if layer is not None}
    for layer in lora.layers:
        if layer not in there:
            accepted = (
                f"{min(there)} to {max(there)}" if there else "none, it has no numbered layers"
            )
            raise RecipeError(
                f"lora.layers: the base has no layer {layer} to train; accepted: {accepted}",
                hint="layers are counted from 0",
            )


def _require_each(
    key: str,
    names: Iterable[str],
    modules: list[str],
    compiled: Callable[[str], re.Pattern[str]],
) -> None:
    """Raises RecipeError for a name that matches none of the modules."""
    for name in names:
        try:
            pattern = compiled(name)
        except re.error as error:
            raise RecipeError(f"lora.{key}: {name!r} is not a pattern: {error}") from None
        if not any(pattern.fullmatch(module) for module in modules):
            accepted = {module.rpartition(".")[2] for module in modules}
            raise RecipeError(
                f"lora.{key}: {name!r} is none of the modules that are trained; "
                f"{nearest(name, accepted)}",
                hint="a name is the end of a module's name, such as q_proj or layers.0.mlp.up_proj",
            )


def _require_one_each(key: str, patterns: Iterable[str], modules: list[str]) -> None:
    """PEFT takes the first pattern that matches and writes them sorted, so with two that match
    another could come first when the adapter is loaded."""
    for module in modules:
        found = [each for each in patterns if suffix(each).fullmatch(module)]
        if len(found) > 1:
            raise RecipeError(
                f"lora.{key}: {found[0]!r} and {found[1]!r} are both {module}",
                hint="write the patterns so that one module matches one of them",
            )


def _ending(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?:.*\.)?{re.escape(name)}")


def require_targets(targets: str | tuple[str, ...], directory: Path) -> None:
    """Raises RecipeError for `lora.targets` of which one matches no linear layer of the base, or
    matches an embedding, a norm or the output head, on which no server loads a LoRA.

    As in PEFT, a listed target is the end of a module's name and a single text a regular
    expression for the whole name.
    """
    if targets == ALL_LINEAR:
        return
    linear, other = _modules(directory)
    accepted = {module.rpartition(".")[2] for module in linear} | {ALL_LINEAR}
    for target, pattern in _patterns(targets):
        unfit = next((each for each in other if pattern.fullmatch(each)), None)
        if unfit is None and any(pattern.fullmatch(each) for each in linear):
            continue
        what = f"{unfit} is no linear layer" if unfit else "the base has no such module"
        raise RecipeError(
            f"lora.targets: {target!r}: {what}, so no LoRA on it can be served; "
            f"{nearest(target, accepted)}",
            hint=_LISTED if isinstance(targets, str) else "leave lora.targets out for all of them",
        )


def _patterns(targets: str | tuple[str, ...]) -> list[tuple[str, re.Pattern[str]]]:
    if not isinstance(targets, str):
        return [(each, _ending(each)) for each in targets]
    try:
        return [(targets, re.compile(targets))]
    except re.error as error:
        raise RecipeError(
            f"lora.targets = {targets!r}: not a regular expression: {error}", hint=_LISTED
        ) from None


def _modules(directory: Path) -> tuple[Iterable[str], Iterable[str]]:
    """The base's linear layers, and its other modules with tensors; in the files' order."""
    n_axes: dict[str, int] = {}
    for name, shape in tensor_shapes(directory).items():
        module = name.rpartition(".")[0]
        n_axes[module] = max(n_axes.get(module, 0), len(shape))
    linear = {
        module: None
        for module, n in n_axes.items()
        if n > 1 and not _VOCABULARY.fullmatch(module.rpartition(".")[2])
    }
    return linear, [module for module in n_axes if module not in linear]
