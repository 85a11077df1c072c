"""A finished training to a version in the store: cleaned, checked, signed.

What no server could serve is refused (harness.store.check_adapter), and so is a training that
changed nothing. Knows nothing of how it was trained.
"""

from __future__ import annotations

import math
import shutil
from itertools import zip_longest
from pathlib import Path
from typing import Any

from harness.errors import EnvironmentFault, StoreError
from harness.jsonio import file_digest, read_json, write_bytes, write_json
from harness.recipe import LoadedRecipe
from harness.store import PUBLISHED, Store, check_adapter, version_id
from harness.store.tensors import read_tensors
from harness.training.job import JobDir, select_probes
from harness.training.prepare import Prepared, packages, train_key
from harness.types import Manifest, ProbeRow

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
TEMPLATE = "chat_template.jinja"


def publish(loaded: LoadedRecipe, prepared: Prepared, job_dir: Path, store: Store) -> str:
    """Put the job's adapter into the store and return its version; again gives the same.

    Raises EnvironmentFault for a job that is not finished or is another recipe's, and for an
    adapter that no server could serve, or that is without effect.
    """
    job, recipe = JobDir(job_dir), loaded.recipe
    key = train_key(loaded, prepared)
    if not job.finished() or read_json(job.job)["key"] != key:
        raise EnvironmentFault(
            f"{job_dir}: no finished training of this recipe and data",
            hint="train again; a finished part is not repeated",
        )
    staged_dir = store.staging_dir(recipe.name)
    try:
        files = _stage(job.adapter, staged_dir, recipe.base.model, prepared.template)
        rank = _check(staged_dir, prepared)
        manifest = Manifest(
            version=version_id(recipe.name, files, prepared.contract.dump()),
            base=prepared.base,
            contract=prepared.contract,
            rank=rank,
            files=files,
            recipe=recipe.digest(),
            data=prepared.data,
            train_key=key,
            parent=recipe.lora.init_from,
            objective=recipe.train.objective,
            quantize=recipe.base.quantize,
            seeds={"data": recipe.data.seed, "train": recipe.train.seed},
            packages=packages(),
            n_rows=len(prepared.rows),
            n_steps=prepared.n_steps,
            probes=_probes(prepared, read_json(job.probes)),
        )
        return store.add(staged_dir, manifest)
    except FileNotFoundError as error:
        raise _refusal(f"{error.filename} is missing", "train again with --restart") from None
    finally:
        shutil.rmtree(staged_dir, ignore_errors=True)


def _stage(adapter_dir: Path, staged_dir: Path, base: str, template: str) -> dict[str, str]:
    """Write the published files, each readable by a server under another user; name → SHA-256."""
    config = read_json(adapter_dir / CONFIG)
    config["base_model_name_or_path"] = base
    for key in ("target_modules", "exclude_modules"):
        if isinstance(config[key], list):
            config[key] = sorted(config[key])
    write_json(staged_dir / CONFIG, config)
    write_bytes(staged_dir / TEMPLATE, template.encode())
    shutil.copyfile(adapter_dir / WEIGHTS, staged_dir / WEIGHTS)
    (staged_dir / WEIGHTS).chmod(0o644)
    return {name: file_digest(staged_dir / name) for name in PUBLISHED}


def _check(staged_dir: Path, prepared: Prepared) -> int:
    """The largest rank. Raises EnvironmentFault for what no server should load."""
    try:
        rank = check_adapter(staged_dir, prepared.base_dir).rank
    except StoreError as error:
        raise _refusal(str(error), error.hint) from None
    if prepared.parent_dir and _equal(staged_dir / WEIGHTS, prepared.parent_dir / WEIGHTS):
        raise _refusal(
            "it is its parent, unchanged", "raise train.lr or train.max_steps, or keep the parent"
        )
    return rank


def _equal(one: Path, other: Path) -> bool:
    """Whether two files hold the same tensors, bit for bit."""
    return all(a == b for a, b in zip_longest(read_tensors(one), read_tensors(other)))


def _probes(prepared: Prepared, evidence: list[dict[str, Any]]) -> tuple[ProbeRow, ...]:
    chosen = select_probes(prepared.rows, prepared.contract.stop_ids)
    probes = []
    for (index, n_prompt, n_completion), values in zip(chosen, evidence, strict=True):
        row = prepared.rows[index]
        if not all(map(math.isfinite, [*values["logprobs"], *values["base_logprobs"]])):
            raise _refusal(
                f"{row.source}: its log-probabilities are not finite",
                "training diverged: lower train.lr, then train again",
            )
        probes.append(
            ProbeRow(
                source=row.source,
                messages=row.messages,
                tools=row.tools,
                prompt_ids=row.input_ids[:n_prompt],
                completion_ids=row.input_ids[n_prompt : n_prompt + n_completion],
                logprobs=values["logprobs"],
                base_logprobs=values["base_logprobs"],
            )
        )
    return tuple(probes)


def _refusal(what: str, hint: str | None) -> EnvironmentFault:
    return EnvironmentFault(f"the trained adapter is refused: {what}", hint=hint)
