"""Parts of a round by themselves: a version of the store against the gate, or the judge alone.

The round's steps from serving on, in a run of its own, and so as resumable. Needs none of the data
that a version was trained on, and moves no alias.
"""

from __future__ import annotations

from functools import partial

from harness.errors import EvalsetError
from harness.evaluation.cache import Cache
from harness.evidence import chats_of, own_client
from harness.jsonio import digest, read_json
from harness.outcome import Outcome
from harness.pipeline import Clock, conclude, served, tell_all
from harness.plan import Plan, plan_evaluation
from harness.precision import foretell
from harness.progress import Reporter
from harness.question import open_question, open_run
from harness.recipe import LoadedRecipe
from harness.report.wording import plural
from harness.run import Run
from harness.scoring import score
from harness.sides import (
    Sides,
    check_names,
    choose_candidate,
    choose_judges,
    choose_sides,
    require_candidate,
)
from harness.store import Store
from harness.types import JudgeHealth


def evaluate(
    loaded: LoadedRecipe,
    store: Store,
    reporter: Reporter,
    *,
    candidate: str | None,
    clock: Clock,
) -> Outcome:
    """Compare `candidate` (a version or an alias) with gate.baseline and decide. None: the only
    or the latest version of the recipe's name, else what the alias gate.baseline serves.

    Raises HarnessError for anything a user can cause.
    """
    reporter.stage("check")
    plan = plan_evaluation(loaded)
    check_names(plan, store)
    version, why = choose_candidate(plan, store, candidate)
    require_candidate(plan, store, version)
    items = plural(len(plan.evalset.items), "item")
    reporter.done(f"{items} of {plan.evalset.label} for {version}{why}")
    foretell(plan, store, reporter)
    sides = choose_sides(plan, store, version, reporter)
    run = open_question(plan, store, sides, f"{plan.recipe.name}-eval")
    record = conclude(plan, store, sides, run, reporter, counts={}, clock=clock)
    tell_all(store, reporter)
    return Outcome(record, run, None, loaded.path)


def examine_judge(loaded: LoadedRecipe, store: Store, reporter: Reporter) -> JudgeHealth:
    """Show the recipe's judges answers of known worth; health.json of the run has it too.

    Raises HarnessError for anything a user can cause.
    """
    reporter.stage("check")
    plan = plan_evaluation(loaded)
    if not plan.evalset.judge_prompt or not plan.recipe.judge.fitness.probes:
        raise EvalsetError(
            f"{plan.evalset.label}: nothing to examine: "
            + ("judge.fitness.probes is 0" if plan.evalset.judge_prompt else "it has no judge")
        )
    sides = choose_judges(plan, store)
    question = [sides.judge, plan.evalset.digest, plan.recipe.judge.fitness.probes, plan.serving]
    run = open_run(plan, store, f"{plan.recipe.name}-judge-{digest(question)[:12]}")
    reporter.done(f"{sides.judge} on {plan.evalset.label}")
    served(plan, store, sides, run, reporter, partial(_examined, plan, store, sides, run))
    return JudgeHealth.model_validate(read_json(run.health_path))


async def _examined(
    plan: Plan, store: Store, sides: Sides, run: Run, endpoint: str, reporter: Reporter
) -> None:
    with Cache(store.home / "cache.sqlite") as cache:
        async with own_client(plan, endpoint) as client:
            chats = chats_of(plan, store, sides)
            await score(
                plan, sides, run, (), chats=chats, client=client, cache=cache, reporter=reporter
            )
