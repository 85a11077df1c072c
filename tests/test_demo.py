"""The demo's story, for real, and the pocket's promises measured on what it left behind."""

from __future__ import annotations

import json
import shutil
import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness import jsonio
from harness.evaluation.calibration.agreement import confusion, quadratic_kappa
from harness.pocket.oracle import score
from harness.pocket.rows import heldout_items, instruction_rows
from harness.pocket.world import TYPES
from tests.docs.pages import Page, pages
from tests.docs.sandbox import Left, Sandbox
from tests.workbench import free_port, harness, healthy, start, wait_for
from tests.workflow import Runner

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("demo")
    done = harness("demo", folder / "files", "--json", home=folder / "home", timeout_s=900)
    assert done.returncode == 0, done.stderr
    assert "The story went as it should" in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def records(summary: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(summary["run_dir"]) / "report.json").read_text())
    return found


def truth(record: dict[str, Any], role: str) -> list[tuple[str, int, int]]:
    """(type, oracle's score, judge's score) of every answer of one side."""
    items = {item["id"]: item for item in record["items"]}
    verdicts = {v["item_id"]: v["score"] for v in record["verdicts"] if v["role"] == role}
    found = []
    for answer in record["generations"]:
        if answer["role"] == role:
            item = items[answer["item_id"]]
            kind = item["tags"]["type"]
            exact = score(kind, item["rubric"], item["reference"], answer["text"])
            found.append((kind, exact, verdicts[answer["item_id"]]))
    return found


def test_one_round_passes_and_the_next_is_blocked_for_its_corrupted_slice(
    story: dict[str, Any],
) -> None:
    first, second = story["rounds"]
    assert story["status"] == "pass"
    assert (first["status"], first["alias"]) == ("pass", "prod")
    assert (second["status"], second["alias"]) == ("fail", None)
    assert second["baseline"] == first["candidate"]
    failed = {rule["slice"] for rule in second["rules"] if rule["status"] == "fail"}
    assert failed - {"overall"} == {"generate"}


def test_tuning_makes_the_pocket_follow_instructions(story: dict[str, Any]) -> None:
    record = records(story["rounds"][0])
    tuned = [exact == 5 for _, exact, _ in truth(record, "candidate")]
    base = [exact == 5 for _, exact, _ in truth(record, "base")]
    assert len(tuned) == len(base) == 280
    assert sum(tuned) / 280 >= 0.85
    assert sum(base) / 280 < 0.05


def test_the_judge_agrees_with_the_oracle(story: dict[str, Any]) -> None:
    cases = [case for each in story["rounds"] for case in truth(records(each), "candidate")]
    kappa = quadratic_kappa(confusion([case[1:] for case in cases], (1, 2, 3, 4, 5)))
    by_type = defaultdict(list)
    for kind, exact, judged in cases:
        by_type[kind].append(exact == judged)
    assert kappa is not None
    assert kappa >= 0.9
    assert sum(exact == judged for _, exact, judged in cases) / len(cases) >= 0.92
    assert set(by_type) == set(TYPES)
    assert {kind: sum(v) / len(v) for kind, v in by_type.items() if sum(v) / len(v) < 0.85} == {}


def test_a_verdict_of_the_constrained_judge_has_an_expected_score(story: dict[str, Any]) -> None:
    verdicts = records(story["rounds"][0])["verdicts"]
    assert all(each["state"] == "scored" for each in verdicts)
    judged = [each for each in verdicts if "by" not in each]
    assert len(judged) > 280
    assert all(abs(each["expected"] - each["score"]) < 1 for each in judged)


