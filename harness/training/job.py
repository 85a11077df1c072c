"""A training job's directory: what the launcher writes, the worker reads and publishing checks.

    job.json rows.jsonl         the settings, sealed with a digest, and the rows
    rows.arrow                  the rows as the worker maps them into memory
    events.jsonl worker.log     progress, one JSON object a line; the worker's own output
    error.json                  why the worker refused the recipe, or what it died of
    checkpoints/                resumable states; one is whole when it holds COMPLETE
    trackers/                   what compute.report_to names writes
    adapter/ probes.json        the result; probes.json is written last

Knows nothing of torch; the settings are plain JSON.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.chat.encode import Row
from harness.errors import DataError
from harness.jsonio import digest, file_digest, read_json, write_json, write_jsonl
from harness.recipe import LoadedRecipe
from harness.training.order import count_visits
from harness.training.prepare import Prepared, ingredients, train_key

N_PROBES = 8
COMPLETE = "COMPLETE"


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
    def table(self) -> Path:
        return self.path / "rows.arrow"

    @property
    def error(self) -> Path:
        return self.path / "error.json"

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
    def trackers(self) -> Path:
        return self.path / "trackers"

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

    @property
    def probes(self) -> Path:
        return self.path / "probes.json"

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    @property
    def workers(self) -> Path:
        """Locked, shared, by every training process as long as it lives."""
        return self.path / ".workers"

    def finished(self) -> bool:
        """Whether the adapter and its evidence are there."""
        return self.probes.is_file()

    def saved_steps(self) -> list[int]:
        """Steps of the whole checkpoints, in order."""
        marks = self.checkpoints.glob(f"checkpoint-*/{COMPLETE}")
        return sorted(int(each.parent.name.removeprefix("checkpoint-")) for each in marks)

    def write(self, loaded: LoadedRecipe, prepared: Prepared) -> None:
        """Put the job down; another job's leftovers in the directory are deleted first."""
        stored = self.read() or {}
        key = train_key(loaded, prepared)
        if stored.get("key") != key:
            self.clear()
        if self.finished():
            return
        rows = stored.get("rows")
        if not self.holds_rows(rows):
            for half in (self.table, *self.path.glob(f".{self.rows.name}.*")):
                half.unlink(missing_ok=True)
            rows = write_jsonl(self.rows, map(_line, prepared.rows))
        settings = {"key": key, "rows": rows} | _settings(loaded, prepared)
        write_json(self.job, settings | {"seal": digest(settings)})

    def read(self) -> dict[str, Any] | None:
        """The settings; None where there are none, or they are not as they were written."""
        try:
            settings = read_json(self.job)
        except (FileNotFoundError, DataError):
            return None
        seal = settings.pop("seal", None) if isinstance(settings, dict) else None
        return settings if seal == digest(settings) else None

    def holds_rows(self, sha256: str | None) -> bool:
        """Whether the rows are those of this digest."""
        return self.rows.is_file() and file_digest(self.rows) == sha256

    def tidy(self) -> None:
        """Delete what a published training needs no more: the checkpoints are three times the
        adapter each. The rows, the settings, the events and the result stay."""
        self.table.unlink(missing_ok=True)
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def clear(self) -> None:
        """Delete everything of the job."""
        told = (self.events, self.log, self.error)
        for each in (self.probes, *told, self.table, self.rows, self.job):
            each.unlink(missing_ok=True)
        for folder in (self.checkpoints, self.trackers, self.adapter):
            shutil.rmtree(folder, ignore_errors=True)


def _line(row: Row) -> dict[str, Any]:
    line: dict[str, Any] = {
        "input_ids": row.input_ids,
        "labels": row.labels,
        "n_prompt": row.n_prompt,
        "source": row.source,
    }
    if row.rejected:
        line["rejected"] = row.rejected
    if row.desirable is not None:
        line["desirable"] = row.desirable
    return line


def launched_by(loaded: LoadedRecipe) -> dict[str, Any]:
    """What the checkpoints depend on, though the weights should not: who shares the work."""
    config = loaded.recipe.compute.accelerate_config
    return {
        "processes": loaded.recipe.compute.processes,
        "accelerate_config": config and file_digest(loaded.locate(config)),
    }


def select_probes(rows: Sequence[Row], stop_ids: tuple[int, ...]) -> list[Probe]:
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
    parent_dir = prepared.parent_dir
    return {
        "made_from": ingredients(loaded, prepared),
        "base_dir": str(prepared.base_dir.absolute()),
        "parent_dir": parent_dir and str(parent_dir.absolute()),
        "dtype": recipe.base.dtype,
        "quantize": recipe.base.quantize,
        "n_steps": prepared.n_steps,
        "n_visits": count_visits(recipe.train, len(prepared.rows)),
        "data_seed": recipe.data.seed,
        "lora": recipe.lora.model_dump(mode="json"),
        "train": recipe.train.model_dump(mode="json"),
        **launched_by(loaded),
        "report_to": list(recipe.compute.report_to),
        "probes": select_probes(prepared.rows, prepared.contract.stop_ids),
    }
