"""Whom a recipe asks: targets, baseline and candidate, looked up in a store of real versions."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.errors import EndpointError, HarnessError
from harness.plan import Plan, plan_evaluation
from harness.pocket import JUDGE_DIR
from harness.progress import Reporter
from harness.question import open_question
from harness.recipe import Budget, Fitness, Judge, JudgeModel, load
from harness.sides import Sides, check_names, choose_sides, require_candidate
from harness.store import Store
from tests.workbench import write_recipe

SHOTS = [{"user": "2 + 2?", "assistant": "4"}]


class Desk:
    """A store with one version, aliased, and recipes with such targets."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, Store(folder / "home")
        self.version = self.store.import_version(JUDGE_DIR)
        self.store.move_alias("old", self.version, at="2030", decision=None, run=None, override="x")

    def plan(self, targets: dict[str, Any], baseline: str = "base", **settings: Any) -> Plan:
        asked = {"evalset": "evalset", "targets": targets, **settings}
        gate = {"baseline": baseline}
        return plan_evaluation(load(write_recipe(self.folder, n_items=7, eval=asked, gate=gate)))

    def sides(self, plan: Plan, candidate: str | None = None) -> Sides:
        check_names(plan, self.store)
        with Reporter(Console(file=io.StringIO())) as reporter:
            return choose_sides(plan, self.store, candidate or self.version, reporter)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_an_evaluation_is_planned_without_the_training_data(desk: Desk) -> None:
    plan = desk.plan({})
    (desk.folder / "train.jsonl").unlink()
    again = plan_evaluation(plan.loaded)
    assert (again.serving, again.evalset, again.base) == (plan.serving, plan.evalset, plan.base)


def test_aliases_stand_for_versions_and_the_recipes_system_prompt_holds(desk: Desk) -> None:
    targets = {
        "few": {"model": "base", "shots": SHOTS},
        "told": {"model": "old", "system": "Be brief."},
        "bare": {"model": desk.version, "system": ""},
    }
    few, told, bare = desk.sides(desk.plan(targets, system="Be kind.")).targets
    assert [(each.role, each.name, each.model) for each in (few, told, bare)] == [
        ("other", "few", "pocket"),
        ("other", "told", desk.version),
        ("other", "bare", desk.version),
    ]
    assert [each.system for each in (few, told, bare)] == ["Be kind.", "Be brief.", None]
    assert [(each.role, each.content) for each in few.shots] == [
        ("user", "2 + 2?"),
        ("assistant", "4"),
    ]


def test_versions_among_the_targets_are_served_and_probed(desk: Desk) -> None:
    other = "bot@" + "1" * 12
    sides = desk.sides(desk.plan({"old-one": {"model": "old"}, "few": {"model": "base"}}), other)
    assert sides.versions == [other, desk.version]
    assert sides.fixed == [desk.version]


def test_a_target_is_the_baseline_where_the_gate_names_it(desk: Desk) -> None:
    sides = desk.sides(desk.plan({"few": {"model": "base", "shots": SHOTS}}, baseline="few"))
    assert sides.baseline == "few"
    assert [each.role for each in sides.targets] == ["baseline"]
    assert sides.versions == [desk.version]


@pytest.mark.parametrize(
    ("targets", "baseline", "message"),
    [
        ({"a": {"model": "nobody"}}, "base", "eval.targets.a.model: no alias 'nobody'"),
        ({"a": {"model": "bot@" + "1" * 12}}, "base", "eval.targets.a.model: no version"),
        ({"old": {"model": "base"}}, "base", "eval.targets.old: this is an alias in the store too"),
        ({"pocket": {"model": "base"}}, "base", "eval.targets.pocket: this is the base's name too"),
        ({"few": {"model": "base"}}, "fewer", "gate.baseline = 'fewer': no target of that name"),
        ({"a": {"model": "m", "endpoint": "nowhere"}}, "base", "endpoint 'nowhere' is not a URL"),
    ],
)
def test_what_cannot_be_asked_is_named(
    desk: Desk, targets: dict[str, Any], baseline: str, message: str
) -> None:
    with pytest.raises(HarnessError) as caught:
        check_names(desk.plan(targets, baseline), desk.store)
    assert message in str(caught.value)


def test_a_target_elsewhere_needs_its_key(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"model": "gpt@x", "endpoint": "http://127.0.0.1:9", "api_key_env": "BIG_KEY"}
    plan = desk.plan({"big": asked})
    with pytest.raises(
        EndpointError, match=r"eval\.targets\.big\.api_key_env = 'BIG_KEY': not set"
    ):
        check_names(plan, desk.store)
    monkeypatch.setenv("BIG_KEY", "k")
    sides = desk.sides(plan)
    assert (sides.targets[0].endpoint, sides.targets[0].model) == (asked["endpoint"], "gpt@x")
    assert "gpt@x" not in sides.versions


def test_shots_that_the_template_refuses_are_found_before_anything_is_spent(desk: Desk) -> None:
    strict = "{% if messages | length > 1 %}{{ raise_exception('one at a time') }}{% endif %}"
    (desk.folder / "strict.jinja").write_text(strict + "{{ messages[0].content }}")
    loaded = desk.plan({"few": {"model": "base", "shots": SHOTS}}).loaded
    chat = loaded.recipe.chat.model_copy(update={"template": "strict.jinja"})
    recipe = loaded.recipe.model_copy(update={"chat": chat})
    with pytest.raises(HarnessError, match=r"eval\.targets\.few: .*one at a time"):
        check_names(plan_evaluation(loaded._replace(recipe=recipe)), desk.store)


def test_a_judge_that_is_there_twice_is_named(desk: Desk) -> None:
    judging = Judge(panel=(JudgeModel(), JudgeModel(temperature=0.5), JudgeModel(concurrency=2)))
    plan = desk.plan({})
    recipe = plan.recipe.model_copy(update={"judge": judging})
    twice = replace(plan, loaded=plan.loaded._replace(recipe=recipe))
    with pytest.raises(HarnessError, match=r"judge\.panel\.0: the same judge as judge, ") as said:
        check_names(twice, desk.store)
    assert "judge.repeats" in str(said.value.hint)


def test_a_larger_budget_resumes_the_same_run_and_anything_else_opens_another(desk: Desk) -> None:
    """A run that did not know what it spent would spend its whole budget again."""
    plan = desk.plan({})

    def run_id(**judge: Any) -> str:
        judging = plan.recipe.judge.model_copy(update=judge)
        recipe = plan.recipe.model_copy(update={"judge": judging})
        changed = replace(plan, loaded=plan.loaded._replace(recipe=recipe))
        return open_question(changed, desk.store, desk.sides(changed), "q").run_id

    assert run_id() == run_id(budget=Budget(calls=5)) == run_id(budget=Budget(money=1.0))
    assert run_id() != run_id(fitness=Fitness(probes=5))
    assert run_id() != run_id(max_tokens=5)


def test_a_candidate_of_another_base_is_refused(desk: Desk) -> None:
    plan = desk.plan({})
    require_candidate(plan, desk.store, desk.version)
    other = Plan(**{**vars(plan), "base": plan.base.model_copy(update={"weights": "0" * 64})})
    with pytest.raises(HarnessError, match="--candidate: one server cannot serve"):
        require_candidate(other, desk.store, desk.version)
