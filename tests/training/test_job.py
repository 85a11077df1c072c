"""A job's directory: what is written, kept, sealed and cleared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.jsonio import read_json, write_json
from harness.training.job import COMPLETE, JobDir
from harness.training.prepare import Prepared, prepare
from tests.training.recipes import chats, make_recipe, write_rows


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    write_rows(tmp_path / "rows.jsonl", chats(4))
    return prepare(make_recipe(tmp_path))


def written(root: Path, prepared: Prepared, **sections: Any) -> JobDir:
    job = JobDir(root / "job")
    job.path.mkdir(exist_ok=True)
    job.write(make_recipe(root, **sections), prepared)
    return job


def test_every_row_is_a_line_with_its_source(tmp_path: Path, prepared: Prepared) -> None:
    job = written(tmp_path, prepared)
    lines = [json.loads(line) for line in job.rows.read_text().splitlines()]
    assert len(lines) == len(prepared.rows)
    for line, row in zip(lines, prepared.rows, strict=True):
        assert line == {
            "input_ids": list(row.input_ids),
            "labels": list(row.labels),
            "n_prompt": row.n_prompt,
            "source": row.source,
        }


def test_second_answers_and_opinions_are_kept(tmp_path: Path, prepared: Prepared) -> None:
    first, second, *_ = prepared.rows
    both: Any = [first._replace(rejected=(5, 6)), second._replace(desirable=False)]
    job = written(tmp_path, prepared._replace(rows=both))
    pair, opinion = (json.loads(line) for line in job.rows.read_text().splitlines())
    assert pair["rejected"] == [5, 6]
    assert "desirable" not in pair
    assert opinion["desirable"] is False
    assert "rejected" not in opinion


def test_settings_are_read_as_they_were_written_or_not_at_all(
    tmp_path: Path, prepared: Prepared
) -> None:
    assert JobDir(tmp_path / "none").read() is None
    job = written(tmp_path, prepared)
    stored = job.read()
    assert stored
    assert stored["n_steps"] == prepared.n_steps
    assert stored["made_from"]["train"]["lr"] == stored["train"]["lr"] == 2e-3
    for damage in ("{", "[]", "{}", job.job.read_text().replace("0.002", "0.003", 1)):
        job.job.write_text(damage)
        assert job.read() is None


def test_damaged_rows_of_a_job_without_checkpoints_are_written_again(
    tmp_path: Path, prepared: Prepared
) -> None:
    job = written(tmp_path, prepared)
    whole = job.rows.read_bytes()
    job.rows.write_bytes(whole[:-9])
    job.table.touch()
    written(tmp_path, prepared)
    assert job.rows.read_bytes() == whole
    assert not job.table.exists(), "the table of the damaged rows is of no use"


def test_a_finished_job_is_left_as_it_is(tmp_path: Path, prepared: Prepared) -> None:
    job = written(tmp_path, prepared)
    write_json(job.probes, [])
    settings = read_json(job.job)
    written(tmp_path, prepared, train={"save_every": 1})
    assert read_json(job.job) == settings


def test_another_job_s_leftovers_are_deleted(tmp_path: Path, prepared: Prepared) -> None:
    job = written(tmp_path, prepared)
    write_json(job.probes, [])
    for each in (job.error, job.events, job.log, job.table):
        each.touch()
    (job.checkpoints / "checkpoint-2").mkdir(parents=True)
    written(tmp_path, prepared, train={"lr": 1e-3})
    assert sorted(each.name for each in job.path.iterdir()) == ["job.json", "rows.jsonl"]


def test_only_whole_checkpoints_count(tmp_path: Path) -> None:
    job = JobDir(tmp_path)
    for step in (4, 10, 12):
        (job.checkpoints / f"checkpoint-{step}").mkdir(parents=True)
    for step in (10, 4):
        (job.checkpoints / f"checkpoint-{step}" / COMPLETE).touch()
    assert job.saved_steps() == [4, 10]
