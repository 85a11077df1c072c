"""Every round and change in its order, also where half of the store is lost."""

from __future__ import annotations

import json
import shutil

import pytest

from harness.errors import StoreError
from harness.history.memory import remember
from harness.history.rounds import Round
from harness.history.series import sparkline
from harness.jsonio import read_json, write_json
from harness.release.attempts import BURNED_AFTER
from harness.release.promote import rollback
from harness.run import Run
from harness.store import AliasChange
from tests.history.build import FINE, NONE, WORSE, Past


def test_a_round_is_told_from_recipe_to_alias(past: Past) -> None:
    made = past.round("1", moves=True)
    found = remember(past.store, "prod")
    [each] = found.rounds
    assert (each.at, each.by, each.run) == (made.at, "me@here", "bot-1")
    assert (each.candidate, each.baseline, each.alias) == (made.version, "pocket", "prod")
    assert (each.evalset, each.judge) == ("set@" + "e" * 12, "judge@" + "d" * 12)
    assert each.lineage
    assert each.lineage.dump() == {"recipe": "bot@r", "data": "d", "n_rows": 1, "parent": None}
    assert (each.decision, each.status, each.ships) == (made.decision, "pass", True)
    assert each.rule
    assert each.rule.startswith("mean difference 0.00, lower bound")
    assert each.scores
    assert (each.scores.candidate, each.scores.baseline, each.scores.n_items) == (4.0, 4.0, 100)
    assert (each.attempt, each.moved, each.lost) == (1, ("prod",), ())
    assert found.changes == []
    assert found.problems == []


def test_rounds_and_changes_are_in_order_and_an_override_stands_alone(past: Past) -> None:
    one = past.round("1", moves=True)
    two = past.round("2", WORSE, baseline=one.version)
    past.promote(two.version, override="customer demo")
    rollback(past.store, "prod", past.now())
    three = past.round("3", baseline=one.version, moves=True)
    found = remember(past.store, "prod")
    told = [
        each.candidate if isinstance(each, Round) else (each.override, each.goes_back())
        for each in found.entries()
    ]
    assert told == [
        *(one.version, two.version, ("customer demo", False), (None, True), three.version)
    ]
    assert [each.attempt for each in found.rounds] == [1, 1, 2]
    assert [each.moved for each in found.rounds] == [("prod",), (), ("prod",)]
    assert [each.version for each in found.stays if each.serves] == [three.version]


def test_a_move_by_hand_is_an_entry_of_its_own(past: Past) -> None:
    made = past.round("1")
    past.promote(made.version)
    found = remember(past.store, "prod")
    [change] = found.changes
    assert (change.decision, change.version) == (made.decision, made.version)
    assert [each.moved for each in found.rounds] == [()]


def test_a_round_repeated_is_told_once(past: Past) -> None:
    made = past.round("1")
    decision = past.store.decision(made.decision)
    assert decision
    past.store.record(decision, at=past.now(), run=made.run)
    [each] = remember(past.store, None).rounds
    assert each.at == made.at


def test_an_alias_has_its_own_rounds_only(past: Past) -> None:
    one = past.round("1", moves=True)
    past.round("2", gate_baseline="staging")
    against = past.round("3", baseline=one.version, gate_baseline=one.version)
    assert len(remember(past.store, None).rounds) == 3
    found = [each.candidate for each in remember(past.store, "prod").rounds]
    assert found == [one.version, against.version]


def test_an_alias_that_never_was_has_its_rounds_all_the_same(past: Past) -> None:
    past.round("1", WORSE)
    assert len(remember(past.store, "prod").rounds) == 1
    with pytest.raises(StoreError, match="no alias 'prd'"):
        remember(past.store, "prd")


def test_an_attempt_without_a_decision_is_told(past: Past) -> None:
    past.attempt("bot-1", "bot@" + "1" * 12)
    past.attempt("bot-2", "bot@" + "2" * 12)
    write_json(past.store.home / "runs" / "bot-2" / "sweep.json", {})
    first, second = remember(past.store, None).rounds
    assert (first.status, first.rule) == (None, "no decision: under way or interrupted")
    assert first.lost == ("its run bot-1 is gone",)
    assert (second.rule, second.lost, second.attempt) == (
        *("ranked in a sweep, not decided", (), 2),
    )


def test_without_its_run_a_round_has_what_the_decision_says(past: Past) -> None:
    made = past.round("1")
    shutil.rmtree(past.store.home / "runs")
    [each] = remember(past.store, None).rounds
    assert each.lost == (f"its run {made.run} is gone",)
    assert each.scores
    assert (each.scores.candidate, each.scores.difference) == (None, 0.0)
    assert each.status == "pass"


