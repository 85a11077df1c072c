"""The recipe: one YAML file with everything chosen before a run.

Strict: an unknown key, a wrong type or a LoRA option that vLLM cannot load is refused here, with
the file, line and key path, before anything is spent. Knows nothing of how the choices are used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from harness.errors import RecipeError, nearest
from harness.jsonio import digest
from harness.yamlio import parse_yaml, read_yaml

MAX_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values vLLM accepts for --max-lora-rank (vllm/config/lora.py)."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Count = Annotated[int, Field(ge=1, le=65536)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""What every library's random generator takes."""
_SHOWN = 80


class Section(BaseModel):
    """Base of the recipe's sections: frozen and strict."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Base(Section):
    model: str
    """`pocket`, a model directory, or a hub id."""
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    max_context: Annotated[int, Field(ge=16, le=2**24)] | None = None
    """Tokens of prompt and answer that are served; None: all of the base's, at most 8192."""


class Chat(Section):
    template: str | None = None
    """None: the base's own; otherwise a Jinja file."""
    kwargs: dict[str, Any] = {}
    stop: tuple[str, ...] = ()
    """Extra stop tokens (text of one token each); the base's own always count."""


class Source(Section):
    path: str
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Share of this source's rows to take, chosen by the seed; above 1 repeats rows."""


class Data(Section):
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    max_length: Annotated[int, Field(ge=8, le=2**24)] = 2048
    """Longest row in tokens, prompt and answer together."""
    overflow: Literal["error", "drop"] = "error"
    """What to do with longer rows; dropped rows are counted."""
    seed: Seed = 0


