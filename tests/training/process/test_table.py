"""The rows in the worker are those of the launcher, column by column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.jsonio import write_jsonl
from harness.training.job import JobDir
from harness.training.process.table import lengths, open_rows
from tests.training.process.jobs import make_rows


def table_of(path: Path, rows: list[dict[str, Any]]) -> Any:
    write_jsonl(JobDir(path).rows, rows)
    return open_rows(JobDir(path))


@pytest.mark.parametrize("objective", ["sft", "dpo", "kto"])
def test_every_row_as_it_was_written(
    tmp_path: Path, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.training.process.table._BLOCK", 4096)
    rows = make_rows(objective, 300)
    table = table_of(tmp_path, rows)
    assert len(table.data.table["input_ids"].chunks) > 10
    for name in rows[0]:
        assert list(table[name]) == [row[name] for row in rows]
    assert lengths(table) == [
        max(len(row["input_ids"]), row["n_prompt"] + len(row.get("rejected", []))) for row in rows
    ]
    if objective == "sft":
        assert "prompt_ids" not in table.column_names
        return
    for got, row in zip(table, rows, strict=True):
        assert got["prompt_ids"] == row["input_ids"][: row["n_prompt"]]
        assert got["completion_ids"] == row["input_ids"][row["n_prompt"] :]


def test_the_table_is_made_once(tmp_path: Path) -> None:
    table_of(tmp_path, make_rows("sft"))
    made = JobDir(tmp_path).table.stat().st_ino
    open_rows(JobDir(tmp_path))
    assert JobDir(tmp_path).table.stat().st_ino == made


def test_a_row_longer_than_a_read_buffer(tmp_path: Path) -> None:
    ids = list(range(400_000))
    row = {"input_ids": ids, "labels": ids, "n_prompt": 1, "source": "rows.jsonl:1 turn 1"}
    assert table_of(tmp_path, [row])[0]["input_ids"] == ids
