"""Whole sweeps: what is refused before anything is spent, and on the pocket with the real trainer,
server and judge, interrupted, resumed and repeated."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rich.console import Console

from harness import jsonio
from harness.cli.app import now
from harness.errors import HarnessError
from harness.progress import Reporter
from harness.recipe import load
from harness.store import Store
from harness.sweep.ranking import SweepRecord
from harness.sweep.session import RECORD, sweep
from tests.workbench import (
    harness,
    harness_json,
    interrupt,
    processes_naming,
    start,
    wait_for,
    write_recipe,
)

GRID = ("--grid", "lora.r=4,8", "train.lr=1e-3,4e-3")
NAMES = ["bot-r4-lr1e-3", "bot-r4-lr4e-3", "bot-r8-lr1e-3", "bot-r8-lr4e-3"]
N_ITEMS, N_STEPS = 56, 16


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["data.max_length=256,20"], "longer than 20 tokens"),
        (["lora.r=4,8", "lora.targets=[q_proj],[q_prj]"], "'q_prj'"),
        (["lora.r=4", "data.overflow=error,drop"], "bot-overflow-drop-r4 would train the same"),
        (["lora.init_from=null,nobody"], "lora.init_from: no alias 'nobody'"),
    ],
)
def test_every_point_is_checked_before_any_is_trained(
    tmp_path: Path, grid: list[str], message: str
) -> None:
    recipe, home = write_recipe(tmp_path, n_rows=28, n_items=7), tmp_path / "home"
    with pytest.raises(HarnessError) as caught, Reporter(Console(file=io.StringIO())) as reporter:
        sweep(recipe, (), grid, Store(home), reporter, clock=now)
    assert message in str(caught.value)
    assert not home.exists()


def test_what_one_objective_cannot_use_is_found_at_every_point(tmp_path: Path) -> None:
    pairs = [
        {"prompt": f"How many hats has {i}?", "chosen": f"{i} hats.", "rejected": "None."}
        for i in range(16)
    ]
    jsonio.write_jsonl(tmp_path / "pairs.jsonl", pairs)
    data = {"sources": [{"path": "pairs.jsonl"}]}
    recipe = write_recipe(tmp_path, n_items=7, data=data, train={"objective": "dpo"})
    store, reporter = Store(tmp_path / "home"), Reporter(Console(file=io.StringIO()))
    with pytest.raises(HarnessError, match=r"dropout = 0\.1: dpo"), reporter:
        sweep(recipe, (), ["lora.dropout=0,0.1"], store, reporter, clock=now)


def test_the_command_takes_the_grid_as_words(tmp_path: Path) -> None:
    recipe, home = write_recipe(tmp_path, n_rows=28, n_items=7), tmp_path / "home"
    done = harness("sweep", recipe, "--grid", "lora.r=4,8", "train.lrr=1,2", "--json", home=home)
    assert done.returncode == 2
    assert "--grid train.lrr: unknown key of train; did you mean 'lr'?" in done.stdout
    done = harness("sweep", recipe, home=home)
    assert done.returncode == 2
    assert "--grid" in done.stderr


def test_points_that_all_fail_are_an_error_with_the_reason(tmp_path: Path) -> None:
    recipe, home = write_recipe(tmp_path, n_rows=28, n_items=7), tmp_path / "home"
    done = harness("sweep", recipe, "--grid", "train.extra.optim=nonsense", home=home)
    assert done.returncode in (2, 4)
    assert "nonsense" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / "runs").exists()


class Finished(NamedTuple):
    """A sweep that was interrupted in its second training and then ran to its end."""

    recipe: Path
    home: Path
    interrupted: tuple[int, str, list[str]]
    """Exit code, standard error, and the versions there were."""
    summary: dict[str, Any]

    @property
    def run_dir(self) -> Path:
        return Path(self.summary["run_dir"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("sweep")
    training = {"max_steps": N_STEPS, "batch": 16, "schedule": "constant", "save_every": 2}
    recipe, home = write_recipe(folder, n_items=N_ITEMS, train=training), folder / "home"
    process = start("sweep", recipe, *GRID, home=home)
    wait_for(lambda: any(home.glob(f"training/{NAMES[1]}-*/**/COMPLETE")))
    code, stderr = interrupt(process)
    there = Store(home).versions()
    assert processes_naming(str(home)) == []
    return Finished(
        recipe, home, (code, stderr, there), harness_json("sweep", recipe, *GRID, home=home)
    )


@pytest.mark.vllm
def test_an_interrupted_sweep_goes_on(finished: Finished) -> None:
    code, stderr, there = finished.interrupted
    assert code == 130, stderr
    assert "run the same command to go on" in stderr
    assert "Traceback" not in stderr
    assert [each.partition("@")[0] for each in there] == NAMES[:1]
    counts = finished.summary["counts"]
    assert 2 * N_STEPS <= counts["trained_steps"] < 3 * N_STEPS
    assert counts["generated"] == 5 * N_ITEMS


@pytest.mark.vllm
def test_every_point_is_a_version_and_ranked(finished: Finished) -> None:
    summary = finished.summary
    versions = {each["version"] for each in summary["points"]}
    assert versions <= set(Store(finished.home).versions())
    attempts = Store(finished.home).attempts.read().attempts
    assert sorted(each.candidate for each in attempts) == sorted(versions)
    page = (finished.home / "runs" / "index.html").read_text()
    assert all(each in page for each in versions)
    assert "ranked in a sweep" in page
    assert sorted(each["name"] for each in summary["points"]) == NAMES
    means = [each["comparison"]["overall"]["candidate"]["mean"] for each in summary["points"]]
    assert means == sorted(means, reverse=True)
    assert means[0] > means[-1]
    assert summary["points"][0]["values"]["train.lr"] == 4e-3
    for point in summary["points"]:
        side = point["comparison"]["overall"]["candidate"]
        assert side["n_items"] == side["n_scored"] + side["n_unscored"] == N_ITEMS
        assert point["comparison"]["candidate"] == point["version"]
        assert point["comparison"]["baseline"] == summary["baseline"] == "pocket"
    assert Store(finished.home).aliases() == {}


@pytest.mark.vllm
def test_the_same_sweep_again_trains_and_asks_nothing(finished: Finished) -> None:
    path = finished.run_dir / RECORD
    before = path.read_bytes()
    path.unlink()
    again = harness("sweep", finished.recipe, "--grid", " ".join(GRID[1:]), home=finished.home)
    assert again.returncode == 0, again.stderr
    assert path.read_bytes() == before
    assert "complete in this run" in again.stderr
    assert NAMES[3] in again.stdout
    summary = harness_json("sweep", finished.recipe, *GRID, home=finished.home)
    counts = summary.pop("counts")
    assert (counts["trained_steps"], counts["generated"], counts["judged"]) == (0, 0, 0)
    assert summary == {key: each for key, each in finished.summary.items() if key != "counts"}
    assert SweepRecord.model_validate(json.loads(before)).points[0].rank == 1


@pytest.mark.vllm
def test_the_next_command_finds_the_trained_version(finished: Finished) -> None:
    first = finished.summary["points"][0]
    words = finished.summary["next"].split()
    settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    assert load(finished.recipe, settings).recipe.name == first["name"]
    assert "--promote" not in words, "the points were ranked on the gate's own items"
    sets = [word for each in settings for word in ("--set", each)]
    trained = harness_json("train", finished.recipe, *sets, home=finished.home)
    assert trained == {"version": first["version"], "trained_steps": 0}


@pytest.mark.vllm
def test_a_point_that_the_probe_refuses_has_no_rank_and_the_others_go_on(
    finished: Finished,
) -> None:
    """A learning rate that moves nothing gives an adapter that does nothing."""
    grid = ("--grid", "lora.r=8", "train.lr=4e-3,1e-10")
    for n_new in (1, 0):
        done = harness("sweep", finished.recipe, *grid, "--json", home=finished.home)
        assert done.returncode == 4, done.stderr
        summary = json.loads(done.stdout)
        good, silent = summary["points"]
        assert (good["name"], good["state"], good["rank"]) == (NAMES[3], "ranked", 1)
        assert (silent["state"], silent["rank"]) == ("untrusted", None)
        assert "the adapter changes nothing" in silent["reason"]
        assert summary["problems"] == [silent["reason"]]
        assert summary["counts"]["trained_steps"] == n_new * N_STEPS
        assert summary["counts"]["generated"] == 0
