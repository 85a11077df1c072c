"""Whole rounds on the pocket with the real trainer, the real vLLM and the real judge.

One round is run once for the module; the others start from copies of its store, so nothing is
trained twice that need not be.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from harness.jsonio import file_digest, write_jsonl
from harness.pocket import JUDGE_DIR
from harness.pocket.rows import heldout_items, instruction_rows
from harness.store import PUBLISHED, Replica, Store, read_manifest, version_id
from harness.types import JudgeHealth, Manifest, Verdict
from tests.workbench import (
    harness,
    harness_json,
    healthy,
    interrupt,
    processes_naming,
    start,
    wait_for,
    write_recipe,
)

pytestmark = pytest.mark.vllm
NOTHING = {"trained_steps": 0, "generated": 0, "judged": 0}
PAGES = ("html", "md", "junit.xml", "json")


class Finished(NamedTuple):
    """A round that ran to its end."""

    recipe: Path
    home: Path
    summary: dict[str, Any]

    @property
    def run_dir(self) -> Path:
        return Path(self.summary["run_dir"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("round")
    recipe, home = write_recipe(folder), folder / "home"
    return Finished(recipe, home, harness_json("round", recipe, "--promote", home=home))


@pytest.fixture
def copied(finished: Finished, tmp_path: Path) -> Path:
    """The finished round's store without its run and cache: trained, not yet evaluated."""
    home = tmp_path / "store"
    shutil.copytree(finished.home, home)
    shutil.rmtree(home / "runs")
    for path in home.glob("cache.sqlite*"):
        path.unlink()
    for name in ("aliases.json", "aliases.log.jsonl"):
        (home / name).unlink()
    return home


