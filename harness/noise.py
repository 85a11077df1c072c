"""The noise floor: a version against itself, asked and judged anew on each side.

Whatever differs is noise of sampling, serving and judging, and no candidate can be told from its
baseline by less. Twice as many samples are asked as in a round, a half of them for each side, so
that both have seeds of their own; so have the judges' opinions of the second side. Takes no answer
and no verdict from the store's cache and leaves none there. Decides nothing.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from harness.chat.template import ChatTokenizer
from harness.evaluation.cache import Cache
from harness.evaluation.client import Client
from harness.evaluation.generate import generate
from harness.evaluation.judging.budget import Purse, cost_line
from harness.evaluation.judging.verdicts import judge
from harness.evidence import chats_of, own_client
from harness.pipeline import Clock, served
from harness.plan import Plan, plan_evaluation
from harness.precision import last_tail
from harness.progress import Reporter
from harness.recipe import Gate, LoadedRecipe
from harness.release import stats
from harness.release.compare import OVERALL, compare
from harness.release.looks import alpha_of
from harness.release.precision import PRIOR_CORRELATION, Group
from harness.report.wording import plural
from harness.run import Run, write_records
from harness.scoring import checked, seats_of, without_call
from harness.sides import Sides, choose_candidate, choose_judges, require_candidate
from harness.store import Store
from harness.store.floors import floor_dir, keep_floor
from harness.types import Comparison, Generation, Look, NoiseFloor, Spending, Target, Verdict

_CACHE = "cache.sqlite"
"""In the measurement's own folder; it lives until the measurement is complete, so that the same
command goes on with one that was interrupted, and measures anew after one that was not."""


def measure_noise(
    loaded: LoadedRecipe,
    store: Store,
    reporter: Reporter,
    *,
    candidate: str | None,
    clock: Clock,
) -> NoiseFloor:
    """Compare `candidate` (a version or an alias) with itself, and keep the floor in the store
    unless calls failed, which the same command then asks again. None: as `choose_candidate` does.

    Raises HarnessError for anything a user can cause.
    """
    reporter.stage("check")
    plan = plan_evaluation(loaded)
    version, why = choose_candidate(plan, store, candidate)
    require_candidate(plan, store, version)
    sides = choose_judges(plan, store)._replace(candidate=version, baseline=version)
    question = [version, plan.evalset.digest, sides.judge, plan.recipe.digest(), plan.serving]
    run = Run(floor_dir(store, question, plan.recipe.name))
    items = plural(len(plan.evalset.items), "item")
    reporter.done(f"{items} of {plan.evalset.label} for {version}{why}, against itself")
    with run.held(reporter.note):
        found = served(
            plan, store, sides, run, reporter, partial(_measured, plan, store, sides, run)
        )
        floor = _floor(plan, found.comparison, clock().isoformat(timespec="seconds"))
        if found.n_faults:
            lost = plural(found.n_faults, "call")
            reporter.note(f"  {lost} failed: not kept; the same command asks them again", "red")
            return floor
        keep_floor(run.run_dir, floor)
        _forget(run)
    return floor


def supported_margin(floor: NoiseFloor, gate: Gate) -> float | None:
    """The smallest margin that the version itself, as a candidate, would pass 8 times in 10 at the
    gate's last look; a real candidate's answers differ more. None where nothing was compared, or in
    too few clusters, whose agreement is taken as usual."""
    found = floor.difference
    if found.sd is None:
        return None
    n, others = found.n_pairs, 0.0
    if found.n_clusters:
        others = n / found.n_clusters - 1
    design, changed = 1 + PRIOR_CORRELATION * others, (n - found.n_identical) / n
    n_looks = 1 if gate.calibration else gate.looks
    tail = stats.obf_tails(alpha_of(gate, 1), n_looks)[-1]
    group = Group(OVERALL, n, found.n_clusters, found.sd, design, changed)
    return group.smallest_margin(n, tail)


class _Measured(NamedTuple):
    comparison: Comparison
    n_faults: int
    """Calls that brought no answer."""


async def _measured(
    plan: Plan, store: Store, sides: Sides, run: Run, endpoint: str, reporter: Reporter
) -> _Measured:
    with Cache(run.run_dir / _CACHE) as cache:
        async with own_client(plan, endpoint) as client:
            chats = chats_of(plan, store, sides)
            bench = _Bench(plan, sides, chats, client, cache, reporter)
            answers, n_lost = await bench.answers()
            write_records(run.generations_path, answers)
            verdicts, n_unheard = await bench.verdicts(answers)
            write_records(run.verdicts_path, verdicts)
    comparison = compare(
        plan.evalset.items,
        answers,
        verdicts,
        candidate=sides.candidate,
        baseline=sides.baseline,
        evalset=plan.evalset.label,
        judge=sides.judge,
        gate=plan.recipe.gate,
        look=_last_look(plan),
    )
    return _Measured(comparison, n_lost + n_unheard)


def _last_look(plan: Plan) -> Look:
    """All items, with the bounds that a round's last look would have."""
    n_items, tail = len(plan.evalset.items), last_tail(plan.evalset, plan.recipe.gate, 1)
    return Look(number=1, of=1, n_planned=n_items, tail=tail)


