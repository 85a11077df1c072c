"""adapter_config.json: which settings of PEFT a server reproduces, and what they mean.

A setting counts as understood only when it is listed here (PEFT 0.21's LoraConfig, checked
against vLLM 0.32's lora/peft_helper.py); any other that is set is refused by name. Knows nothing
of the weights.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import DataError, StoreError
from harness.jsonio import read_json

CONFIG = "adapter_config.json"
MAX_RANK = 512
"""vLLM's largest --max-lora-rank."""
_PLAIN = "train a plain LoRA, or merge the adapter and extract one"

_NO_MATTER = {
    *("auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode"),
    *("exclude_modules", "lora_dropout", "layers_to_transform", "layers_pattern", "eva_config"),
    *("megatron_core", "qalora_group_size", "runtime_config"),
}
"""Of training or of which modules are changed, which the tensors say themselves."""
_MEANT = {
    *("peft_type", "task_type", "r", "lora_alpha", "use_rslora", "rank_pattern"),
    *("alpha_pattern", "target_modules", "fan_in_fan_out", "bias", "init_lora_weights"),
}
_OFF = {
    "use_dora": "DoRA's magnitudes are not served",
    "lora_bias": "biases are not served",
    "modules_to_save": "whole modules are not served",
    "layer_replication": "layers cannot be repeated on a shared base",
    "alora_invocation_tokens": "aLoRA, which acts from a token on, is not served",
    "use_bdlora": "block-diagonal LoRA is not served",
    "use_qalora": "QALoRA's pooled inputs are not served",
    "trainable_token_indices": "trained token embeddings are not served",
    "target_parameters": "a LoRA of parameters that are no module's is not served",
    "loftq_config": "LoftQ starts from a changed base",
    "corda_config": "CorDA starts from a changed base",
    "lora_ga_config": "LoRA-GA starts from a changed base",
    "megatron_config": "Megatron's layers are not served",
    "velora_config": "VeLoRA is not served",
    "monteclora_config": "MonteCLoRA's samples are not served",
    "arrow_config": "Arrow's routing is not served",
    "kasa_config": "KaSA starts from a changed base",
    "ensure_weight_tying": "the head and the embeddings are not changed together",
}
"""Key → why it must be off."""
_INITS = (True, False, "gaussian", "eva", "orthogonal", "mica")
"""Starts that leave the base as it is. Others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) subtract the
start from it, and the adapter fits the changed base only."""


class LoraConfig(NamedTuple):
    """What an adapter's config says of the maths."""

    r: int
    alpha: float
    rslora: bool
    rank_pattern: dict[str, int]
    alpha_pattern: dict[str, float]
    targets: tuple[str, ...] | None
    """Ends of the changed modules' names; None: the config has a pattern for them."""
    transposed: bool
    """Whether some of the base's matrices may be stored as (in, out)."""
    base: str | None
    """The base's name at training."""

    @property
    def largest(self) -> int:
        """As vLLM counts: also a rank that no module has."""
        return max(self.r, *self.rank_pattern.values(), 1)

    def rank(self, module: str) -> int:
        return int(_first(self.rank_pattern, module, self.r))

    def scale(self, module: str) -> float:
        """The factor before B·A."""
        rank = self.rank(module)
        alpha = _first(self.alpha_pattern, module, self.alpha)
        return alpha / (math.sqrt(rank) if self.rslora else rank)

    def changes(self, module: str) -> bool:
        """Whether PEFT would put a LoRA on this module."""
        return self.targets is None or any(
            module == each or module.endswith(f".{each}") for each in self.targets
        )


