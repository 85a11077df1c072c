"""One round's directory: its file names and which stages are complete.

A stage is complete when `<stage>.done.json` exists; it is written last and holds the digest of
what the stage was made from, so a stage made from something else counts as not done. Knows nothing
of what the stages do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from harness.errors import DataError
from harness.jsonio import locked, read_json, read_jsonl, write_json, write_jsonl
from harness.types import SCHEMA, Record

R = TypeVar("R", bound=Record)


class Run:
    """Paths and completeness of one round."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.recipe_path = run_dir / "recipe.yaml"
        self.items_path = run_dir / "items.jsonl"
        self.generations_path = run_dir / "generations.jsonl"
        self.verdicts_path = run_dir / "verdicts.jsonl"
        self.measures_path = run_dir / "measures.jsonl"
        self.preferences_path = run_dir / "preferences.jsonl"
        self.health_path = run_dir / "health.json"
        self.spending_path = run_dir / "spending.json"
        self.looks_path = run_dir / "looks.json"
        self.comparison_path = run_dir / "comparison.json"
        self.decision_path = run_dir / "decision.json"
        self.data_path = run_dir / "data.json"
        self.adapter_path = run_dir / "adapter.json"
        self.probe_path = run_dir / "probe.json"
        self.refused_path = run_dir / "refused.json"
        self.environment_path = run_dir / "env.json"
        self.server_log_path = run_dir / "server.log"

    @property
    def run_id(self) -> str:
        return self.run_dir.name

    def report_path(self, suffix: str) -> Path:
        """report.html, report.md, report.junit.xml or report.json."""
        return self.run_dir / f"report.{suffix}"

    @contextlib.contextmanager
    def held(self, tell: Callable[[str], object]) -> Iterator[None]:
        """For the block no other process asks or judges for this run: answers of one would stand
        beside verdicts of the other. `tell` hears where that has to be waited for."""
        waiting = f"  another process works on {self.run_id}: waiting for it to end"
        with locked(self.run_dir / ".lock", lambda: tell(waiting)):
            yield

    def done(self, stage: str, made_from: str) -> bool:
        """Whether the stage is complete, made from the same inputs."""
        try:
            value = read_json(self.run_dir / f"{stage}.done.json")
        except (FileNotFoundError, DataError):
            return False
        return isinstance(value, dict) and value.get("made_from") == made_from

    def finish(self, stage: str, made_from: str) -> None:
        """Mark a stage complete; call after all its files are written."""
        value = {"schema": SCHEMA, "made_from": made_from}
        write_json(self.run_dir / f"{stage}.done.json", value)


def is_run(path: Path) -> bool:
    """Whether a folder has any of a run's own files, finished or not."""
    run = Run(path)
    own = (run.report_path("json"), run.recipe_path, run.decision_path, run.generations_path)
    return any(each.is_file() for each in own)


def write_records(path: Path, records: Iterable[Record]) -> None:
    """One record a line, replaced atomically."""
    write_jsonl(path, (record.dump() for record in records))


def read_records(path: Path, kind: type[R]) -> Sequence[R]:
    """The records of a file that `write_records` wrote."""
    return [kind.model_validate(value) for _, value in read_jsonl(path)]