class _Bench(NamedTuple):
    """All that asking and judging need."""

    plan: Plan
    sides: Sides
    chats: Mapping[str, ChatTokenizer]
    client: Client
    cache: Cache
    reporter: Reporter

    async def answers(self) -> tuple[list[Generation], int]:
        """Both sides' answers, and how many calls failed: the first half of the samples is the
        candidate's, the second the baseline's."""
        settings, items = self.plan.recipe.eval, self.plan.evalset.items
        n_own = settings.samples
        self.reporter.stage("generate", 2 * n_own * len(items), "answers")
        generated = await generate(
            items,
            [Target(role="candidate", model=self.sides.candidate, system=settings.system)],
            chats=self.chats,
            serving=self.plan.serving,
            settings=settings.model_copy(update={"samples": 2 * n_own}),
            max_context=self.plan.max_context,
            client=self.client,
            cache=self.cache,
            advance=self.reporter.advance,
            recalled=self.reporter.recalled,
        )
        self.reporter.done(f"{len(generated.records)} answers, a half of them for each side")
        ours = [each for each in generated.records if each.sample < n_own]
        theirs = [
            each.model_copy(update={"role": "baseline", "sample": each.sample - n_own})
            for each in generated.records
            if each.sample >= n_own
        ]
        return [*ours, *theirs], generated.n_faults

    async def verdicts(self, answers: Sequence[Generation]) -> tuple[list[Verdict], int]:
        """Verdicts in the order of `answers`, and how many calls failed. The second side's opinions
        count on from the first's, so that equal answers are judged twice."""
        settings, found, n_faults = self.plan.recipe.judge, list[Verdict](), 0
        half = len(answers) // 2
        purse = Purse(settings.budget, keep=self._paid)
        self.reporter.stage("judge", len(answers), "answers")
        async with contextlib.AsyncExitStack() as stack:
            seats = await seats_of(self.plan, self.sides, self.chats, self.client, stack)
            for side, first in ((answers[:half], 0), (answers[half:], settings.repeats)):
                judged = await judge(
                    self.plan.evalset.items,
                    side,
                    seats,
                    repeats=settings.repeats,
                    cache=self.cache,
                    purse=purse,
                    advance=self.reporter.advance,
                    recalled=self.reporter.recalled,
                    settled=without_call(self.plan, side, await checked(self.plan, side, stack)),
                    first_repeat=first,
                )
                found += judged.records
                n_faults += judged.n_faults
        self.reporter.done(f"{len(found)} verdicts, {plural(purse.spent.calls, 'call')}")
        return found, n_faults

    def _paid(self, spent: Spending) -> None:
        self.reporter.tell(cost=cost_line(spent))


def _floor(plan: Plan, comparison: Comparison, made_at: str) -> NoiseFloor:
    judged = [
        pair.candidate - pair.baseline
        for pair in comparison.pairs
        if pair.candidate is not None and pair.baseline is not None
    ]
    mean = math.fsum(judged) / len(judged) if judged else None
    sd = None
    if mean is not None and len(judged) > 1:
        sd = math.sqrt(math.fsum((each - mean) ** 2 for each in judged) / (len(judged) - 1))
    return NoiseFloor(
        version=comparison.candidate,
        evalset=comparison.evalset,
        judge=comparison.judge,
        made_at=made_at,
        n_samples=plan.recipe.eval.samples,
        temperature=plan.recipe.eval.temperature,
        difference=comparison.overall.difference,
        judged_mean=mean,
        judged_sd=sd,
    )


def _forget(run: Run) -> None:
    """The measurement is complete: the next is made anew."""
    for name in (_CACHE, f"{_CACHE}-wal", f"{_CACHE}-shm"):
        (run.run_dir / name).unlink(missing_ok=True)
