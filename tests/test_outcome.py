"""A finished run, decided again from its directory alone: moved, from an older version, changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import jsonio
from harness.errors import DataError, StoreError
from harness.outcome import Outcome, decide_again, first_told, read_record
from harness.recipe import Gate
from harness.release.compare import compare, planned_sizes
from harness.release.gate import decide, gate_of, refuse
from harness.release.looks import look_of, plan_looks
from harness.report.record import RoundRecord
from harness.run import Run
from harness.store import Store
from harness.types import Comparison, Generation, Role, Verdict
from tests.release.build import BASELINE, CANDIDATE, Scores, compare_records, make_items, records
from tests.report.factory import make_record
from tests.workbench import harness

BEFORE_LOOKS = Path(__file__).parent / "release" / "runs" / "before_looks"
"""A run as the code left it before there were looks, attempts, samples and clustered bounds: a
failed threshold, a missing answer, a critical slice, and items with clusters that its bounds do not
allow for."""
Change = Callable[[dict[str, Any]], None]


def write_run(run_dir: Path, record: RoundRecord) -> Run:
    run = Run(run_dir)
    jsonio.write_json(run.report_path("json"), record.dump())
    jsonio.write_json(run.decision_path, record.decision.dump())
    if record.comparison:
        jsonio.write_json(run.comparison_path, record.comparison.dump())
    return run


def early_run(run_dir: Path, *, n: int = 200, taken: int = 2) -> Run:
    """A run of equal answers that stopped at look `taken` of 4: its other items have answers and
    no verdicts."""
    items = make_items(n, ("a", "b", "a", "rare"))
    gate = Gate.model_validate({"baseline": "prod", "margin": 0.5, "slices": {"min_n": 40}})
    plan = plan_looks(items, gate, seed="s", attempt=1, single=False)
    plan = plan.model_copy(update={"taken": taken})
    judged = set(plan.order[: plan.sizes[taken - 1]])
    sides: dict[Role, Scores] = {"candidate": [4, 5, 3, 4, 4] * (n // 5), "baseline": [4] * n}
    generations, verdicts = records(items, sides)
    verdicts = [each for each in verdicts if each.item_id in judged]
    comparison = compare(
        [item for item in items if item.id in judged],
        [each for each in generations if each.item_id in judged],
        verdicts,
        candidate=CANDIDATE,
        baseline=BASELINE,
        evalset="set@" + "e" * 12,
        judge="judge@" + "d" * 12,
        gate=gate,
        look=look_of(plan, taken),
        planned=planned_sizes(items, gate),
    )
    made = make_record()
    record = made.model_copy(
        update={
            "recipe": made.recipe.model_copy(update={"gate": gate}),
            "items": tuple(items),
            "generations": tuple(generations),
            "verdicts": tuple(verdicts),
            "comparison": comparison,
            "decision": decide(comparison, gate),
        }
    )
    run = write_run(run_dir, record)
    jsonio.write_json(run.looks_path, plan.dump())
    return run


def change(path: Path, how: Change) -> None:
    value = json.loads(path.read_text())
    how(value)
    path.write_text(json.dumps(value))


class TestBeforeLooks:
    """An upgrade does not lose the decisions that were made before it."""

    def test_the_decision_is_made_again(self) -> None:
        again = decide_again(BEFORE_LOOKS)
        assert again.dump() == json.loads((BEFORE_LOOKS / "decision.json").read_text())
        assert again.status == "fail"
        assert "looks" not in again.gate

    def test_its_gate_had_one_look_and_every_item_by_itself(self) -> None:
        comparison = read_record(BEFORE_LOOKS).comparison
        gate = gate_of(decide_again(BEFORE_LOOKS))
        assert (gate.looks, gate.cluster, gate.attempts) == (1, False, "warn")
        assert comparison is not None
        assert comparison.overall.difference.n_clusters is None
        assert any(item.cluster for item in read_record(BEFORE_LOOKS).items)

    def test_its_bytes_are_kept(self) -> None:
        for name in ("report.json", "comparison.json", "decision.json"):
            path = BEFORE_LOOKS / name
            value = json.loads(path.read_text())
            assert (
                path.read_bytes()
                == (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
            )
        record = read_record(BEFORE_LOOKS)
        assert record.dump() == json.loads((BEFORE_LOOKS / "report.json").read_text())

    def test_a_change_is_still_found(self, tmp_path: Path) -> None:
        run = Run(Path(shutil.copytree(BEFORE_LOOKS, tmp_path / "run")))

        def better(value: dict[str, Any]) -> None:
            for verdict in value["verdicts"][:6]:
                verdict["score"] = 5

        change(run.report_path("json"), better)
        with pytest.raises(StoreError, match="they were changed after the round"):
            decide_again(run.run_dir)


class TestRepeated:
    """A finished round that is run again, with no call left to make."""

    LATER = "2031-01-01T00:00:00+00:00"

    def test_its_pages_stay_as_they_were(self, tmp_path: Path) -> None:
        first = make_record()
        first = first.model_copy(update={"counts": {"generated": 7, "judged": 5}})
        run = write_run(tmp_path / "run", first)
        counts = {"generated": 0, "judged": 0, "from_cache": 12}
        again = first.model_copy(update={"counts": counts, "finished_at": self.LATER})
        assert first_told(run, again) == first
        calls = again.model_copy(update={"counts": counts | {"judged": 1}})
        assert first_told(run, calls) is calls

    def test_they_are_written_anew_where_the_decision_is_another_or_none_is_left(
        self, tmp_path: Path
    ) -> None:
        run = write_run(tmp_path / "run", make_record(status="fail"))
        other = make_record(status="pass").model_copy(update={"counts": {}})
        assert first_told(run, other) is other
        run.report_path("json").write_text("{")
        assert first_told(run, other) is other


class TestElsewhere:
    @pytest.mark.parametrize("kind", ["before", "early"])
    def test_a_copy_gives_the_same_decision_byte_for_byte(self, kind: str, tmp_path: Path) -> None:
        run_dir = BEFORE_LOOKS if kind == "before" else early_run(tmp_path / "run").run_dir
        copy = Path(shutil.copytree(run_dir, tmp_path / "elsewhere" / "copy"))
        done = harness("gate", copy, "--json", home=tmp_path / "no-store")
        assert done.stdout.encode() == (run_dir / "decision.json").read_bytes(), done.stderr
        assert done.returncode == {"before": 1, "early": 0}[kind]

    def test_last_bits_of_another_machine_do_not_matter(self, tmp_path: Path) -> None:
        run = early_run(tmp_path / "run")
        record = read_record(run.run_dir)
        assert record.comparison is not None
        value = record.comparison.dump()
        value["overall"]["difference"]["lower"] *= 1 + 1e-12
        comparison = Comparison.model_validate(value)
        assert comparison != record.comparison
        decision = decide(comparison, record.recipe.gate)
        write_run(
            run.run_dir, record.model_copy(update={"comparison": comparison, "decision": decision})
        )
        assert decide_again(run.run_dir) == decision


@pytest.mark.parametrize(
    ("status", "baseline", "step"),
    [
        ("pass", "prod", f"promote {CANDIDATE} --alias prod"),
        ("pass", "base", f"promote {CANDIDATE} --alias ALIAS"),
        ("pass", BASELINE, f"promote {CANDIDATE} --alias ALIAS"),
        ("inconclusive", "prod", "plan-eval mine.yaml"),
        ("fail", "prod", "failures r "),
    ],
)
def test_the_next_step_fits_the_verdict(
    status: str, baseline: str, step: str, tmp_path: Path
) -> None:
    record = make_record()
    changed = {"status": status, "candidate": CANDIDATE, "rules": ()}
    gate = record.recipe.gate.model_copy(update={"baseline": baseline})
    record = record.model_copy(
        update={
            "decision": record.decision.model_copy(update=changed),
            "recipe": record.recipe.model_copy(update={"gate": gate}),
        }
    )
    run = Run(tmp_path / "home" / "runs" / "r")
    outcome = Outcome(record, run, None, Path("mine.yaml"))
    assert "promote" not in outcome.next_steps()[0]
    manifest = Store(tmp_path / "home").version_dir(CANDIDATE) / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.touch()
    line, *more = outcome.next_steps()
    assert line.startswith("next     ")
    assert step in line
    assert [" blame r " in each for each in more] == [True] * (status == "fail")


class TestEarly:
    def test_it_is_decided_on_what_was_judged(self, tmp_path: Path) -> None:
        run = early_run(tmp_path / "run")
        comparison = read_record(run.run_dir).comparison
        assert decide_again(run.run_dir).status == "pass"
        assert comparison is not None
        assert (len(comparison.pairs), comparison.overall.difference.n_missing) == (100, 0)
        assert {part.name: part.guarded for part in comparison.slices} == {
            "a": True,
            "b": True,
            "rare": True,
        }

    def test_the_rest_can_be_judged_where_it_fails(self, tmp_path: Path) -> None:
        run = early_run(tmp_path / "run")
        record = read_record(run.run_dir)
        failed = record.decision.model_copy(update={"status": "fail"})
        record = record.model_copy(update={"decision": failed})
        steps = Outcome(record, run, None, tmp_path / "recipe.yaml").next_steps()
        assert "the same command with --set gate.looks=1 judges the 100 items left" in steps[-1]
        steps = Outcome(record, run, None, run.recipe_path).next_steps()
        assert "each run once more with --set gate.looks=1 judges the 100" in steps[-1]

    def test_also_without_the_order(self, tmp_path: Path) -> None:
        run = early_run(tmp_path / "run")
        run.looks_path.unlink()
        assert decide_again(run.run_dir).status == "pass"

    def test_items_cannot_be_picked_after_the_fact(self, tmp_path: Path) -> None:
        run, other = early_run(tmp_path / "run"), early_run(tmp_path / "other", taken=3)
        shutil.copy(other.looks_path, run.looks_path)
        with pytest.raises(StoreError, match="items that were decided on at look 2 of 4"):
            decide_again(run.run_dir)

    @pytest.mark.parametrize(
        "how",
        [
            lambda plan: plan.update(order=plan["order"][::-1]),
            lambda plan: plan.update(order=plan["order"][1:]),
            lambda plan: plan.update(sizes=[40, 99, 150, 200]),
            lambda plan: plan.update(sizes=plan["sizes"][:1], tails=plan["tails"][:1]),
            lambda plan: plan.update(tails=[0.05] * 4),
        ],
    )
    def test_another_order_is_found(self, how: Change, tmp_path: Path) -> None:
        run = early_run(tmp_path / "run")
        change(run.looks_path, how)
        with pytest.raises(StoreError, match=r"looks\.json has not the items"):
            decide_again(run.run_dir)

    def test_a_wider_tail_is_found(self, tmp_path: Path) -> None:
        run = early_run(tmp_path / "run")
        run.looks_path.unlink()

        def widen(value: dict[str, Any]) -> None:
            value["comparison"]["look"]["tail"] = 0.3

        change(run.report_path("json"), widen)
        run.comparison_path.unlink()
        with pytest.raises(StoreError, match="they were changed after the round"):
            decide_again(run.run_dir)

    def test_another_margin_than_the_recipes_is_found(self, tmp_path: Path) -> None:
        run = early_run(tmp_path / "run")
        record = read_record(run.run_dir)
        assert record.comparison
        gate = record.recipe.gate.model_copy(update={"margin": 3.9})
        looser = decide(record.comparison, gate, record.decision.rules[:0])
        write_run(run.run_dir, record.model_copy(update={"decision": looser}))
        with pytest.raises(StoreError, match="they were changed after the round"):
            decide_again(run.run_dir)


def rich_run(run_dir: Path) -> Run:
    """Two samples of each answer with weighted scores, items in clusters of four."""
    items = [
        item.model_copy(update={"cluster": f"sheet {n // 4}"})
        for n, item in enumerate(make_items(80, ("a", "b")))
    ]
    gate = Gate.model_validate(
        {
            "baseline": "prod",
            "scores": "expected",
            "thresholds": ["mean >= 3.0", "pass_share >= 0.5", "share(score<=2) <= 0.2"],
        }
    )
    generations, verdicts = list[Generation](), list[Verdict]()
    for sample in range(2):
        ours = [(2, 4, 5, 4, 3)[(n + sample) % 5] for n in range(80)]
        answers = records(items, {"candidate": ours, "baseline": [4] * 80})
        generations += [each.model_copy(update={"sample": sample}) for each in answers[0]]
        verdicts += [
            each.model_copy(update={"sample": sample, "expected": each.score - 0.25})
            for each in answers[1]
            if each.score
        ]
    made = make_record()
    comparison = compare_records(items, generations, verdicts, gate)
    found = {
        "recipe": made.recipe.model_copy(update={"gate": gate}),
        "items": tuple(items),
        "generations": tuple(generations),
        "verdicts": tuple(verdicts),
        "comparison": comparison,
        "decision": decide(comparison, gate),
    }
    return write_run(run_dir, made.model_copy(update=found))


class TestRich:
    @pytest.mark.parametrize("expected", ["NaN", "Infinity"])
    def test_a_score_that_is_no_number_is_refused(self, expected: str, tmp_path: Path) -> None:
        run = rich_run(tmp_path / "run")
        path = run.report_path("json")
        path.write_text(path.read_text().replace('"expected": 4.75', f'"expected": {expected}', 1))
        with pytest.raises(StoreError, match="expected: Input should be a finite number"):
            decide_again(run.run_dir)

    def test_it_is_decided_again(self, tmp_path: Path) -> None:
        run = rich_run(tmp_path / "run")
        comparison = read_record(run.run_dir).comparison
        assert comparison is not None
        assert comparison.cluster_by == "cluster"
        assert comparison.spread is not None
        assert comparison.pairs[0].candidate_scores == (2, 4)
        assert decide_again(run.run_dir) == read_record(run.run_dir).decision

    @pytest.mark.parametrize(
        "how",
        [
            lambda value: value["verdicts"][-1].update(expected=4.5),
            lambda value: value["verdicts"][-1].update(score=3),
            lambda value: value["items"][0].update(cluster="sheet 7"),
            lambda value: value["generations"].pop(),
            lambda value: value["decision"]["gate"].update(cluster=False),
            lambda value: value["decision"]["gate"].update(scores="whole"),
            lambda value: value["comparison"]["spread"].update(prompt=0.5),
            lambda value: value["comparison"]["pairs"][0].update(candidate_scores=[4, 4]),
        ],
    )
    def test_a_change_is_found(self, how: Change, tmp_path: Path) -> None:
        run = rich_run(tmp_path / "run")
        run.decision_path.unlink()
        run.comparison_path.unlink()
        change(run.report_path("json"), how)
        with pytest.raises((StoreError, DataError)):
            decide_again(run.run_dir)


class TestChanged:
    def test_a_file_that_says_something_else_than_the_record(self, tmp_path: Path) -> None:
        run = early_run(tmp_path / "run")
        change(run.decision_path, lambda value: value.update(status="fail"))
        with pytest.raises(StoreError, match=r"decision\.json: says something else than"):
            decide_again(run.run_dir)

    def test_a_comparison_that_says_something_else(self, tmp_path: Path) -> None:
        run = early_run(tmp_path / "run")
        change(run.comparison_path, lambda value: value.update(alpha=0.1))
        with pytest.raises(StoreError, match=r"comparison\.json: says something else than"):
            decide_again(run.run_dir)

    def test_a_gate_with_keys_unknown_here(self, tmp_path: Path) -> None:
        run = early_run(tmp_path / "run")
        run.decision_path.unlink()
        change(run.report_path("json"), lambda value: value["decision"]["gate"].update(patience=3))
        with pytest.raises(StoreError, match=r"report\.json: decision\.gate\.patience: Extra"):
            decide_again(run.run_dir)

    def test_a_refusal_stays_one(self, tmp_path: Path) -> None:
        record = make_record()
        names = {"candidate": "new", "baseline": "old", "evalset": "s@1", "judge": "j@1"}
        refused = refuse("served tokens differ", **names, gate=Gate())
        record = record.model_copy(update={"comparison": None, "decision": refused})
        assert decide_again(write_run(tmp_path / "run", record).run_dir) == refused
        passed = refused.model_copy(update={"status": "pass", "rules": ()})
        run = write_run(tmp_path / "other", record.model_copy(update={"decision": passed}))
        with pytest.raises(StoreError, match="they were changed after the round"):
            decide_again(run.run_dir)