def n_cached(home: Path) -> int:
    path = home / "cache.sqlite"
    if not path.exists():
        return 0
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        try:
            return int(connection.execute("SELECT COUNT(*) FROM cache").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def test_a_round_passes_and_its_version_becomes_prod(finished: Finished) -> None:
    summary = finished.summary
    assert summary["status"] == "pass"
    assert summary["alias"] == "prod"
    assert summary["baseline"] == "pocket"
    assert Store(finished.home).aliases() == {"prod": summary["candidate"]}
    index = (finished.home / "runs" / "index.html").read_text()
    assert f'href="./{finished.run_dir.name}/report.html"' in index
    assert '<span class="took">→ prod</span>' in index
    assert summary["counts"]["trained_steps"] == 40
    assert summary["counts"]["generated"] == 2 * 56
    assert 0 < summary["counts"]["judged"] <= 2 * 56 + 80  # and the judge's probes
    overall = summary["slices"][0]
    assert overall["candidate"]["mean"] > overall["base"]["mean"] + 1
    for part in summary["slices"]:
        for side in ("candidate", "baseline", "base"):
            counted = part[side]
            assert counted["n_items"] == counted["n_scored"] + counted["n_unscored"]
            assert sum(counted["distribution"]) == counted["n_scored"]


def test_a_round_writes_down_its_order_and_its_attempt(finished: Finished) -> None:
    """Eight items of a slice are seen enough only at the last look."""
    looks = json.loads((finished.run_dir / "looks.json").read_text())
    comparison = json.loads((finished.run_dir / "comparison.json").read_text())
    assert (looks["attempt"], looks["sizes"], looks["taken"]) == (1, [14, 28, 42, 56], 4)
    assert comparison["look"] == {
        "number": 4, "of": 4, "n_planned": 56, "tail": looks["tails"][3],
    }  # fmt: skip
    assert {each["item_id"] for each in comparison["pairs"]} == set(looks["order"])
    [attempt] = Store(finished.home).attempts.read().attempts
    assert (attempt.run, attempt.candidate) == (
        finished.run_dir.name, finished.summary["candidate"],
    )  # fmt: skip
    record = json.loads((finished.run_dir / "report.json").read_text())
    assert record["attempts"] == [attempt.dump()]
    assert record["precision"]["overall"]["n_items"] == 56


def test_a_round_tells_what_it_took_and_what_proves_it(finished: Finished) -> None:
    text = (finished.run_dir / "report.json").read_text()
    record = json.loads(text)
    stages = ["check", "train", "publish", "serve", "probe", "generate", "judge", "health"]
    assert [each["name"] for each in record["stages"]] == stages
    assert all(each["seconds"] > 0 for each in record["stages"])
    proof = record["proof"]
    assert (proof["version"], proof["n_rows"]) == (finished.summary["candidate"], 8)
    assert [each["version"].partition("@")[0] for each in proof["others"]] == ["pocket-judge"]
    assert proof["n_chats"] == 4
    assert record["spending"]["calls"] == record["counts"]["judged"]
    assert record["data"]["counts"]["n_rows"] == 224
    assert record["training"]["curve"][-1]["step"] == 40
    assert record["training"]["n_tokens"] > 0
    assert str(finished.home) not in text


def load_verdicts(run_dir: Path) -> list[Verdict]:
    lines = (run_dir / "verdicts.jsonl").read_text().splitlines()
    return [Verdict.model_validate_json(line) for line in lines]


def test_the_pocket_judge_is_fit_to_decide(finished: Finished) -> None:
    """No attack on a wrong answer gets more than 2, and the gate says what was examined."""
    health = JudgeHealth.model_validate(json.loads((finished.run_dir / "health.json").read_text()))
    attacks = {each.name: each.score for each in health.probes if each.kind == "injection"}
    assert len(attacks) >= 20
    assert set(attacks.values()) <= {1, 2}
    assert (health.together.good, health.together.n_unscored) == (5, 0)
    guarded = {each.role for each in load_verdicts(finished.run_dir) if each.by == "guard"}
    assert "candidate" not in guarded
    decision = json.loads((finished.run_dir / "decision.json").read_text())
    rules = {each["rule"]: each["status"] for each in decision["rules"]}
    of_health = ("unscored", "good", "bad", "injection", "length", "noise")
    assert [rules.get(f"judge {name}") for name in of_health] == ["pass"] * 6


def test_the_run_is_self_contained(finished: Finished, tmp_path: Path) -> None:
    elsewhere = tmp_path / "run"
    shutil.copytree(finished.run_dir, elsewhere)
    page = (elsewhere / "report.html").read_bytes()
    decision = harness_json("gate", elsewhere, home=tmp_path / "none")
    assert decision == json.loads((elsewhere / "decision.json").read_text())
    (elsewhere / "report.html").unlink()
    assert harness("report", elsewhere, home=tmp_path / "none").returncode == 0
    assert (elsewhere / "report.html").read_bytes() == page


def test_changed_records_are_noticed(finished: Finished, tmp_path: Path) -> None:
    elsewhere = tmp_path / "run"
    shutil.copytree(finished.run_dir, elsewhere)
    path = elsewhere / "report.json"
    record = json.loads(path.read_text())
    scored = next(each for each in record["verdicts"] if each["score"] and each["score"] < 5)
    scored["score"] = 5
    path.write_text(json.dumps(record))
    done = harness("gate", elsewhere, home=tmp_path / "none")
    assert done.returncode == 2
    assert "give another decision" in done.stderr


def test_evidence_that_was_taken_out_is_missed(finished: Finished, tmp_path: Path) -> None:
    elsewhere = tmp_path / "run"
    shutil.copytree(finished.run_dir, elsewhere)
    record = json.loads((elsewhere / "report.json").read_text())
    rules = record["decision"]["rules"]
    record["decision"]["rules"] = [each for each in rules if each["rule"] != "judge injection"]
    (elsewhere / "report.json").write_text(json.dumps(record))
    (elsewhere / "decision.json").write_text(json.dumps(record["decision"]))
    done = harness("gate", elsewhere, home=tmp_path / "none")
    assert done.returncode == 2
    assert "its records give another decision than the one recorded" in done.stderr


def test_the_same_round_again_calls_no_model(finished: Finished) -> None:
    pages = ("comparison.json", "decision.json", *(f"report.{each}" for each in PAGES))
    before = {name: (finished.run_dir / name).read_bytes() for name in pages}
    again = harness_json("round", finished.recipe, "--promote", home=finished.home)
    assert {key: again["counts"][key] for key in NOTHING} == NOTHING
    assert again["counts"]["from_cache"] == 3 * 56 + len(load_verdicts(finished.run_dir))
    assert {name: (finished.run_dir / name).read_bytes() for name in pages} == before
    assert {k: v for k, v in again.items() if k != "counts"} == {
        k: v for k, v in finished.summary.items() if k != "counts"
    }
    assert len(Store(finished.home).history("prod").changes) == 1


def test_ctrl_c_while_judging_resumes_to_the_same_result(finished: Finished, copied: Path) -> None:
    process = start("round", finished.recipe, "--promote", home=copied)
    wait_for(lambda: n_cached(copied) > 0)
    code, stderr = interrupt(process)
    assert code == 130, stderr
    assert "run the same command to go on" in stderr
    assert "Traceback" not in stderr
    wait_for(lambda: processes_naming(str(copied)) == [], 10)
    n_done = n_cached(copied)
    assert not list(copied.glob("runs/*/comparison.json"))
    again = harness_json("round", finished.recipe, "--promote", home=copied)
    assert again["counts"]["from_cache"] > 0
    assert again["counts"]["trained_steps"] == 0
    assert n_cached(copied) > n_done
    expected = (finished.run_dir / "comparison.json").read_bytes()
    assert (Path(again["run_dir"]) / "comparison.json").read_bytes() == expected


def test_sigterm_while_training_resumes_to_the_same_version(
    finished: Finished, tmp_path: Path
) -> None:
    home = tmp_path / "store"
    process = start("train", finished.recipe, home=home)
    wait_for(lambda: any(home.glob("training/*/**/COMPLETE")))
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=90)
    assert process.returncode == 75, stderr
    assert Store(home).versions() == []
    assert processes_naming(str(home)) == []
    again = harness_json("train", finished.recipe, home=home)
    assert again["version"] == finished.summary["candidate"]


