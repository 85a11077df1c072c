"""Two finished runs into a third: what it decides, what it refuses, and that it is a whole run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.against import against
from harness.against.finding import NotComparable
from harness.errors import HarnessError, StoreError
from harness.looking import read_looks
from harness.outcome import decide_again, read_record, report_again, write_reports
from harness.release import stats
from harness.release.promote import PromotionRefused, allow
from harness.run import Run
from harness.store import Store
from harness.types import RuleResult
from tests.against.build import (
    EVALSET,
    HEALTHY,
    JUDGE,
    make_run,
    now,
    recipe_of,
    version,
)
from tests.release.build import make_items
from tests.report.factory import with_account
from tests.workbench import harness

A, B, OLD, OLDER = (version(letter) for letter in "abcd")
GOOD, EQUAL, BAD = [5, 4] * 40, [5, 4] * 40, [3, 2] * 40


def rule(record_dir: Path, name: str) -> RuleResult:
    (found,) = (each for each in read_record(record_dir).decision.rules if each.rule == name)
    return found


def test_two_copied_runs_are_compared_without_a_store(tmp_path: Path) -> None:
    make_run(tmp_path / "gpu1" / "first", (A, OLD), (GOOD, BAD))
    make_run(tmp_path / "gpu2" / "second", (B, OLDER), (EQUAL, BAD))
    for name, source in (("a", "gpu1/first"), ("b", "gpu2/second")):
        shutil.copytree(tmp_path / source, tmp_path / "ci" / name)
    home = tmp_path / "ci" / "home"
    done = harness(
        "gate", tmp_path / "ci" / "b", "--against", tmp_path / "ci" / "a", "--json", home=home
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["candidate"], found["baseline"], found["status"]) == (B, A, "pass")
    run_dir = Path(found["run_dir"])
    assert run_dir.parent == home / "runs"
    assert run_dir.name.startswith("support-bot-against-")
    assert f'"./{run_dir.name}/report.html"' in (home / "runs" / "index.html").read_text()
    again = harness("gate", run_dir.name, home=home)
    assert again.returncode == 0, again.stderr
    assert "non" not in again.stderr
    assert harness("report", run_dir.name, home=home).returncode == 0
    assert Store(home).attempts.against(A, EVALSET)[0].candidate == B


def test_the_new_run_is_whole_and_the_same_each_time(tmp_path: Path) -> None:
    first = make_run(tmp_path / "a", (A, OLD), (GOOD, BAD))
    second = make_run(tmp_path / "b", (B, OLD), (BAD, BAD))
    store = Store(tmp_path / "home")
    outcome = against(second, str(first), store, clock=now)
    assert outcome.record.decision.status == "fail"
    assert outcome.record.recipe.gate.baseline == A
    run = outcome.run
    for path in (
        run.recipe_path, run.items_path, run.generations_path, run.verdicts_path, run.adapter_path,
        run.measures_path, run.comparison_path, run.decision_path, run.report_path("html"),
    ):  # fmt: skip
        assert path.is_file(), path
    shutil.copytree(run.run_dir, tmp_path / "elsewhere")
    assert decide_again(tmp_path / "elsewhere") == outcome.record.decision
    before = run.decision_path.read_bytes()
    assert against(second, str(first), store, clock=now).run.run_dir == run.run_dir
    assert run.decision_path.read_bytes() == before
    assert len(store.attempts.against(A, EVALSET)) == 1
    assert report_again(run.run_dir).is_file()


def test_the_candidates_evidence_stays_and_its_times_do_not(tmp_path: Path) -> None:
    make_run(tmp_path / "a", (A, OLD), (GOOD, BAD))
    second = make_run(tmp_path / "b", (B, OLD), (BAD, BAD))
    write_reports(Run(second), told := with_account(read_record(second)))
    record = against(second, str(tmp_path / "a"), Store(tmp_path / "home"), clock=now).record
    assert (record.proof, record.health) == (told.proof, told.health)
    assert (record.training, record.data) == (told.training, told.data)
    assert (record.stages, record.spending) == ((), None)


def test_an_alias_means_the_latest_run_with_its_answers(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    runs = store.home / "runs"
    make_run(runs / "older", (A, OLD), (BAD, BAD), store=store)
    make_run(runs / "newer", (version("f"), A), (BAD, GOOD), store=store)
    make_run(runs / "other-judge", (A, OLD), (BAD, BAD), judge="judge@" + "1" * 12, store=store)
    make_run(runs / "lost", (A, OLD), (BAD, BAD), store=store)
    shutil.rmtree(runs / "lost")
    ours = make_run(tmp_path / "b", (B, OLD), (GOOD, BAD))
    store.aliases_path.write_text(json.dumps({"schema": 2, "aliases": {"prod": A}}))
    outcome = against(ours, "prod", store, clock=now)
    comparison = outcome.record.comparison
    assert comparison
    assert (comparison.candidate, comparison.baseline) == (B, A)
    assert comparison.overall.baseline.mean == 4.5, "as baseline of the newer run"
    assert outcome.record.recipe.gate.baseline == "prod"
    with pytest.raises(StoreError) as refused:
        against(ours, version("9"), store, clock=now)
    assert "there is: none at all" in str(refused.value)
    assert "harness eval" in str(refused.value.hint) or "eval RECIPE" in str(refused.value.hint)


def test_a_run_made_of_two_is_the_last_to_be_taken_for_a_versions_answers(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    first = make_run(store.home / "runs" / "a", (A, OLD), (GOOD, BAD), store=store)
    second = make_run(store.home / "runs" / "b", (B, OLD), (GOOD, BAD), store=store)
    against(second, str(first), store, clock=now)
    third = make_run(tmp_path / "c", (version("e"), OLD), (GOOD, BAD))
    outcome = against(third, A, store, clock=now)
    assert "as in run a:" in rule(outcome.run.run_dir, "baseline run").sentence
    shutil.rmtree(first)
    outcome = against(third, A, store, clock=now)
    assert "as in run support-bot-against-" in rule(outcome.run.run_dir, "baseline run").sentence


def test_an_alias_that_serves_the_candidate_means_what_it_served_before(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    ours = make_run(store.home / "runs" / "b", (B, OLD), (GOOD, BAD), store=store)
    store.aliases_path.write_text(json.dumps({"schema": 2, "aliases": {"prod": B}}))
    with pytest.raises(HarnessError, match="nothing to compare"):
        against(ours, "prod", store, clock=now)
    moves = [
        {"alias": "prod", "version": to, "previous": previous, "at": "2030", "decision": None,
         "run": None, "override": "first"}
        for to, previous in ((OLD, None), (B, OLD))
    ]  # fmt: skip
    store.log_path.write_text("".join(json.dumps(each) + "\n" for each in moves))
    outcome = against(ours, "prod", store, clock=now)
    assert outcome.run.run_dir == ours, "the run compared these two already"
    assert outcome.record.decision == read_record(ours).decision
    assert store.attempts.against(OLD, EVALSET) == []


def test_promotion_goes_by_the_new_decision(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    first = make_run(tmp_path / "a", (A, OLD), (GOOD, BAD))
    second = make_run(tmp_path / "b", (B, OLD), (BAD, BAD), store=store)
    against(second, str(first), store, clock=now)
    found = store.latest_decision(B)
    assert found
    assert (found[1].baseline, found[1].status) == (A, "fail")
    with pytest.raises((PromotionRefused, StoreError)):
        allow(store, B, alias="prod")


def test_what_a_run_compared_already_is_its_latest_decision_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    first = make_run(tmp_path / "a", (A, OLD), (GOOD, BAD))
    second = make_run(tmp_path / "b", (B, OLD), (GOOD, BAD), store=store)
    against(second, str(first), store, clock=now)
    assert store.latest_decision(B)[1].baseline == A  # type: ignore[index]
    outcome = against(second, OLD, store, clock=now)
    found = store.latest_decision(B)
    assert found
    assert (found[1], found[1].baseline) == (outcome.record.decision, OLD)


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ({"evalset": "set@" + "0" * 12}, "different items"),
        ({"judge": "judge@" + "0" * 12}, "different judges"),
        ({"recipe": recipe_of(eval={"temperature": 0.5})}, "eval.temperature = 0.0 and 0.5"),
        ({"recipe": recipe_of(eval={"temperature": 0.5, "samples": 2})}, "eval.temperature"),
        ({"recipe": recipe_of(eval={"system": "Be brief."})}, "eval.system = None and 'Be brief.'"),
        ({"recipe": recipe_of(eval={"max_tokens": 9})}, "eval.max_tokens = 512 and 9"),
        ({"recipe": recipe_of(judge={"repeats": 3})}, "judge.repeats = 1 and 3"),
    ],
)
def test_scores_that_do_not_meet_are_refused(
    tmp_path: Path, theirs: dict[str, object], said: str
) -> None:
    first = make_run(tmp_path / "a", (A, OLD), (GOOD, BAD), **theirs)  # type: ignore[arg-type]
    second = make_run(tmp_path / "b", (B, OLD), (GOOD, BAD))
    with pytest.raises(NotComparable, match=said) as refused:
        against(second, str(first), Store(tmp_path / "home"), clock=now)
    assert refused.value.exit_code == 4
    assert refused.value.hint
    assert not (tmp_path / "home" / "runs").exists()


def test_a_name_that_is_nothing_says_what_it_may_be(tmp_path: Path) -> None:
    ours = make_run(tmp_path / "b", (B, OLD), (GOOD, BAD))
    done = harness("gate", ours, "--against", "prod", home=tmp_path / "home")
    assert done.returncode == 2
    assert "no such run directory" in done.stderr
    assert "an alias or a version needs its store" in done.stderr
    (tmp_path / "half").mkdir()
    half = harness("gate", ours, "--against", tmp_path / "half", home=tmp_path / "home")
    assert "half: not a finished run" in half.stderr
    same = harness("gate", ours, "--against", ours, home=tmp_path / "home")
    assert same.returncode == 2
    assert f"both are of {B}" in same.stderr


def test_a_changed_run_is_refused(tmp_path: Path) -> None:
    first = make_run(tmp_path / "a", (A, OLD), (GOOD, BAD))
    second = make_run(tmp_path / "b", (B, OLD), (GOOD, BAD))
    path = Run(first).report_path("json")
    record = read_record(first)
    verdicts = [each.model_copy(update={"score": 1}) for each in record.verdicts]
    changed = record.model_copy(update={"verdicts": tuple(verdicts)})
    path.write_text(json.dumps(changed.dump()))
    with pytest.raises(StoreError, match="changed after the round"):
        against(second, str(first), Store(tmp_path / "home"), clock=now)


def test_the_other_runs_unfit_judge_is_not_forgotten(tmp_path: Path) -> None:
    sentence = "the judge gives wrong answers 4.10, more than 2.00"
    unfit = HEALTHY.model_copy(
        update={"rule": "judge bad", "status": "untrusted", "sentence": sentence}
    )
    first = make_run(tmp_path / "a", (A, OLD), (GOOD, BAD), evidence=[HEALTHY, unfit])
    second = make_run(tmp_path / "b", (B, OLD), (GOOD, BAD))
    outcome = against(second, str(first), Store(tmp_path / "home"), clock=now)
    assert outcome.record.decision.status == "untrusted"
    found = rule(outcome.run.run_dir, "baseline run")
    assert sentence in found.sentence
    lenient = recipe_of(gate={"health": "warn"})
    first = make_run(tmp_path / "c", (A, OLD), (GOOD, BAD), evidence=[unfit], recipe=lenient)
    outcome = against(second, str(first), Store(tmp_path / "home"), clock=now)
    assert outcome.record.decision.status == "untrusted", "what one gate accepts another need not"
    second = make_run(tmp_path / "d", (B, OLD), (GOOD, BAD), recipe=lenient)
    outcome = against(second, str(first), Store(tmp_path / "home"), clock=now)
    assert outcome.record.decision.status == "pass"
    assert sentence in rule(outcome.run.run_dir, "baseline run").sentence


LOOKS = recipe_of(gate={"looks": 4, "slices": {"by": None}})


def test_where_judging_stopped_early_the_items_of_both_decide(tmp_path: Path) -> None:
    first = make_run(tmp_path / "a", (A, OLD), (GOOD, BAD), recipe=LOOKS, look=2)
    second = make_run(tmp_path / "b", (B, OLD), (GOOD, BAD), recipe=LOOKS, look=3)
    outcome = against(second, str(first), Store(tmp_path / "home"), clock=now)
    comparison = outcome.record.comparison
    assert comparison
    assert comparison.look
    looks = read_looks(Run(second))
    assert looks
    assert {pair.item_id for pair in comparison.pairs} == {*looks.order[:40]}, "of one order"
    assert (comparison.look.number, comparison.look.of, comparison.look.n_planned) == (1, 2, 80)
    assert comparison.look.tail < 0.05
    assert decide_again(outcome.run.run_dir) == outcome.record.decision
    assert (
        "40 of 80 items were judged in both runs"
        in rule(outcome.run.run_dir, "judged in both").sentence
    )


def test_a_part_decides_only_what_a_round_would_stop_for(tmp_path: Path) -> None:
    keys = {"looks": 4, "slices": {"by": None}, "margin": 0.5}
    point = recipe_of(gate=keys | {"thresholds": ["mean >= 2 point"]})
    first = make_run(tmp_path / "a", (A, OLD), (GOOD, BAD), recipe=point, look=3)
    second = make_run(tmp_path / "b", (B, OLD), (GOOD, BAD), recipe=point, look=3)
    outcome = against(second, str(first), Store(tmp_path / "home"), clock=now)
    assert outcome.record.decision.status == "inconclusive"
    assert rule(outcome.run.run_dir, "judged in both").status == "inconclusive"
    second = make_run(tmp_path / "c", (B, OLD), (GOOD, BAD), recipe=recipe_of(gate=keys), look=3)
    outcome = against(second, str(first), Store(tmp_path / "home"), clock=now)
    assert outcome.record.decision.status == "pass"
    assert rule(outcome.run.run_dir, "judged in both").status == "pass"


def test_a_gate_of_one_look_wants_all_items_judged(tmp_path: Path) -> None:
    first = make_run(tmp_path / "a", (A, OLD), (GOOD, BAD), recipe=LOOKS, look=3)
    second = make_run(tmp_path / "b", (B, OLD), (GOOD, BAD))
    with pytest.raises(NotComparable, match=r"60 of 80 items were judged in both runs"):
        against(second, str(first), Store(tmp_path / "home"), clock=now)


def test_whole_runs_have_the_bounds_of_a_rounds_only_look(tmp_path: Path) -> None:
    """With the allowance for few changed answers."""
    first, second = (
        make_run(tmp_path / name, (side, OLD), (GOOD, BAD)) for name, side in (("a", A), ("b", B))
    )
    outcome = against(second, str(first), Store(tmp_path / "home"), clock=now)
    comparison = outcome.record.comparison
    assert comparison
    assert comparison.look
    assert (comparison.look.of, comparison.look.tail) == (1, 0.05)
    found = [pair.difference for pair in comparison.pairs]
    n_changed = sum(not pair.identical for pair in comparison.pairs)
    tail = stats.careful_tail(0.05, n_changed)
    assert comparison.overall.difference.lower == pytest.approx(
        stats.lower_bound(found, tail, *stats.DIFFERENCES), abs=1e-9
    )


def test_attempts_are_counted_and_strict_ones_cost(tmp_path: Path) -> None:
    strict = recipe_of(gate={"attempts": "strict"})
    first = make_run(tmp_path / "a", (A, OLD), (GOOD, BAD))
    store = Store(tmp_path / "home")
    for number, letter in enumerate("123", 1):
        ours = make_run(tmp_path / letter, (version(letter), OLD), (GOOD, BAD), recipe=strict)
        outcome = against(ours, str(first), store, clock=now)
        assert outcome.record.comparison
        assert outcome.record.comparison.tail == pytest.approx(0.05 / (number * (number + 1)))
        assert f"attempt {number} against" in rule(outcome.run.run_dir, "attempts").sentence
        assert len(outcome.record.attempts) == number
        assert decide_again(outcome.run.run_dir) == outcome.record.decision


def test_labels_of_other_answers_are_not_used(tmp_path: Path) -> None:
    labelled = recipe_of(gate={"calibration": "labels.jsonl"})
    first = make_run(tmp_path / "a", (A, OLD), (GOOD, BAD))
    second = make_run(tmp_path / "b", (B, OLD), (GOOD, BAD), recipe=labelled)
    with pytest.raises(NotComparable, match=r"gate\.calibration"):
        against(second, str(first), Store(tmp_path / "home"), clock=now)


def test_hostile_names_neither_drive_a_terminal_nor_leave_the_store(tmp_path: Path) -> None:
    hostile = "\x1b]0;owned\x07\x9b2J\u202e"
    unkind = HEALTHY.model_copy(update={"sentence": f"a judge that says {hostile}"})
    evalset = f"set{hostile}@../../../outside"
    items = make_items(len(GOOD), (f"one{hostile}", "two"))
    ours, theirs, other = (
        make_run(
            tmp_path / name,
            (side, OLD),
            (GOOD, BAD),
            items=items,
            evidence=[unkind],
            evalset=evalset,
            judge=f"{hostile}{name}@" + "d" * 12 if name == "other" else JUDGE,
        )
        for name, side in (("ours", A), ("theirs", B), ("other", B))
    )
    home = tmp_path / "deep" / "home"
    for words in ((), ("--json",), ("--against", theirs), ("--against", other), ("--against", "")):
        done = harness("gate", ours, *words, home=home)
        said = done.stdout + done.stderr
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & {*said}, words
        assert "Traceback" not in said
        assert said
        assert done.returncode == (2 if words[1:] in ((theirs,), ("",)) else 4 if words[1:] else 0)
    assert not (tmp_path / "outside.json").exists()
    assert not [*home.rglob("*.json*")]
