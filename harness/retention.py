"""Does the candidate still do what the base could? The round's steps on a second evalset.

The candidate is held against the base itself, by the same judge on the same server, and the result
is one more rule of the gate. Its records are a run within the run.
"""

from __future__ import annotations

from dataclasses import replace

from harness import jsonio, scoring
from harness.evidence import Evidence, compared, gather
from harness.looking import draw
from harness.plan import Plan
from harness.progress import Reporter
from harness.release.rules import retained
from harness.run import Run, write_records
from harness.sides import Sides, judge_identities
from harness.store import Store
from harness.types import Comparison, LookPlan, RuleResult


async def ask(
    plan: Plan,
    store: Store,
    sides: Sides,
    run: Run,
    found: Evidence,
    endpoint: str,
    reporter: Reporter,
) -> Evidence:
    """`found` with the retention evalset's rule and calls added; as it is where there is none."""
    if plan.retention is None:
        return found
    inner = inner_run(run)
    general = replace(plan, evalset=plan.retention)
    against = sides._replace(
        baseline=plan.base_name,
        judges=judge_identities(general, sides.own_judges),
        targets=(),
    )
    write_records(inner.items_path, general.evalset.items)

    def same_attempt(of: Sides) -> LookPlan | None:
        return draw(general, of, found.looks.attempt, single=True) if found.looks else None

    with reporter.within("retention"):
        more = await gather(general, store, against, inner, endpoint, reporter, begin=same_attempt)
    comparison = compared(general, against, more)
    jsonio.write_json(inner.comparison_path, comparison.dump())
    return found._replace(
        rules=(
            *found.rules,
            *_recalled(inner, plan),
            retained(comparison, plan.recipe.gate),
        ),
        counts={key: n + more.counts[key] for key, n in found.counts.items()},
        complete=found.complete and more.complete,
    )


def recall(plan: Plan, run: Run) -> tuple[RuleResult, ...]:
    """The rules of a run whose retention evalset was judged. Raises OSError or ValueError where
    its records were damaged since."""
    inner = inner_run(run)
    comparison = Comparison.model_validate(jsonio.read_json(inner.comparison_path))
    return (*_recalled(inner, plan), retained(comparison, plan.recipe.gate))


def _recalled(inner: Run, plan: Plan) -> tuple[RuleResult, ...]:
    """The health of the judge on this evalset, whose prompt and answers are others."""
    assert plan.retention, "it was asked"
    rules = scoring.recall(inner, plan.retention, plan.recipe.judge.fitness)
    return tuple(rule.model_copy(update={"rule": f"retention {rule.rule}"}) for rule in rules)


def inner_run(run: Run) -> Run:
    """A run within the run, of one purse with it: the budget is of both together."""
    inner = Run(run.run_dir / "retention")
    inner.spending_path = run.spending_path
    return inner