class Lora(Section):
    r: Annotated[int, Field(ge=1, le=MAX_LORA_RANKS[-1])] = 16
    alpha: Annotated[float, Field(gt=0, le=65536)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: str | tuple[str, ...] = "all-linear"
    rslora: bool = False

    @model_validator(mode="before")
    @classmethod
    def _servable(cls, values: Any) -> Any:
        """Names PEFT knows but vLLM cannot load, refused with the reason."""
        for key in values if isinstance(values, dict) else ():
            if key in _UNSERVABLE:
                raise ValueError(f"{key!r} cannot be served: {_UNSERVABLE[key]}; remove it")
        return values

    @field_validator("targets")
    @classmethod
    def _trainable(cls, targets: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not targets:
            raise ValueError("no module is named; accepted: all-linear, or names of modules")
        if "lm_head" in ((targets,) if isinstance(targets, str) else targets):
            raise ValueError("'lm_head' cannot be a target: TRL's loss fuses the output head")
        return targets


_DEFAULT_INIT = (
    "only PEFT's default initialisation is offered; vLLM refuses PiSSA, OLoRA, CorDA and LoftQ "
    "adapters because they change the base"
)
_UNSERVABLE = {
    "use_dora": "vLLM refuses DoRA adapters",
    "dora": "vLLM refuses DoRA adapters",
    "bias": "vLLM refuses adapters with bias",
    "lora_bias": "vLLM refuses adapters with bias",
    "modules_to_save": "vLLM refuses adapters that carry full modules",
    "init_lora_weights": _DEFAULT_INIT,
    "init": _DEFAULT_INIT,
    "layer_replication": "vLLM refuses replicated layers",
    "trainable_token_indices": "vLLM refuses adapters with trained token embeddings",
    "alora_invocation_tokens": "vLLM refuses activated LoRA",
}


class Train(Section):
    objective: Literal["sft"] = "sft"
    epochs: Annotated[float, Field(gt=0, le=10_000)] = 1.0
    max_steps: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Optimizer steps; overrides epochs."""
    lr: Annotated[float, Field(gt=0, le=10)] = 2e-4
    batch: Count = 16
    """Rows per optimizer step and process, before accumulation."""
    grad_accum: Count = 1
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.0
    save_every: Annotated[int, Field(ge=1, le=10_000_000)] = 50
    """Steps between checkpoints; an interrupted training resumes from the last."""
    seed: Seed = 0


class Compute(Section):
    """How, not what: left out of the recipe's digest."""

    threads: Annotated[int, Field(ge=1, le=4096)] | None = None
    """CPU threads of training and serving; None: all cores for training, one for serving."""
    endpoint: str | None = None
    """Base URL of a running `harness serve`; None: start one for the round."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port for a started server; None: any free one."""
    server_args: tuple[str, ...] = ()
    """More arguments for vLLM."""


class Eval(Section):
    evalset: str
    """A folder with items.jsonl and card.yaml, or the name of a shipped evalset."""
    max_tokens: Annotated[int, Field(ge=1, le=2**24)] = 512
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    seed: Seed = 0
    batch: Count = 64
    """Prompts per request; they travel as token ids."""
    concurrency: Count = 4
    """Requests in flight."""
    chat_sample: Annotated[int, Field(ge=0, le=65536)] = 8
    """Items also sent through the chat route, which must give the same prompt ids."""
    include_base: bool = True
    system: str | None = None
    """System prompt for all targets."""


class Judge(Section):
    model: str = "pocket-judge"
    """`pocket-judge`, a version in the store, or a model name at the endpoint."""
    endpoint: str | None = None
    """Base URL of an OpenAI-compatible endpoint; None: the round's own server."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the endpoint's key."""
    prompt: str | None = None
    """Judge prompt file; None: the evalset's judge.md."""
    constrain: bool = False
    """The endpoint is a vLLM: hold it to the form of the answer and read the digits' log-probs,
    as the round's own server always is."""
    max_tokens: Annotated[int, Field(ge=1, le=2**24)] = 256
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    concurrency: Count = 16
    timeout_s: Annotated[float, Field(gt=0, le=86400)] = 120.0
    retries: Annotated[int, Field(ge=0, le=100)] = 3


class Slices(Section):
    by: str | None = "type"
    """Tag that splits the evalset; None: no slices."""
    min_n: Annotated[int, Field(ge=2, le=65536)] = 20
    """Smaller slices are shown but not guarded."""
    critical: tuple[str, ...] = ()
    """Slices that must be non-inferior by themselves."""
    margin_critical: Annotated[float, Field(gt=0, lt=4)] = 0.5


_THRESHOLD = re.compile(
    r"(?P<metric>mean|pass_share|min)\s*>=\s*(?P<value>\d+(?:\.\d+)?)"
    r"(?P<each>\s+each\s+slice)?(?P<point>\s+point)?"
)


class Gate(Section):
    baseline: str | None = None
    """Alias or version to compare with, or `base`. The alias is what --promote moves."""
    margin: Annotated[float, Field(gt=0, lt=4)] = 0.2
    """Largest drop of the mean score, on 1–5, that is accepted."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    pass_at: Annotated[int, Field(ge=2, le=5)] = 4
    thresholds: tuple[str, ...] = ()
    """`mean|pass_share|min >= NUMBER [each slice] [point]`, tested on the confidence bound
    unless `point`."""
    slices: Slices = Slices()
    max_missing: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """Larger share of missing or unscored answers on a side: untrusted."""
    on_inconclusive: Literal["block", "allow"] = "block"

    @field_validator("thresholds")
    @classmethod
    def _readable(cls, thresholds: tuple[str, ...]) -> tuple[str, ...]:
        for text in thresholds:
            parse_threshold(text)
        return thresholds


class Threshold(Section):
    """A parsed line of gate.thresholds."""

    text: str
    metric: Literal["mean", "pass_share", "min"]
    value: float
    each_slice: bool
    point: bool


def parse_threshold(text: str) -> Threshold:
    """Raises ValueError with the accepted form."""
    match = _THRESHOLD.fullmatch(text.strip())
    if not match:
        raise ValueError(
            f"{text!r} is not a threshold; accepted: 'mean >= 4.0', 'pass_share >= 0.9', "
            "'min >= 2', each optionally followed by 'each slice' and 'point'"
        )
    metric, value = match["metric"], float(match["value"])
    low, high = (0.0, 1.0) if metric == "pass_share" else (1.0, 5.0)
    if not low <= value <= high:
        raise ValueError(f"{text!r}: {metric} lies between {low:g} and {high:g}")
    return Threshold.model_validate(
        {
            "text": text.strip(),
            "metric": metric,
            "value": value,
            "each_slice": bool(match["each"]),
            "point": bool(match["point"]) or metric == "min",
        }
    )


class Recipe(Section):
    """Everything chosen before a run. Paths are as written, relative to the recipe's folder."""

    name: Name
    base: Base
    chat: Chat = Chat()
    data: Data
    lora: Lora = Lora()
    train: Train = Train()
    compute: Compute = Compute()
    eval: Eval
    judge: Judge = Judge()
    gate: Gate = Gate()

    def digest(self) -> str:
        """SHA-256 of every choice but `compute`; file contents have digests of their own."""
        return digest(self.model_dump(mode="json", exclude={"compute"}))


class LoadedRecipe(NamedTuple):
    """A recipe, the folder its relative paths start from, and its file."""

    recipe: Recipe
    root: Path
    path: Path

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

    Raises RecipeError that names file, line and key path, the value seen and what is accepted.
    """
    try:
        values, lines = read_yaml(path, RecipeError)
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe file") from None
    if not isinstance(values, dict):
        accepted = ", ".join(Recipe.model_fields)
        raise RecipeError(f"{path}: a recipe is a mapping of sections; accepted: {accepted}")
    for override in overrides:
        _override(values, override)
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise _explain(error, path, lines) from None
    return LoadedRecipe(recipe, path.resolve().parent, path)


def _override(values: dict[str, Any], override: str) -> None:
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


def _explain(error: ValidationError, path: Path, lines: dict[str, int]) -> RecipeError:
    """The first problem in full, the others counted."""
    problems = [_problem(dict(each), path, lines) for each in error.errors()]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return RecipeError(problems[0] + more, hint=f"edit {path}, then: harness check {path}")


def _problem(error: dict[str, Any], path: Path, lines: dict[str, int]) -> str:
    parts = [str(part) for part in error["loc"]]
    key = ".".join(parts)
    while key and key not in lines and "." in key:
        key = key.rpartition(".")[0]
    where = f"{path}:{lines[key]}" if key in lines else str(path)
    name = ".".join(parts)
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key {name!r}: {nearest(parts[-1], _keys(parts[:-1]))}"
    if error["type"] == "missing":
        return f"{where}: required key {name!r} is missing"
    message = str(error["msg"]).removeprefix("Value error, ")
    if not parts or error["type"] == "value_error":
        return f"{where}: {name + ': ' if name else ''}{message}"
    seen = repr(error["input"])
    seen = seen if len(seen) <= _SHOWN else f"{seen[:_SHOWN]}…"
    return f"{where}: {name} = {seen}: {message}"


def _keys(parts: Sequence[str]) -> list[str]:
    """Names of the fields at a key path."""
    model: Any = Recipe
    for part in parts:
        if part.isdigit():
            continue
        annotation = model.model_fields[part].annotation
        found = [
            each
            for each in (annotation, *get_args(annotation), *_nested(annotation))
            if isinstance(each, type) and issubclass(each, Section)
        ]
        if not found:
            return []
        model = found[0]
    return list(model.model_fields)


def _nested(annotation: Any) -> list[Any]:
    return [inner for each in get_args(annotation) for inner in get_args(each)]