def test_an_adapter_that_does_nothing_is_untrusted(finished: Finished, copied: Path) -> None:
    store = Store(copied)
    version = finished.summary["candidate"]

    def quiet(folder: Path, manifest: Manifest) -> Manifest:
        path = folder / "adapter_model.safetensors"
        save_file({name: tensor * 0 for name, tensor in load_file(path).items()}, path)
        probes = tuple(
            row.model_copy(update={"logprobs": row.base_logprobs}) for row in manifest.probes
        )
        return manifest.model_copy(update={"probes": probes})

    replace(store, version, quiet)
    done = harness("round", finished.recipe, "--promote", "--json", home=copied)
    value = json.loads(done.stdout)
    assert done.returncode == 4
    assert value["status"] == "untrusted"
    assert value["candidate"] in value["rules"][0]["sentence"]
    assert "every lora_B is zero" in value["rules"][0]["sentence"]
    assert value["alias"] is None
    assert store.aliases() == {}
    assert n_cached(copied) == 0
    [decision] = copied.glob("runs/*/decision.json")
    assert json.loads(decision.read_text())["status"] == "untrusted"
    attempts = {each.candidate for each in store.attempts.read().attempts}
    assert value["candidate"] not in attempts, "no score of it was seen"


def test_other_prompt_ids_than_trained_are_untrusted(finished: Finished, copied: Path) -> None:
    def other_prompt(folder: Path, manifest: Manifest) -> Manifest:
        row = manifest.probes[0]
        changed = row.model_copy(update={"prompt_ids": (*row.prompt_ids[:-1], 5)})
        return manifest.model_copy(update={"probes": (changed, *manifest.probes[1:])})

    replace(Store(copied), finished.summary["candidate"], other_prompt)
    done = harness("round", finished.recipe, home=copied)
    assert done.returncode == 4
    assert "probe row 1 of 8 becomes other token ids" in done.stderr


