"""What a run's directory and a training's tell of a round, whole, damaged and from long ago."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import jsonio
from harness.account import MAX_POINTS, with_account
from harness.jsonio import digest
from harness.outcome import first_told, write_reports
from harness.report.record import RoundRecord
from harness.run import Run
from harness.store import Store
from harness.types import RuleResult, StageTime
from tests.report.factory import make_record
from tests.report.factory import with_account as told_of

SETTINGS = {
    "lora": {"r": 16, "alpha": 32.0, "targets": "all-linear"},
    "train": {"objective": "sft", "lr": 0.004},
    "n_steps": 6,
}


def proven(record: RoundRecord) -> RoundRecord:
    """Its decision stands on a probe and on a judge that was examined."""
    rules = [
        RuleResult(
            rule=name, slice="overall", status="pass", value=1.0, bound=None, threshold=2.0,
            sentence="so",
        )
        for name in ("probe", "judge good")
    ]  # fmt: skip
    decision = record.decision.model_copy(update={"rules": (*record.decision.rules, *rules)})
    return record.model_copy(update={"decision": decision})


def log(step: int, loss: float, n_tokens: int, elapsed_s: float) -> dict[str, Any]:
    place = {"event": "log", "step": step, "n_steps": 6, "elapsed_s": elapsed_s}
    return place | {"loss": loss, "lr": 0.001, "n_tokens": n_tokens}


def begin(step: int) -> dict[str, Any]:
    return {"event": "begin", "step": step, "n_steps": 6, "elapsed_s": 0.0}


WHOLE = [begin(0), log(2, 3.0, 200, 2.0), log(4, 2.0, 400, 4.0), log(6, 1.0, 600, 8.0)]


def make_job(home: Path, events: list[dict[str, Any]], **changed: Any) -> Path:
    """The training's directory of the record's candidate."""
    key = make_record().manifest.train_key
    path = home / "training" / f"support-bot-{key[:12]}"
    settings = {"key": key, **SETTINGS, **changed}
    jsonio.write_json(path / "job.json", settings | {"seal": digest(settings)})
    jsonio.write_jsonl(path / "events.jsonl", events)
    return path


def make_run(home: Path) -> Run:
    run, told = Run(home / "runs" / "one"), told_of(make_record())
    assert told.proof
    assert told.health
    assert told.spending
    jsonio.write_json(run.probe_path, told.proof.dump())
    jsonio.write_json(run.health_path, told.health.dump())
    jsonio.write_json(run.spending_path, told.spending.dump())
    jsonio.write_json(
        run.environment_path,
        {"python": "3.11.7", "system": "Linux", "packages": {"vllm": "0.32.0"}},
    )
    return run


def data(path: str = "train.jsonl", of: str | None = None) -> dict[str, Any]:
    source = {"path": path, "container": "jsonl", "shape": "messages", "role": "train"}
    return {
        "schema": 1,
        "data": of or make_record().manifest.data,
        "counts": {"n_examples": 9, "n_rows": 8},
        "sources": [source | {"n_read": 9, "n_skipped": 1, "n_rows": 8}],
        "skipped": [],
        "dropped": ["train.jsonl:3"],
        "held_out": [],
    }


def test_all_of_it_is_told_and_read_back(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    make_job(tmp_path, WHOLE)
    jsonio.write_json(run.data_path, data())
    stages = [StageTime(name=name, seconds=1.0, summary="") for name in ("check", "gate") * 2]
    record = with_account(proven(make_record()), run, Store(tmp_path), stages)
    told = told_of(make_record())
    assert (record.proof, record.health, record.spending) == (
        told.proof,
        told.health,
        told.spending,
    )
    assert [each.name for each in record.stages] == ["check", "gate"]
    assert record.packages == {"python": "3.11.7", "vllm": "0.32.0"}
    assert record.ancestors == (record.manifest.parent,)
    assert record.data
    assert record.data.counts == {"n_examples": 9, "n_rows": 8}
    assert record.training
    assert (record.training.n_tokens, record.training.seconds) == (600, 8.0)
    assert [each.tokens_per_s for each in record.training.curve] == [100.0, 100.0, 50.0]
    assert RoundRecord.model_validate(record.dump()) == record


def test_a_bare_run_tells_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    record = proven(make_record())
    found = with_account(record, Run(tmp_path / "runs" / "none"), Store(tmp_path), ())
    manifest = record.manifest
    assert found == record.model_copy(update={"ancestors": (manifest.parent,)})
    assert found.dump().keys() - record.dump().keys() == {"ancestors"}


def test_evidence_of_an_earlier_making_is_not_this_ones(tmp_path: Path) -> None:
    """The probe failed now; the files are of the time when it did not."""
    found = with_account(make_record(), make_run(tmp_path), Store(tmp_path), ())
    assert found.proof is None
    assert found.health is None
    assert found.spending


@pytest.mark.parametrize(
    "damage", ["{", "[]", "{}", "null", '{"data": 1}', '{"schema": 1, "version": 3}']
)
def test_damage_costs_what_is_damaged(tmp_path: Path, damage: str) -> None:
    run, job = make_run(tmp_path), make_job(tmp_path, WHOLE)
    for path in (run.probe_path, run.health_path, run.data_path, run.environment_path):
        path.write_text(damage)
    (job / "events.jsonl").write_text(damage + "\n")
    found = with_account(proven(make_record()), run, Store(tmp_path), ())
    assert (found.proof, found.health, found.data, found.packages) == (None, None, None, None)
    assert found.training is None or found.training.curve == ()
    assert found.spending


def test_data_of_other_rows_is_not_told_and_the_trainings_is(tmp_path: Path) -> None:
    """An evaluation's recipe may have other data than the version was trained on."""
    run, job = make_run(tmp_path), make_job(tmp_path, WHOLE)
    jsonio.write_json(run.data_path, data(of="e" * 64))
    assert with_account(make_record(), run, Store(tmp_path), ()).data is None
    jsonio.write_json(job / "data.json", data())
    assert with_account(make_record(), run, Store(tmp_path), ()).data is not None