def test_the_workflow_of_the_docs_runs_on_what_the_demo_left(
    story: dict[str, Any], tmp_path: Path
) -> None:
    """Its steps as a runner would run them; both rounds are complete, so no model is called."""
    first, second = (Path(each["run_dir"]) for each in story["rounds"])
    home, files = first.parents[1], first.parents[2] / "files"
    runner = Runner(tmp_path / "round", RECIPE=str(files / "round1.yaml"), HARNESS_HOME=str(home))
    for step in ("Data of the pocket", "Baseline", "Round", "Report"):
        done = runner.run("round", step)
        assert done.returncode == 0, done.stderr
    made = (first / "report.md").read_text()
    assert runner.summary_path.read_text() == made
    assert (runner.folder / "run" / "report.junit.xml").is_file()
    assert runner.output_path.read_text() == "run=made\n"

    elsewhere = Runner(tmp_path / "against")
    shutil.copytree(second, elsewhere.folder / "run")
    shutil.copytree(first, elsewhere.folder / "main")
    assert elsewhere.run("against-main", "The decision again").returncode == 1
    done = elsewhere.run("against-main", "Against main")
    assert done.returncode == 1, done.stderr
    assert "generate" in done.stdout
    assert elsewhere.run("against-main", "Report").returncode == 0
    assert elsewhere.summary_path.read_text().startswith("## ❌ Fail")


def test_the_blocked_rounds_failures_name_their_rows_and_become_the_next_data(
    story: dict[str, Any], tmp_path: Path
) -> None:
    """The most blamed rows are corrupted ones. The worklist is refused while it is empty, accepted
    once other rows of the world are in it, and refused again with an item in it."""
    run_dir = Path(story["rounds"][1]["run_dir"])
    home, files = run_dir.parents[1], tmp_path / "files"
    shutil.copytree(home.parent / "files", files)
    path = files / "next.jsonl"
    asked = ("failures", run_dir.name, "--write", path, "--json")
    found = json.loads(harness(*asked, home=home, timeout_s=900).stdout)
    groups = [each for each in found["groups"] if each["slice"] == "generate"]
    assert found["groups"][: len(groups)] == groups
    assert sum(each["n_regressed"] for each in groups) >= 36
    corrupted = [row for _, row in jsonio.read_jsonl(files / "train-corrupted.jsonl")]
    for kind in ("nearest", "blamed"):
        sources = [row["source"] for each in groups for row in each[kind]]
        lines = [int(each.partition(":")[2].partition(" ")[0]) for each in sources]
        assert sources
        assert {corrupted[line - 1]["tags"]["type"] for line in lines} == {"generate"}

    recipe = (files / "round1.yaml").read_text()
    recipe = recipe.replace("{path: train.jsonl}", "{path: train.jsonl}, {path: next.jsonl}")
    (files / "next.yaml").write_text(recipe)
    check = ("check", files / "next.yaml", "--set", "data.overlap=warn", "--json")
    empty = harness(*check, home=home)
    rows = [row for _, row in jsonio.read_jsonl(path)]
    assert empty.returncode == 2
    assert f"next.jsonl:1: not filled in yet: the first of {len(rows)} such" in empty.stdout

    fresh = instruction_rows(1400, 29)
    for row in rows:
        kind = row["worklist"]["slice"]
        place = next(i for i, each in enumerate(fresh) if each["tags"]["type"] == kind)
        row["messages"] = fresh.pop(place)["messages"]
    jsonio.write_jsonl(path, rows)
    filled = harness(*check, home=home)
    assert filled.returncode == 0, filled.stdout
    assert json.loads(filled.stdout)["n_rows"] == 1500 + len(rows)

    leaked = groups[0]["item_ids"][0]
    items = {item["id"]: item for item in records(story["rounds"][1])["items"]}
    rows[1]["messages"][0]["content"] = "Please " + items[leaked]["messages"][0]["content"]
    jsonio.write_jsonl(path, rows)
    refused = harness(*check, home=home)
    assert refused.returncode == 2
    assert f"next.jsonl:2 holds item {leaked} of pocket-demo@" in refused.stdout


