"""Finished runs made of answers and scores, without a server, and versions with their trainings'
directories: what blame reads and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from harness import jsonio
from harness.chat.template import ChatTokenizer
from harness.evaluation.items import parse_item
from harness.evaluation.turns import conversation
from harness.pocket import BASE_DIR
from harness.pocket.rows import heldout_items
from harness.recipe import Recipe, load
from harness.release.compare import compare
from harness.release.gate import decide
from harness.report.record import RoundRecord
from harness.run import Run
from harness.store import Store
from harness.training.job import JobDir
from harness.training.prepare import prepare, train_key
from harness.training.publish import publish
from harness.training.resume import job_dir
from harness.types import Generation, Item, Manifest, Role, Target, Verdict
from tests.serve.adapters import random_adapter
from tests.workbench import write_recipe

Scores = Sequence[int | None]


def version(
    store: Store, folder: Path, rows: Sequence[dict[str, Any]], seed: int, **sections: Any
) -> Manifest:
    """A version on these rows with an adapter of random numbers, as if it had been trained."""
    path = write_recipe(folder, n_items=7, **sections)
    jsonio.write_jsonl(folder / "train.jsonl", rows)
    loaded = load(path)
    prepared = prepare(loaded)
    job = JobDir(job_dir(store.home / "training", "bot", train_key(loaded, prepared)))
    job.write(loaded, prepared)
    for name, data in random_adapter(BASE_DIR, seed, scale=0.02).items():
        jsonio.write_bytes(job.adapter / name, data)
    evidence = [{"logprobs": [-1.0], "base_logprobs": [-2.0]} for _ in range(8)]
    jsonio.write_json(job.probes, evidence[: min(8, len(rows))])
    return store.manifest(publish(loaded, prepared, job.path, store))


def items(n: int | None = None) -> list[Item]:
    """The pocket's held-out items, or `n` of all types in turn."""
    found = [parse_item(value, "here") for value in heldout_items()]
    return found if n is None else found[:: len(found) // n][:n]


def keep_round(
    store: Store,
    run_id: str,
    recipe: Recipe,
    manifest: Manifest,
    baseline: str,
    asked: Sequence[Item],
    answers: Mapping[Role, Sequence[str]],
    scores: Mapping[Role, Scores],
    **changed: Any,
) -> Path:
    """A run with these answers and scores; `changed` are fields of each generation."""
    gate = recipe.gate
    generations, verdicts = [], []
    for role, texts in answers.items():
        model = manifest.version if role == "candidate" else baseline
        for item, text, score in zip(asked, texts, scores[role], strict=True):
            generations.append(_generation(item, role, model, text, changed))
            verdicts.append(_verdict(item, role, score))
    comparison = compare(
        asked, generations, verdicts, candidate=manifest.version, baseline=baseline,
        evalset="set@e", judge="judge@j", gate=gate,
    )  # fmt: skip
    run = Run(store.home / "runs" / run_id)
    record = RoundRecord(
        recipe=recipe,
        manifest=manifest,
        comparison=comparison,
        decision=decide(comparison, gate),
        items=tuple(asked),
        generations=tuple(generations),
        verdicts=tuple(verdicts),
        counts={},
        run_id=run_id,
        finished_at="2030-01-01T00:00:00+00:00",
    )
    jsonio.write_json(run.report_path("json"), record.dump())
    return run.run_dir


def _generation(
    item: Item, role: Role, model: str, text: str, changed: Mapping[str, Any]
) -> Generation:
    target = Target(role=role, model=model, system=changed.get("system"))
    prompt = _chat().prompt_ids(conversation(item, target, changed.get("earlier", ())))
    values = {
        "item_id": item.id,
        "role": role,
        "model": model,
        "state": "ok",
        "text": text,
        "n_prompt_tokens": len(prompt),
        "n_tokens": 1,
    }
    own = {key: value for key, value in changed.items() if key != "system"}
    return Generation.model_validate(values | own)


@cache
def _chat() -> ChatTokenizer:
    return ChatTokenizer(BASE_DIR)


def _verdict(item: Item, role: Role, score: int | None) -> Verdict:
    state = "unscored" if score is None else "scored"
    return Verdict.model_validate(
        {"item_id": item.id, "role": role, "state": state, "score": score, "reason": "because"}
    )
