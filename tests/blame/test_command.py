"""`harness blame` as it is typed, and as it is printed."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from harness.blame.influence import Influence
from harness.blame.told import CANNOT_SHOW, page, told
from harness.blame.trained import TrainedRow
from harness.outcome import read_record
from harness.store import Store
from tests.blame.conftest import N_ROWS, Home
from tests.blame.faults import SHARE, SHIFTED, WORD, WORDED, answer, plant, question
from tests.workbench import harness, harness_json


@pytest.fixture(scope="module")
def printed(made: Home) -> str:
    """With the store's other measurements: nothing is computed twice."""
    done = harness("blame", "run", "--top", 3, home=made.store.home)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_table_says_what_it_shows_and_what_it_cannot(made: Home, printed: str) -> None:
    assert f"rows of {made.candidate.version} blamed for 3 items" in printed
    assert f"worse than {made.baseline.version}: {made.items[2].id} (−4)" in printed
    assert f"gradients at {made.baseline.version} (the baseline" in printed
    assert "exact, for 3 items asked" in printed
    assert CANNOT_SHOW in printed.replace("\n", " ")
    assert "of all blame (spread evenly: 10.0%)" in printed
    assert "failures run --write next.jsonl" in printed
    assert [line.split()[0] for line in printed.splitlines() if "train.jsonl:" in line] == [
        "1", "2", "3",
    ]  # fmt: skip


def test_json_has_the_rows_that_were_asked_for(made: Home, printed: str) -> None:
    value = harness_json("blame", "run", "--top", N_ROWS, home=made.store.home)
    assert (value["schema"], value["run"], value["n_rows"]) == (1, "run", N_ROWS)
    assert (value["point"], value["exact"]) == (made.baseline.version, True)
    assert [each["item_id"] for each in value["items"]] == [made.items[n].id for n in (2, 0, 5)]
    assert sorted(row["place"] for row in value["rows"]) == list(range(N_ROWS))
    scores = [row["score"] for row in value["rows"]]
    assert scores == sorted(scores, reverse=True)
    assert 0.1 < value["top_share"] <= 1
    rows = plant(N_ROWS, 1).rows
    first = value["rows"][0]
    assert (first["prompt"], first["answer"]) == (
        question(rows[first["place"]]), answer(rows[first["place"]]),
    )  # fmt: skip
    one = harness_json("blame", "run", "--item", made.items[0].id, home=made.store.home)
    assert [each["item_id"] for each in one["items"]] == [made.items[0].id]
    assert len(one["rows"]) == 20


def test_a_single_item_is_said_to_be_less_sure(made: Home, printed: str) -> None:
    done = harness(
        "blame", "run", "-q", "--slice", made.items[2].tags["type"], home=made.store.home
    )
    assert "single items are blamed less surely" in done.stdout
    assert done.stderr == ""


def test_nothing_regressed_is_an_answer(made: Home, tmp_path: Path) -> None:
    shutil.copytree(made.store.home, tmp_path / "store")
    home = made._replace(store=Store(tmp_path / "store"))
    home.run("fine", made.baseline.version, [5] * 7)
    done = harness("blame", "fine", home=home.store.home)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert "there is no regression to blame rows for" in done.stdout
    value = harness_json("blame", "fine", home=home.store.home)
    assert (value["point"], value["items"], value["rows"]) == (None, [], [])


def test_a_question_about_what_is_not_there_is_refused(made: Home) -> None:
    done = harness("blame", "run", "--slice", "resaon", "--json", home=made.store.home)
    assert done.returncode == 2
    assert "did you mean 'reason'" in json.loads(done.stdout)["error"]
    done = harness("blame", "rnu", home=made.store.home)
    assert (done.returncode, "did you mean 'run'" in done.stderr) == (2, True)


def test_hostile_rows_do_not_reach_the_terminal(made: Home) -> None:
    """The row's words are printed through the same filter as everything else."""
    hostile = TrainedRow(0, "a\x1b[2J.jsonl:1 turn 1", "[red]\x1b]0;x\x07", "\u202eevil\r\n")
    ids = (made.items[0].id,)
    found = Influence([hostile], ids, np.ones((1, 1), "f4"), np.ones(1, "f4"), "p", "there", True)
    out = io.StringIO()
    Console(file=out, width=120).print(page(told(read_record(made.run_dir), found, ids, 1), "t"))
    assert not {"\x1b", "\x07", "\u202e", "\r"} & set(out.getvalue())
    assert "[red]" in out.getvalue()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_planted_rows_are_those_that_are_wrong(seed: int) -> None:
    clean, both = plant(1500, seed), plant(1500, seed, ("word", "shift"))
    changed = [
        n for n, pair in enumerate(zip(clean.rows, both.rows, strict=True)) if pair[0] != pair[1]
    ]
    assert set(changed) <= {*both.word, *both.shift}
    assert len(changed) >= 0.95 * (len(both.word) + len(both.shift))
    assert all(WORD in question(both.rows[n]) for n in both.word)
    kinds = [row["tags"]["type"] for row in both.rows]
    assert {kinds[n] for n in both.word} == {WORDED}
    assert {kinds[n] for n in both.shift} == {SHIFTED}
    assert len(both.shift) == round(SHARE * 1500)
    assert 0.04 < len(both.word) / 1500 < 0.07
    assert kinds == sorted(kinds)