def test_no_place_on_this_machine_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    make_job(tmp_path, WHOLE, base_dir=f"{tmp_path}/base")
    jsonio.write_json(run.data_path, data(f"{tmp_path}/secret/rows.jsonl"))
    record = with_account(make_record(), run, Store(tmp_path), ())
    assert record.data
    assert record.data.sources[0].path == "rows.jsonl"
    assert str(tmp_path) not in str(record.dump())


def test_a_training_that_was_killed_and_resumed_is_one_curve(tmp_path: Path) -> None:
    """Step 4 was lost with the process that did it, and done again by the next."""
    events = [
        begin(0),
        log(2, 3.0, 200, 2.0),
        log(4, 2.0, 400, 4.0),
        begin(2),
        log(4, 2.5, 200, 1.0),
        log(6, 1.0, 400, 2.0),
        {"event": "end", "step": 6, "n_steps": 6, "elapsed_s": 2.1},
    ]
    make_job(tmp_path, events)
    training = with_account(make_record(), make_run(tmp_path), Store(tmp_path), ()).training
    assert training
    assert [(each.step, each.loss) for each in training.curve] == [(2, 3.0), (4, 2.5), (6, 1.0)]
    assert [each.tokens_per_s for each in training.curve] == [100.0, 200.0, 200.0]
    assert (training.n_tokens, training.seconds) == (800, 6.0)


def test_a_long_curve_keeps_its_mean(tmp_path: Path) -> None:
    n = 3 * MAX_POINTS + 1
    make_job(tmp_path, [begin(0), *(log(k, float(k % 7), 10 * k, k / 10) for k in range(1, n))])
    training = with_account(make_record(), make_run(tmp_path), Store(tmp_path), ()).training
    assert training
    assert len(training.curve) == MAX_POINTS
    assert training.curve[-1].step == n - 1
    means = [each.loss for each in training.curve]
    whole = [float(k % 7) for k in range(1, n)]
    assert sum(means) / len(means) == pytest.approx(sum(whole) / len(whole))


def test_a_repeated_round_keeps_what_it_took(tmp_path: Path) -> None:
    """Its training's directory is gone by then, and nothing was called."""
    first = told_of(make_record()).model_copy(update={"counts": {"generated": 7, "judged": 5}})
    run = Run(tmp_path / "runs" / "one")
    write_reports(run, first)
    again = make_record().model_copy(
        update={"counts": {}, "stages": (StageTime(name="check", seconds=9.0, summary=""),)}
    )
    assert first_told(run, again) == first


def test_a_repeated_round_of_before_gains_its_evidence_and_no_times(tmp_path: Path) -> None:
    old = make_record().model_copy(update={"counts": {"generated": 7, "judged": 5}})
    run = Run(tmp_path / "runs" / "one")
    write_reports(run, old)
    again = told_of(make_record()).model_copy(update={"counts": {}})
    found = first_told(run, again)
    assert (found.proof, found.training) == (again.proof, again.training)
    assert (found.stages, found.spending, found.counts) == ((), None, old.counts)


def test_settings_that_were_changed_are_no_evidence(tmp_path: Path) -> None:
    job = make_job(tmp_path, WHOLE)
    text = (job / "job.json").read_text()
    (job / "job.json").write_text(text.replace('"r": 16', '"r": 8'))
    assert with_account(make_record(), make_run(tmp_path), Store(tmp_path), ()).training is None