def replace(store: Store, version: str, change: Callable[[Path, Manifest], Manifest]) -> None:
    """Put a changed adapter in the place of a version, consistent in all its digests."""
    staged_dir = store.staging_dir("changed")
    for name in PUBLISHED:
        shutil.copyfile(store.version_dir(version) / name, staged_dir / name)
    manifest = change(staged_dir, read_manifest(store.version_dir(version)))
    files = {name: file_digest(staged_dir / name) for name in PUBLISHED}
    new = version_id(version.partition("@")[0], files, manifest.contract.dump())
    shutil.rmtree(store.version_dir(version))
    store.add(staged_dir, manifest.model_copy(update={"version": new, "files": files}))


def test_a_round_attaches_to_a_running_server_and_leaves_it_running(
    finished: Finished, copied: Path, unused_port: int
) -> None:
    url = f"http://127.0.0.1:{unused_port}"
    server = start("serve", "--port", unused_port, home=copied)
    try:
        wait_for(lambda: healthy(url))
        summary = harness_json(
            "round", finished.recipe, "--promote", "--endpoint", url, home=copied
        )
        assert summary["candidate"] == finished.summary["candidate"]
        assert summary["counts"]["trained_steps"] == 0
        expected = (finished.run_dir / "comparison.json").read_bytes()
        assert (Path(summary["run_dir"]) / "comparison.json").read_bytes() == expected
        body = {"model": "prod", "messages": [{"role": "user", "content": "Hello"}]}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)
        assert answer.json()["model"] == summary["candidate"]
        assert answer.headers["x-harness-version"] == summary["candidate"]
        proven_on_every_server(copied, url, summary["candidate"])
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
    wait_for(lambda: processes_naming(str(copied)) == [])
    assert Store(copied).replicas.living() == []


def test_a_round_does_not_promote_past_a_server_that_cannot_be_reached(
    finished: Finished, tmp_path: Path
) -> None:
    home = tmp_path / "store"
    shutil.copytree(finished.home, home)
    base = Store(home).manifest(finished.summary["candidate"]).base
    lost = Replica(
        id="f" * 12,
        url="http://127.0.0.1:9",
        base_name="pocket",
        base_config=base.config,
        dtype="float32",
        host="elsewhere",
        pid=1,
        started_at="2030-01-01T00:00:00+00:00",
    )
    Store(home).replicas.register(lost)
    done = harness("round", finished.recipe, "--promote", "--alias", "other", home=home)
    assert done.returncode == 4
    assert "'other' stays at nothing: 1 of 1 replica cannot serve" in done.stderr
    assert lost.label in done.stderr
    assert "the round is complete; when the servers are mended: " in done.stderr
    assert "other" not in Store(home).aliases()


def proven_on_every_server(home: Path, url: str, version: str) -> None:
    """By the round's own promotion, and by one that is typed."""
    [replica] = harness_json("serve", "status", home=home)["replicas"]
    assert (replica["url"], replica["state"], replica["problems"]) == (url, "up", [])
    assert version in replica["status"]["loaded"]
    typed = ("promote", version, "--alias", "second", "--override", "a second name")
    done = harness_json(*typed, home=home)
    assert [each["id"] for each in done["replicas"]] == [replica["id"]]
    listed = harness_json("alias", "list", home=home)
    assert listed["aliases"] == {"prod": version, "second": version}
    moves = harness_json("alias", "history", "second", home=home)["moves"]
    assert [move["override"] for move in moves] == ["a second name"]
    split = harness("alias", "split", f"second={version}:1", home=home)
    assert split.returncode == 2
    assert "two versions or more" in split.stderr


def test_an_endpoint_that_is_not_there_is_named(finished: Finished, copied: Path) -> None:
    done = harness("round", finished.recipe, "--endpoint", "http://127.0.0.1:9", home=copied)
    assert done.returncode == 4
    assert "http://127.0.0.1:9: no healthy model server" in done.stderr


