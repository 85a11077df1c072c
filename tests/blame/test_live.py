"""A round on rows with two faults at once: blame tells apart which rows taught which.

One fault alone would not show that the question matters: whatever finds odd rows finds its rows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.jsonio import write_jsonl
from tests.blame.faults import SHIFTED, WORDED, Planted, plant
from tests.workbench import harness, harness_json, write_recipe

pytestmark = pytest.mark.vllm
N_ROWS, STEPS = 1200, 120
TRAIN = {
    "max_steps": STEPS, "batch": 32, "lr": 4e-3, "schedule": "linear", "warmup_steps": 10,
}  # fmt: skip


class Finished(NamedTuple):
    """A clean version in production, and a round on the faulty rows after it."""

    home: Path
    planted: Planted
    run_dir: Path
    clean: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("faults")
    home, planted = folder / "home", plant(N_ROWS, 0, ("word", "shift"))
    recipe = write_recipe(
        folder, n_items=280, train=TRAIN, gate={"baseline": "prod", "margin": 0.2, "looks": 1}
    )
    write_jsonl(folder / "train.jsonl", plant(N_ROWS, 0).rows)
    clean = harness_json("train", recipe, home=home)["version"]
    harness_json("promote", clean, "--alias", "prod", "--override", "first", home=home)
    write_jsonl(folder / "train.jsonl", planted.rows)
    done = harness("round", recipe, "--json", home=home, timeout_s=600)
    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout)
    assert summary["baseline"] == clean
    return Finished(home, planted, Path(summary["run_dir"]), clean)


def blamed(finished: Finished, slice_: str) -> dict[str, Any]:
    tenth = N_ROWS // 10
    found: dict[str, Any] = harness_json(
        "blame", finished.run_dir, "--slice", slice_, "--top", tenth, home=finished.home
    )
    assert found["point"] == finished.clean
    assert found["exact"]
    assert len(found["rows"]) == tenth
    assert len(found["items"]) >= 8
    return found


@pytest.mark.parametrize(("slice_", "fault"), [(WORDED, "word"), (SHIFTED, "shift")])
def test_the_rows_of_the_fault_that_is_asked_about_come_first(
    finished: Finished, slice_: str, fault: str
) -> None:
    """At least 80 % of them are in the top tenth, and of the first rows few are of the other."""
    rows = blamed(finished, slice_)["rows"]
    mine, other = set(getattr(finished.planted, fault)), set(finished.planted.word)
    other = (other | set(finished.planted.shift)) - mine
    places = [row["place"] for row in rows]
    assert len(mine & set(places)) >= 0.8 * len(mine)
    first = set(places[: len(mine)])
    assert len(first & mine) > 2 * len(first & other)
