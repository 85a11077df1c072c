"""A training job's directory: what the launcher writes, the worker reads and publishing checks.

    job.json rows.jsonl         the settings and the rows
    events.jsonl worker.log     progress, one JSON object a line; the worker's own output
    checkpoints/                resumable states; one is whole when it holds COMPLETE
    adapter/ probes.json        the result; probes.json is written last

Knows nothing of torch; the settings are plain JSON.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.chat.encode import Row
from harness.jsonio import read_json, write_json, write_jsonl
from harness.recipe import LoadedRecipe
from harness.training.order import count_visits
from harness.training.prepare import Prepared, train_key

N_PROBES = 8
COMPLETE = "COMPLETE"
PARENT = "HARNESS_PARENT_PID"
"""Environment variable with the launcher's process id; the worker stops when it is gone."""


class Probe(NamedTuple):
    """A row kept as evidence: its place, and its first turn's tokens."""

    row: int
    n_prompt: int
    n_completion: int
    """Stop token included."""


class JobDir(NamedTuple):
    """The paths of one job."""

    path: Path

    @property
    def job(self) -> Path:
        return self.path / "job.json"

    @property
    def rows(self) -> Path:
        return self.path / "rows.jsonl"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "worker.log"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

    @property
    def probes(self) -> Path:
        return self.path / "probes.json"

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    def finished(self) -> bool:
        """Whether the adapter and its evidence are there."""
        return self.probes.is_file()

    def write(self, loaded: LoadedRecipe, prepared: Prepared) -> None:
        """Put the job down; another job's leftovers in the directory are deleted first."""
        settings = _settings(loaded, prepared)
        if self.job.is_file() and read_json(self.job)["key"] != settings["key"]:
            self.clear()
        if not self.finished():
            write_jsonl(self.rows, ([row.input_ids, row.labels] for row in prepared.rows))
        write_json(self.job, settings)

    def clear(self) -> None:
        """Delete everything of the job."""
        for each in (self.job, self.rows, self.events, self.log, self.probes):
            each.unlink(missing_ok=True)
        for each in (self.checkpoints, self.adapter):
            shutil.rmtree(each, ignore_errors=True)


def select_probes(rows: tuple[Row, ...], stop_ids: tuple[int, ...]) -> list[Probe]:
    """Up to eight rows spread evenly over all."""
    n = min(N_PROBES, len(rows))
    places = [round(i * (len(rows) - 1) / max(1, n - 1)) for i in range(n)]
    return [_probe(index, rows[index], stop_ids) for index in places]


def _probe(index: int, row: Row, stop_ids: tuple[int, ...]) -> Probe:
    trained = row.labels[row.n_prompt :]
    n_completion = next(i for i, each in enumerate(trained, 1) if each in stop_ids)
    return Probe(index, row.n_prompt, n_completion)


def _settings(loaded: LoadedRecipe, prepared: Prepared) -> dict[str, Any]:
    recipe = loaded.recipe
    return {
        "key": train_key(loaded, prepared),
        "base_dir": str(prepared.base_dir.absolute()),
        "dtype": recipe.base.dtype,
        "n_steps": prepared.n_steps,
        "n_visits": count_visits(recipe.train, len(prepared.rows)),
        "data_seed": recipe.data.seed,
        "lora": recipe.lora.model_dump(mode="json"),
        "train": recipe.train.model_dump(mode="json"),
        "probes": select_probes(prepared.rows, prepared.contract.stop_ids),
    }


_DROPPED = ("ACCELERATE_", "FSDP_", "DEEPSPEED_", "WANDB_", "TRL_", "TORCHELASTIC_", "MASTER_")
_DROPPED_EXACTLY = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_SET = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "warning",
    "PYTHONUNBUFFERED": "1",
    # Waiting threads that spin make a step ten times slower where another process has the core.
    "OMP_WAIT_POLICY": "PASSIVE",
}


def worker_environment(outer: Mapping[str, str], threads: int | None) -> dict[str, str]:
    """The worker's environment: offline, silent, one process, one GPU, nothing that would change
    the training behind the recipe's back. `threads` None leaves the number to torch."""
    kept = {
        name: value
        for name, value in outer.items()
        if not name.startswith(_DROPPED) and name not in _DROPPED_EXACTLY
    }
    package_root = str(Path(__file__).parents[2])
    found = [package_root, *filter(None, [outer.get("PYTHONPATH")])]
    kept |= _SET | {"PYTHONPATH": os.pathsep.join(found)}
    kept["CUDA_VISIBLE_DEVICES"] = outer.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    if threads is not None:
        kept["OMP_NUM_THREADS"] = str(threads)
    return kept