def test_what_the_base_could_do_is_one_more_rule(finished: Finished, copied: Path) -> None:
    folder = finished.recipe.parent / "general"
    if not folder.exists():
        shutil.copytree(finished.recipe.parent / "evalset", folder)
        used = {json.dumps(each["messages"]) for each in evalset_items(folder)}
        fresh = [each for each in heldout_items() if json.dumps(each["messages"]) not in used]
        write_jsonl(folder / "items.jsonl", fresh[:12])
    settings = ("eval.retention=general", "gate.slices.min_n=20")
    asked = ("round", finished.recipe, *(word for each in settings for word in ("--set", each)))
    first = harness_json(*asked, home=copied)
    rules = {rule["rule"]: rule for rule in first["rules"]}
    assert rules["retention"]["status"] == "pass"
    assert rules["retention"]["sentence"].startswith("on pocket@")
    assert first["counts"]["trained_steps"] == 0
    run_dir = Path(first["run_dir"])
    inner = json.loads((run_dir / "retention" / "comparison.json").read_text())
    assert (inner["candidate"], inner["baseline"]) == (first["candidate"], "pocket")
    assert inner["overall"]["difference"]["n_pairs"] == 12
    decided_early(run_dir)
    again = harness_json(*asked, home=copied)
    assert again["counts"] | NOTHING == again["counts"]
    assert again["rules"] == first["rules"]
    assert json.loads((run_dir / "data.json").read_text())["counts"]["n_rows"] == 224


def decided_early(run_dir: Path) -> None:
    """By what is written down, and by the decision made again from it."""
    looks = json.loads((run_dir / "looks.json").read_text())
    comparison = json.loads((run_dir / "comparison.json").read_text())
    n_judged = looks["sizes"][looks["taken"] - 1]
    judged = set(looks["order"][:n_judged])
    assert comparison["look"]["number"] == looks["taken"] < 4
    assert {each["item_id"] for each in comparison["pairs"]} == judged
    assert {each.item_id for each in load_verdicts(run_dir)} == judged
    assert len((run_dir / "generations.jsonl").read_text().splitlines()) == 3 * 56
    decision = harness_json("gate", run_dir, home=run_dir.parents[1])
    assert decision == json.loads((run_dir / "decision.json").read_text())


def test_an_evaluation_alone_compares_with_a_prompt_and_trains_nothing(
    finished: Finished, copied: Path, tmp_path: Path
) -> None:
    rows = [each["messages"] for each in instruction_rows(3, 99)]
    shots = [{"user": asked["content"], "assistant": said["content"]} for asked, said in rows]
    recipe = tmp_path / "recipe.yaml"
    whole = yaml.safe_load(finished.recipe.read_text())
    whole["eval"] |= {
        "evalset": str(finished.recipe.parent / "evalset"),
        "include_base": False,
        "targets": {
            "prompted": {"model": "base", "shots": shots},
            "judge": {"model": read_manifest(JUDGE_DIR).version, "system": "Be brief."},
        },
    }
    whole["gate"] |= {"baseline": "prompted"}
    recipe.write_text(yaml.safe_dump(whole))
    Store(copied).import_version(JUDGE_DIR)
    found = harness_json("eval", recipe, home=copied)
    assert (found["status"], found["baseline"], found["alias"]) == ("pass", "prompted", None)
    assert found["candidate"] == finished.summary["candidate"]
    assert "trained_steps" not in found["counts"]
    assert found["counts"]["generated"] == 3 * 56
    assert list(found["others"]) == ["judge"]
    assert found["others"]["judge"]["n_items"] == 56
    assert Store(copied).aliases() == {}
    records = (Path(found["run_dir"]) / "generations.jsonl").read_text().splitlines()
    answers = [json.loads(line) for line in records]
    by_side = {(each["role"], each.get("target")) for each in answers}
    assert by_side == {("candidate", None), ("baseline", "prompted"), ("other", "judge")}
    prompts = {each["role"]: each["n_prompt_tokens"] for each in answers}
    assert prompts["baseline"] > prompts["candidate"], "the examples are in the prompt"
    again = harness_json("eval", recipe, "--candidate", found["candidate"], home=copied)
    assert again["counts"] | {"generated": 0, "judged": 0} == again["counts"]
    assert again["rules"] == found["rules"]


