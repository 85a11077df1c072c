"""Training that goes on from a version of the store: its LoRA is taken as it is.

Knows nothing of the store but the adapter config that a version carries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import RecipeError
from harness.recipe import Lora
from harness.training.targets import targeted_modules

_KEYS = {
    "r": "r",
    "alpha": "lora_alpha",
    "rslora": "use_rslora",
    "rank_pattern": "rank_pattern",
    "alpha_pattern": "alpha_pattern",
    "targets": "target_modules",
    "exclude": "exclude_modules",
    "layers": "layers_to_transform",
}
"""Key of the recipe → of PEFT's config, for everything that an adapter cannot change later."""
_SELECTING = ("targets", "exclude", "layers")
"""Keys that may be written differently and still mean the same modules."""


def require_parent(lora: Lora, config: dict[str, Any], directory: Path) -> Lora:
    """`lora` with everything that its parent decides; dropout remains the recipe's.

    `config` is the parent's adapter_config.json, `directory` the base's. Raises RecipeError for a
    key that the recipe sets to something else.
    """
    theirs = lora.model_copy(update={key: _value(key, config) for key in _KEYS})
    for key in _KEYS:
        if key not in lora.model_fields_set:
            continue
        if key in _SELECTING:
            mixed = theirs.model_copy(update={key: getattr(lora, key)})
            same = targeted_modules(mixed, directory) == targeted_modules(theirs, directory)
        else:
            same = getattr(lora, key) == getattr(theirs, key)
        if not same:
            raise RecipeError(
                f"lora.{key} = {getattr(lora, key)!r}: training goes on from {lora.init_from}, "
                f"which has {getattr(theirs, key)!r}",
                hint=f"leave lora.{key} out, or train a new adapter without lora.init_from",
            )
    return theirs


def _value(key: str, config: dict[str, Any]) -> Any:
    value = config.get(_KEYS[key])
    if key == "layers":
        return (value,) if isinstance(value, int) else value and tuple(value)
    if key == "exclude" and value is None:
        return ()
    return tuple(value) if isinstance(value, list) else value
