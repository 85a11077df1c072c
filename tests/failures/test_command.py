"""`harness failures` as it is read, on a run with the rows of its training and without."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.blame.asked import regressed
from harness.blame.influence import Influence
from harness.blame.trained import read_trained
from harness.cli.failing import failures
from harness.errors import DataError, HarnessError, Interrupted
from harness.outcome import read_record
from harness.progress import Reporter
from harness.store import Store
from tests.failures.build import make_run
from tests.report.factory import make_hostile_record, make_record
from tests.report.rows import make_rows


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_run(tmp_path / "home")


def test_it_names_the_rows_that_ask_for_the_like(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failures(run_dir.name, no_blame=True, home=run_dir.parents[1], json_=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["no_nearest"], found["worklist"]) == (1, None, None)
    assert found["no_blame"] == "not asked for (--no-blame)"
    nearest = {each["slice"]: each["nearest"][0]["source"] for each in found["groups"]}
    assert nearest == {
        "generate": "tickets.jsonl:1 turn 1",
        "classify": "tickets.jsonl:2 turn 1",
        "extract": "tickets.jsonl:3 turn 1",
    }


@pytest.mark.parametrize("columns", ["80", "120"])
def test_on_a_screen_it_is_compact_and_says_what_to_type(
    run_dir: Path,
    columns: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    failures(str(run_dir), slice_="generate", no_blame=True, home=run_dir.parents[1])
    text = capsys.readouterr().out
    *body, last = text.splitlines()
    assert max(map(len, body)) <= int(columns)
    assert "tickets.jsonl:1  " in text
    assert last.startswith("next")
    assert "--slice generate --write next.jsonl" in last
    failures(
        str(run_dir), write=Path("next.jsonl"), no_blame=True, home=run_dir.parents[1], json_=False
    )
    n_lines = len(Path("next.jsonl").read_text().splitlines())
    assert f"fill in the {n_lines} lines of next.jsonl" in capsys.readouterr().out


def test_a_quiet_one_says_what_was_found_and_nothing_else(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failures(str(run_dir), no_blame=True, home=run_dir.parents[1], quiet=True)
    told = capsys.readouterr()
    assert "tickets.jsonl:1 " in told.out
    assert "next.jsonl" not in told.out
    assert told.err == ""


def test_a_file_that_exists_is_refused_before_anything_is_measured(run_dir: Path) -> None:
    Path("next.jsonl").write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        failures(str(run_dir), write=Path("next.jsonl"), home=run_dir.parents[1])


def test_without_the_trainings_rows_it_says_so_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = make_run(tmp_path, rows=False)
    path = tmp_path / "next.jsonl"
    failures(str(run_dir), write=path, home=tmp_path)
    text = " ".join(capsys.readouterr().out.split())
    assert "no nearest rows: support-bot@3f9c12ab34cd: its training's directory in" in text
    assert "no blamed rows: " in text
    assert "1 generate: " in text
    assert path.is_file()


def measured(run_dir: Path, store: Store, reporter: Reporter) -> Influence:
    """The second row is to blame for every item that regressed, the first for half as much."""
    record = read_record(run_dir)
    items = tuple(each.item.id for each in regressed(record))
    weights = np.array([[1.0], [2.0], [0.0], [-1.0]], np.float32)
    products = weights @ np.ones((1, len(items)), np.float32)
    losses = np.zeros(4, np.float32)
    rows = read_trained(store, record.manifest)
    return Influence(rows, items, products, losses, "base", "as nothing else is left", exact=True)


def test_the_most_blamed_rows_stand_beside_the_nearest(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only rows with blame; what a measurement is stands in tests/blame."""
    monkeypatch.setattr("harness.blame.measure.measure", measured)
    failures(str(run_dir), home=run_dir.parents[1], json_=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["no_blame"], found["blamed_at"]) == (None, "base, as nothing else is left")
    for group in found["groups"]:
        sources = [each["source"] for each in group["blamed"]]
        wanted = ["tickets.jsonl:2 turn 1", "tickets.jsonl:1 turn 1"]
        assert sources == (wanted if group["n_regressed"] else [])
    monkeypatch.setenv("COLUMNS", "120")
    failures(str(run_dir), home=run_dir.parents[1])
    text = capsys.readouterr().out
    assert "refund ◂ Which team should take this ticket?" in text
    assert "blamed: × the mean of all rows; measured at base, as nothing else is left" in text


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "package torch is not inst"),
        (HarnessError("the base is gone", hint="put it back"), "the base is gone; put it back"),
        (OSError(28, "No space left on device", "/full"), "/full: No space left on device"),
    ],
)
def test_why_there_is_no_blame_is_said_in_one_line(
    run_dir: Path,
    fault: Exception,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*args: object) -> None:
        raise fault

    monkeypatch.setattr("harness.blame.measure.measure", fail)
    failures(str(run_dir), home=run_dir.parents[1], json_=True)
    found = json.loads(capsys.readouterr().out)
    assert why in found["no_blame"]
    assert found["groups"][0]["nearest"]


def test_an_interruption_stops_it(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: object) -> None:
        raise Interrupted("stopped")

    monkeypatch.setattr("harness.blame.measure.measure", stop)
    with pytest.raises(Interrupted):
        failures(str(run_dir), home=run_dir.parents[1], write=Path("next.jsonl"))
    assert not Path("next.jsonl").exists()


def test_where_nothing_regressed_there_is_nothing_to_blame_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [each for each in make_rows() if each.scores["baseline"] == each.scores["candidate"]]
    run_dir = make_run(tmp_path, make_record(rows))
    failures(str(run_dir), home=tmp_path)
    assert "no blamed rows: no item regressed" in capsys.readouterr().out


def test_where_nothing_failed_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [each for each in make_rows() if each.scores["candidate"] == 5]
    run_dir = make_run(tmp_path, make_record(rows), rows=False)
    failures(str(run_dir), write=tmp_path / "next.jsonl", home=tmp_path)
    assert "nothing failed, so no worklist is written" in capsys.readouterr().out
    assert not (tmp_path / "next.jsonl").exists()


def test_hostile_text_does_not_reach_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = make_hostile_record("\x1b[31m\u202e [bold]x[/bold] \x07")
    run_dir = make_run(tmp_path, record, rows=False)
    for as_json in (False, True):
        failures(str(run_dir), home=tmp_path, json_=as_json, no_blame=True)
        text = capsys.readouterr().out
        assert not {"\x1b", "\u202e", "\x07"} & set(text)
    assert "[bold]x" in text