def test_without_version_and_decision_the_run_tells(past: Past) -> None:
    made = past.round("1")
    (past.store.decisions_dir / f"{made.decision}.json").unlink()
    shutil.rmtree(past.store.adapters_dir)
    [each] = remember(past.store, None).rounds
    assert each.lost == ()
    assert each.lineage
    assert each.lineage.recipe == "bot@r"
    assert each.baseline == "pocket"


def test_without_all_of_them_the_log_still_names_it(past: Past) -> None:
    made = past.round("1")
    for folder in (past.store.home / "runs", past.store.adapters_dir):
        shutil.rmtree(folder)
    (past.store.decisions_dir / f"{made.decision}.json").write_text("{")
    [each] = remember(past.store, None).rounds
    assert each.lost == (f"its run {made.run} is gone", f"its decision {made.decision} is gone")
    assert (each.candidate, each.status, each.ships) == (made.version, "pass", False)
    assert (each.scores, each.lineage, each.baseline) == (None, None, None)


def test_a_decision_that_no_log_names_is_found_in_its_run(past: Past) -> None:
    made = past.round("1")
    past.store.ledger_path.unlink()
    [each] = remember(past.store, None).rounds
    assert each.lost == ("not in the store's log of decisions",)
    assert (each.at, each.decision, each.status) == (made.at, made.decision, "pass")


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"overall": 1}'])
def test_a_damaged_comparison_is_said(past: Past, damage: str) -> None:
    made = past.round("1")
    Run(past.store.home / "runs" / made.run).comparison_path.write_text(damage)
    [each] = remember(past.store, None).rounds
    assert len(each.lost) == 1
    assert each.scores
    assert each.scores.candidate is None


def test_scores_of_another_decision_are_not_taken(past: Past) -> None:
    made = past.round("1")
    path = Run(past.store.home / "runs" / made.run).comparison_path
    value = read_json(path)
    value["overall"]["candidate"]["mean"] = 5.0
    write_json(path, value)
    [each] = remember(past.store, None).rounds
    assert each.lost == ("its run holds a later comparison",)
    assert each.scores
    assert each.scores.candidate is None


def test_where_else_a_round_failed_is_named(past: Past) -> None:
    past.round("1", WORSE, thresholds=["mean >= 4.0", "min >= 4"])
    [each] = remember(past.store, None).rounds
    assert each.rule
    assert each.rule.startswith("mean difference −1.00")
    assert each.also == ("slice all", "mean >= 4.0", "min >= 4")


def test_lines_that_cannot_be_read_are_named(past: Past) -> None:
    past.round("1", moves=True)
    store = past.store
    for path in (store.ledger_path, store.attempts.path, store.log_path):
        path.write_bytes(path.read_bytes() + b'{"half')
    found = remember(store, "prod")
    assert len(found.rounds) == 1
    assert found.problems == [
        f"line 2 of {path} cannot be read"
        for path in (store.ledger_path, store.attempts.path, store.log_path)
    ]


def test_what_the_recipe_let_through_is_said(past: Past) -> None:
    past.round("1", ([4] * 10, [4] * 10), on_inconclusive="allow")
    [each] = remember(past.store, None).rounds
    assert (each.status, each.ships) == ("inconclusive", True)
    assert each.let_through == ("INCONCLUSIVE, LET THROUGH BY gate.on_inconclusive: allow",)


def test_means_over_rounds_leave_out_what_is_no_evidence(past: Past) -> None:
    for weights, scores in (("1", FINE), ("2", WORSE), ("3", NONE)):
        past.round(weights, scores)
    [found] = remember(past.store, None).series
    assert (found.candidates, found.baselines, found.n_untrusted) == ((4.0, 3.0), (4.0, 4.0), 1)


def test_an_evalset_says_how_many_of_its_items_are_burned(past: Past) -> None:
    for number in range(BURNED_AFTER - 1):
        past.round(str(number))
    [use] = remember(past.store, None).uses
    assert (use.n_attempts, use.n_items, use.n_burned) == (BURNED_AFTER - 1, 3, 0)
    past.round("last")
    assert remember(past.store, None).uses[0].n_burned == 3


def test_an_empty_store_has_no_past(past: Past) -> None:
    found = remember(past.store, None)
    assert (found.rounds, found.changes, found.stays, found.problems) == ([], [], [], [])
    assert not past.store.home.exists()


def test_the_dump_is_plain_json(past: Past) -> None:
    past.round("1", moves=True)
    value = remember(past.store, "prod").dump()
    assert json.loads(json.dumps(value)) == value
    assert isinstance(remember(past.store, None).entries()[0], Round | AliasChange)


@pytest.mark.parametrize(
    ("values", "shown"),
    [([], ""), ([3.0], "▁"), ([1.0, 5.0, 3.0], "▁█▅"), ([4.0, 4.05, 4.1], "▁▁▂")],
)
def test_a_sparkline_is_flat_where_means_hardly_differ(values: list[float], shown: str) -> None:
    assert sparkline(values) == shown