def read_config(path: Path) -> LoraConfig:
    """Raises StoreError for a file that is none, or that asks for what no server reproduces."""
    try:
        values = read_json(path)
    except FileNotFoundError:
        raise StoreError(f"{path.name} is missing", hint="publish the whole adapter") from None
    except DataError as error:
        raise StoreError(str(error).removeprefix(f"{path.parent}/"), hint=_PLAIN) from None
    if not isinstance(values, dict):
        raise StoreError(f"{CONFIG} holds a {type(values).__name__}; accepted: a JSON object")
    _require_plain(values)
    return LoraConfig(
        r=_rank("r", values.get("r")),
        alpha=_alpha("lora_alpha", values.get("lora_alpha")),
        rslora=_switch("use_rslora", values),
        rank_pattern=_patterns("rank_pattern", values, _rank),
        alpha_pattern=_patterns("alpha_pattern", values, _alpha),
        targets=_targets(values.get("target_modules")),
        transposed=_switch("fan_in_fan_out", values),
        base=_name(values.get("base_model_name_or_path")),
    )


@functools.lru_cache(maxsize=10_000)
def suffix(name: str) -> re.Pattern[str]:
    """What a key of rank_pattern or alpha_pattern matches: whole module names that end so. Raises
    re.error, also for one that could keep a server busy for hours."""
    repeats, choices = len(re.findall(r"[*+{]", name)), len(re.findall(r"[?|]", name))
    if len(name) > 300 or repeats > 3 or choices > 9 or re.search(r"\)[*+{]|\\[1-9]", name):
        raise re.error("too many repetitions, or one of a group, or a reference to one")
    try:
        return re.compile(rf"(?:.*\.)?(?:{name})")
    except (OverflowError, RecursionError) as error:
        raise re.error(str(error)) from None


def _first(pattern: Mapping[str, float], module: str, otherwise: float) -> float:
    """PEFT and vLLM both take the first key that matches."""
    found = (value for key, value in pattern.items() if suffix(key).fullmatch(module))
    return next(found, otherwise)


def _require_plain(values: dict[str, Any]) -> None:
    if values.get("peft_type") != "LORA":
        raise _refusal("peft_type", values.get("peft_type"), '"LORA"')
    if values.get("task_type") not in (None, "CAUSAL_LM"):
        raise _refusal("task_type", values["task_type"], '"CAUSAL_LM"')
    for key, why in _OFF.items():
        if values.get(key):
            raise _refusal(key, values[key], f"off; {why}")
    if values.get("bias", "none") != "none":
        raise _refusal("bias", values["bias"], '"none"; biases are not served')
    init = values.get("init_lora_weights", True)
    if not any(init is each or (isinstance(init, str) and init == each) for each in _INITS):
        accepted = ", ".join(map(str, _INITS))
        raise _refusal(
            "init_lora_weights",
            init,
            f"{accepted}; others change the base, which is shared here",
            hint="save it with PEFT's path_initial_model_for_weight_conversion",
        )
    for key in values.keys() - _NO_MATTER - _MEANT - _OFF.keys():
        if values[key]:
            raise _refusal(f"{key!r:.60}", values[key], "off; this setting is not understood")


def _rank(key: str, value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MAX_RANK:
        raise _refusal(key, value, f"a rank of 1 to {MAX_RANK}, vLLM's largest")
    return value


def _alpha(key: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value < 1e9:
        raise _refusal(key, value, "a number above 0 and below 1e9")
    return float(value)


def _switch(key: str, values: dict[str, Any]) -> bool:
    value = values.get(key, False)
    if value not in (True, False, None) or isinstance(value, float):
        raise _refusal(key, value, "true or false")
    return bool(value)


def _patterns(key: str, values: dict[str, Any], parse: Any) -> dict[str, Any]:
    found = values.get(key) or {}
    if not isinstance(found, dict):
        raise _refusal(key, found, "an object of names and numbers")
    for name in found:
        try:
            suffix(name)
        except re.error as error:
            raise _refusal(key, name, f"names or short patterns: {error}") from None
    return {name: parse(f"{key}[{name!r:.60}]", value) for name, value in found.items()}


def _targets(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    if not isinstance(value, str):
        raise _refusal("target_modules", value, "names in a list, or a pattern")
    return None


def _name(value: Any) -> str | None:
    if not isinstance(value, str | None):
        raise _refusal("base_model_name_or_path", value, "a text")
    return value


def _refusal(key: str, value: Any, accepted: str, hint: str = _PLAIN) -> StoreError:
    return StoreError(f"{CONFIG}: {key} = {value!r:.80}; accepted: {accepted}", hint=hint)
