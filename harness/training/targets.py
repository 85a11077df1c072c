"""Which modules of a base a LoRA can train and a server can load.

Reads tensor names and shapes from the base's files. Knows nothing of PEFT or of the training.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from harness.chat.base import tensor_shapes
from harness.errors import RecipeError, nearest

ALL_LINEAR = "all-linear"
_LISTED = (
    "names go in a list: [q_proj, v_proj]; a single text is a regular expression for whole "
    "module names"
)
_VOCABULARY = re.compile(r"lm_head|embed_out|wte|wpe|.*embed.*")


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
        return [(each, re.compile(rf"(?:.*\.)?{re.escape(each)}")) for each in targets]
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