class Later(NamedTuple):
    """The demo's store after a third round, with a server that serves it."""

    home: Path
    files: Path
    url: str
    third: dict[str, Any]

    def evaluate(self, *settings: str) -> tuple[int, dict[str, Any]]:
        """Exit code and summary of the third version against the one in production."""
        words = [word for each in settings for word in ("--set", each)]
        done = harness(
            *("eval", self.files / "round1.yaml", "--candidate", self.third["candidate"]),
            *("--endpoint", self.url, "--json", *words),
            home=self.home,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, found


@pytest.fixture(scope="module")
def later(story: dict[str, Any]) -> Iterator[Later]:
    home = Path(story["rounds"][0]["run_dir"]).parents[1]
    files, port = home.parent / "files", free_port()
    url = f"http://127.0.0.1:{port}"
    log_path = home.parent / "serve.log"
    server = start("serve", files / "round1.yaml", "--port", port, home=home, log_path=log_path)
    try:
        wait_for(lambda: healthy(url))
        again = ("round", files / "round1.yaml", "--set", "train.seed=1", "--endpoint", url)
        done = harness(*again, "--json", home=home)
        yield Later(home, files, url, json.loads(done.stdout))
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)


def test_an_equal_candidate_of_another_seed_passes(later: Later, story: dict[str, Any]) -> None:
    third = later.third
    assert third["status"] == "pass"
    assert third["baseline"] == story["rounds"][0]["candidate"]
    assert third["candidate"] != third["baseline"]
    overall = third["slices"][0]["difference"]
    assert 0 < overall["n_identical"] < overall["n_pairs"] == 280


def test_five_items_decide_nothing_and_say_how_many_would(later: Later) -> None:
    folder = evalset(later, heldout_items()[::56])
    code, found = later.evaluate(f"eval.evalset={folder}", "gate.thresholds=[]")
    [rule] = [each for each in found["rules"] if each["rule"] == "non-inferiority"]
    assert (code, found["status"], rule["status"]) == (3, "inconclusive", "inconclusive")
    assert "prompts would pass an equal candidate 8 times in 10: add " in rule["sentence"]


def test_a_judge_that_fails_its_probes_decides_nothing(later: Later) -> None:
    """The base cannot judge."""
    folder = evalset(later, heldout_items()[::8])
    code, found = later.evaluate(f"eval.evalset={folder}", "judge.model=base")
    unfit = [each for each in found["rules"] if each["status"] == "untrusted"]
    assert (code, found["status"]) == (4, "untrusted")
    assert any(each["rule"].startswith("judge ") for each in unfit)


def test_with_two_in_five_answers_missing_nothing_passes(later: Later) -> None:
    too_long = {"max_tokens": 2**20}
    items = [
        {**item, "sampling": too_long} if number % 5 < 2 else item
        for number, item in enumerate(heldout_items()[::2])
    ]
    code, found = later.evaluate(f"eval.evalset={evalset(later, items)}", "gate.thresholds=[]")
    assert (code, found["status"]) == (4, "untrusted")
    sides = found["slices"][0]
    assert sides["candidate"]["n_failed"] == sides["baseline"]["n_failed"] == 56
    assert sides["difference"]["n_missing"] == 56


def evalset(later: Later, items: list[dict[str, Any]]) -> Path:
    """An evalset of these items beside the demo's."""
    folder = later.files / f"evalset-{len(items)}"
    jsonio.write_jsonl(folder / "items.jsonl", items)
    for name in ("card.yaml", "judge.md"):
        jsonio.write_bytes(folder / name, (later.files / "evalset" / name).read_bytes())
    return folder


SHOWN = [page for page in pages() if any(b.is_commands and b.runnable for b in page.blocks)]


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.name)
def test_the_commands_of_the_docs_run(
    story: dict[str, Any], later: Later, tmp_path: Path, page: Page
) -> None:
    """Page by page and in order, with the aliases as the demo left them."""
    first, blocked = story["rounds"]
    left = Left(later.home, later.files, later.url, first, blocked, later.third)
    aliases = (later.home / "aliases.json").read_bytes()
    try:
        assert Sandbox(tmp_path / "here", left).read(page) > 0
    finally:
        jsonio.write_bytes(later.home / "aliases.json", aliases)