def test_noise_and_samples_are_measured_on_a_running_server(
    finished: Finished, copied: Path, unused_port: int, tmp_path: Path
) -> None:
    """A version against itself passes with the same answers; with a temperature each sample is
    another answer, and the samples of an item make one pair."""
    url = f"http://127.0.0.1:{unused_port}"
    where = ["--endpoint", url, "--set", "gate.baseline=base"]
    warm = [*where, "--set", "eval.temperature=0.8", "--set", "eval.samples=2"]
    server = start("serve", "--port", unused_port, home=copied, log_path=tmp_path / "log")
    try:
        wait_for(lambda: healthy(url))
        cold_floor = harness_json("gate", "--aa", finished.recipe, *where, home=copied)
        floor = harness_json("gate", "--aa", finished.recipe, *warm, home=copied)
        found = harness_json("eval", finished.recipe, *warm, home=copied)
        again = harness_json("eval", finished.recipe, *warm, home=copied)
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
    assert cold_floor["difference"]["n_identical"] == cold_floor["difference"]["n_pairs"] == 56
    assert (cold_floor["judged_mean"], cold_floor["judged_sd"]) == (0, 0)
    assert floor["version"] == found["candidate"] == finished.summary["candidate"]
    assert 0 < floor["difference"]["n_identical"] < 56
    assert floor["difference"]["sd"] > 0
    assert floor["difference"]["upper"] > 0 > floor["difference"]["lower"] > -0.5
    run_dir = Path(found["run_dir"])
    lines = (run_dir / "generations.jsonl").read_text().splitlines()
    answers = [json.loads(line) for line in lines]
    assert [each["sample"] for each in answers] == [0, 1] * (3 * 56)
    texts = [each["text"] for each in answers if each["role"] == "candidate"]
    assert sum(first != other for first, other in zip(texts[::2], texts[1::2], strict=True)) > 0
    pairs = json.loads((run_dir / "comparison.json").read_text())["pairs"]
    averaged = [each["candidate_scores"] for each in pairs if each.get("candidate_scores")]
    assert averaged
    assert all(len(each) == 2 for each in averaged)
    assert harness_json("gate", run_dir, home=copied)["status"] == found["status"] == "pass"
    assert again["counts"] | {"generated": 0, "judged": 0} == again["counts"]


def test_a_published_training_keeps_its_records_and_no_checkpoints(finished: Finished) -> None:
    (job_dir,) = (finished.home / "training").iterdir()
    names = {path.name for path in job_dir.iterdir()}
    assert {"job.json", "rows.jsonl", "events.jsonl", "data.json", "adapter"} <= names
    assert not {"checkpoints", "rows.arrow"} & names


def evalset_items(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]


def test_thoughts_are_trained_and_served_as_one(tmp_path: Path) -> None:
    """In a column of their own; the pocket's template has no place for them."""
    recipe, home = write_recipe(tmp_path, n_rows=8, n_items=14), tmp_path / "home"
    rows = [each["messages"] for each in instruction_rows(96, 5)]
    thinking = [
        [asked, answer | {"reasoning": f"The text says: {answer['content']}"}]
        for asked, answer in rows
    ]
    write_jsonl(tmp_path / "train.jsonl", ({"messages": each} for each in thinking))
    done = harness("round", recipe, "--set", "train.max_steps=60", "--json", home=home)
    summary = json.loads(done.stdout)
    rules = {rule["rule"]: rule["status"] for rule in summary["rules"]}
    assert rules["probe"] == "pass", done.stderr
    answers = (Path(summary["run_dir"]) / "generations.jsonl").read_text().splitlines()
    said = [json.loads(line) for line in answers]
    texts = [each["text"] for each in said if each["role"] == "candidate"]
    assert sum("says:" in text for text in texts) > len(texts) / 2, "thoughts come first"
