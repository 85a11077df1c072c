"""A finished training to a version in the store: cleaned, checked, signed.

An adapter that would not load, is not finite or does nothing is refused here. Knows nothing of
how it was trained, and opens tensors through safetensors alone.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import EnvironmentFault
from harness.jsonio import file_digest, read_json, write_bytes, write_json
from harness.recipe import LoadedRecipe
from harness.store import PUBLISHED, Store, version_id
from harness.training.job import JobDir, select_probes
from harness.training.prepare import Prepared, packages, train_key
from harness.training.targets import suffix
from harness.types import Manifest, ProbeRow

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
TEMPLATE = "chat_template.jinja"
_KEY = re.compile(r"(?P<module>.+)\.lora_(?:embedding_)?(?P<side>[AB])(?:\.weight)?")


class _Pair(NamedTuple):
    """The two halves of one module's LoRA: name → array of shape (r, in) and (out, r)."""

    a: Any
    b: Any


def publish(loaded: LoadedRecipe, prepared: Prepared, job_dir: Path, store: Store) -> str:
    """Put the job's adapter into the store and return its version; again gives the same.

    Raises EnvironmentFault for a job that is not finished or is another recipe's, and for an
    adapter that is incomplete, not finite or without effect.
    """
    job, recipe = JobDir(job_dir), loaded.recipe
    key = train_key(loaded, prepared)
    if not job.finished() or read_json(job.job)["key"] != key:
        raise EnvironmentFault(
            f"{job_dir}: no finished training of this recipe and data",
            hint="train again; a finished part is not repeated",
        )
    rank = _check(job.adapter, prepared.parent_dir)
    staged_dir = store.staging_dir(recipe.name)
    try:
        files = _stage(job.adapter, staged_dir, recipe.base.model, prepared.template)
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


def _check(adapter_dir: Path, parent_dir: Path | None) -> int:
    """The largest rank. Raises EnvironmentFault, naming the tensor, for what no server should
    load."""
    import numpy as np

    pairs = _pairs(adapter_dir / WEIGHTS)
    config = read_json(adapter_dir / CONFIG)
    ranks = {module: _rank(module, config) for module in pairs}
    for module, (a, b) in pairs.items():
        for side, tensor in (("A", a), ("B", b)):
            if not np.isfinite(tensor).all():
                raise _refusal(
                    f"{module}: lora_{side} has values that are not finite",
                    "training diverged: lower train.lr, then train again",
                )
        if not a.ndim == b.ndim == 2 or not a.shape[0] == b.shape[1] == ranks[module]:
            raise _refusal(
                f"{module}: shapes {a.shape} and {b.shape} are not a LoRA of rank {ranks[module]}"
            )
    if not any(np.any(b) for _, b in pairs.values()):
        raise _refusal(
            "every lora_B is zero, so the adapter does nothing",
            "raise train.lr or train.max_steps",
        )
    if parent_dir and _equal(pairs, _pairs(parent_dir / WEIGHTS)):
        raise _refusal(
            "it is its parent, unchanged", "raise train.lr or train.max_steps, or keep the parent"
        )
    return max(ranks.values())


def _rank(module: str, config: dict[str, Any]) -> int:
    ranks: dict[str, int] = config["rank_pattern"]
    found = (rank for name, rank in ranks.items() if suffix(name).fullmatch(module))
    return next(found, int(config["r"]))


def _equal(ours: dict[str, _Pair], theirs: dict[str, _Pair]) -> bool:
    import numpy as np

    return ours.keys() == theirs.keys() and all(
        np.array_equal(one, other)
        for module in ours
        for one, other in zip(ours[module], theirs[module], strict=True)
    )


def _pairs(path: Path) -> dict[str, _Pair]:
    found: dict[str, dict[str, Any]] = {}
    for name, tensor in _tensors(path).items():
        match = _KEY.fullmatch(name)
        if not match:
            raise _refusal(f"{name} is not a LoRA tensor")
        found.setdefault(match["module"], {})[match["side"]] = tensor
    for module, sides in found.items():
        if len(sides) != 2:
            raise _refusal(f"{module} has only lora_{''.join(sides)}")
    if not found:
        raise _refusal("there are no LoRA tensors")
    return {module: _Pair(sides["A"], sides["B"]) for module, sides in found.items()}


def _tensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise _refusal(f"{path} cannot be read: {error}") from None


def _probes(prepared: Prepared, evidence: list[dict[str, Any]]) -> tuple[ProbeRow, ...]:
    chosen = select_probes(prepared.rows, prepared.contract.stop_ids)
    probes = []
    for (index, n_prompt, n_completion), values in zip(chosen, evidence, strict=True):
        row = prepared.rows[index]
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


def _refusal(
    what: str, hint: str = "train again with --restart; if it repeats, report it"
) -> EnvironmentFault:
    return EnvironmentFault(f"the trained adapter is refused: {what}", hint=hint)
