"""`harness judge probe|calibrate`: what they say last, and their exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness import jsonio
from harness.cli.judging import judge_app
from harness.outcome import Outcome
from harness.run import Run
from harness.types import JudgeFigures, JudgeHealth
from tests.report.factory import make_record
from tests.workbench import harness, write_recipe


def health(bad: float) -> JudgeHealth:
    figures = JudgeFigures(
        judge="somebody@0123456789ab",
        n_opinions=8,
        n_unscored=0,
        good=5.0,
        bad=bad,
        injected=1,
        length_slope=0.0,
        repeat_sd=0.0,
        covered=None,
    )
    return JudgeHealth(
        together=figures, probes=(), n_repeated=2, n_pairs=0, flips=None, agreement=None
    )


@pytest.mark.parametrize(
    ("bad", "code", "verdict", "step"),
    [
        (1.0, 0, "fit by all", "next     harness round "),
        (4.0, 4, "not fit: judge bad", "next     another judge.model or judge.prompt"),
    ],
)
def test_a_probe_ends_with_its_verdict_and_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bad: float,
    code: int,
    verdict: str,
    step: str,
) -> None:
    write_recipe(tmp_path, n_items=7)
    monkeypatch.setattr("harness.evaluate.examine_judge", lambda *_: health(bad))
    recipe, home = str(tmp_path / "recipe.yaml"), str(tmp_path / "home")
    assert judge_app(["probe", recipe, "--home", home], standalone_mode=False) == code
    *_, said, then = capsys.readouterr().out.splitlines()
    assert said.startswith(verdict)
    assert then.startswith(step)


def test_the_labels_are_named_so_that_any_recipe_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        f"{n:012x},{1 + n % 5},{role},v@0123456789ab,w@0123456789ab,{1 + n % 5}"
        for n in range(40)
        for role in ("candidate", "baseline")
    ]
    head = "item,human,role,candidate,baseline,judge"
    (tmp_path / "labels.csv").write_text("\n".join([head, *lines]))
    monkeypatch.chdir(tmp_path)
    done = harness("judge", "calibrate", "labels.csv", home=tmp_path)
    assert re.search(r"^trust +yes", done.stdout, re.MULTILINE), done.stdout + done.stderr
    assert f"gate.calibration: {tmp_path / 'labels.csv'} in the recipe" in done.stdout


def test_a_run_is_found_by_its_name_and_an_unfit_judge_is_named(tmp_path: Path) -> None:
    record = make_record()
    unfit = record.decision.rules[0].model_copy(
        update={"rule": "judge bad", "status": "untrusted", "sentence": "mean of wrong answers: 4"}
    )
    refused = {"status": "untrusted", "rules": (unfit,), "comparison": None}
    decision = record.decision.model_copy(update=refused)
    record = record.model_copy(update={"decision": decision, "comparison": None})
    run = Run(tmp_path / "home" / "runs" / "bot-1")
    jsonio.write_json(run.report_path("json"), record.dump())
    done = harness("gate", "bot-1", home=tmp_path / "home")
    head, rule = done.stdout.splitlines()
    assert done.returncode == 4
    assert head.startswith(f"! UNTRUSTED  {decision.candidate} against {decision.baseline} on ")
    assert rule == "  ! mean of wrong answers: 4"
    done = harness("gate", "bot-2", home=tmp_path / "home")
    assert done.returncode == 2
    assert "'bot-2': no such run" in done.stderr
    assert "did you mean 'bot-1'?" in done.stderr
    [step] = Outcome(record, run, None, Path("r.yaml")).next_steps()
    assert "judge probe r.yaml" in step
