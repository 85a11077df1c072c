"""Step seven of a round: what each answer is worth, and whether whoever says so is fit to.

In this order: the guard against degenerate answers and the items' own checks, which need no call;
then the judges, look by look; then the judges' health, on answers whose worth is known. Writes the
records as each part ends. Knows nothing of margins, of what passes or of when it is enough.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from harness import jsonio
from harness.chat.template import ChatTokenizer
from harness.evaluation.access import key_from_env
from harness.evaluation.cache import Cache
from harness.evaluation.checks import Embed, run_checks, settled
from harness.evaluation.client import Client
from harness.evaluation.evalset import Evalset
from harness.evaluation.judging.ask import Seat
from harness.evaluation.judging.budget import Purse, cost_line
from harness.evaluation.judging.guards import guard
from harness.evaluation.judging.health import examine, health_rules
from harness.evaluation.judging.pairwise import Preferences, prefer
from harness.evaluation.judging.stepwise import IsEnough, Judged, judge_by_look
from harness.evaluation.judging.verdicts import Verdicts, judge, texts_of
from harness.evaluation.measures import measure
from harness.plan import Plan
from harness.progress import Reporter
from harness.recipe import Embeddings, Fitness, Judge, JudgeModel
from harness.run import Run, write_records
from harness.sides import Sides
from harness.types import (
    CheckResult,
    Generation,
    Item,
    JudgeHealth,
    LookPlan,
    RuleResult,
    Spending,
    Verdict,
)


class Scored(NamedTuple):
    """Verdicts in the order of the generations, and what is known of who gave them."""

    verdicts: Sequence[Verdict]
    """Of all answers, or of those to the items that were judged until it was enough."""
    rules: tuple[RuleResult, ...]
    """The judges' health, as rules of the gate."""
    n_calls: int
    """Of judges, their examination included."""
    n_from_cache: int
    n_faults: int
    """Calls that brought no answer; asking again may help."""
    looks: LookPlan | None
    """With the look that decided."""


def never(looks: LookPlan, verdicts: Sequence[Verdict]) -> bool:
    """Judge all there is."""
    return False


async def score(
    plan: Plan,
    sides: Sides,
    run: Run,
    generations: Sequence[Generation],
    *,
    chats: Mapping[str, ChatTokenizer],
    client: Client,
    cache: Cache,
    reporter: Reporter,
    looks: LookPlan | None = None,
    is_enough: IsEnough = never,
) -> Scored:
    """Score the answers, by `looks` until `is_enough`. `client`: of the round's own server. Raises
    BudgetSpent where the judge's budget ends before its work; the same command goes on once it is
    raised."""
    settings, items = plan.recipe.judge, plan.evalset.items
    reporter.stage("judge", len(generations), "answers")
    purse = Purse(settings.budget, _spent(run), partial(_paid, run, reporter))
    n_before = purse.spent.calls
    async with contextlib.AsyncExitStack() as stack:
        results = await checked(plan, generations, stack)
        seats = await seats_of(plan, sides, chats, client, stack)
        bench = _Bench(items, seats, settings, cache, purse, reporter)
        free = without_call(plan, generations, results)
        enough = _telling(is_enough, reporter)
        judged = await judge_by_look(generations, free, bench.judge, looks, enough)
        answers = [generations[place] for place in judged.places]
        verdicts = [
            each.model_copy(update={"checks": results[place]}) if results[place] else each
            for place, each in zip(judged.places, judged.verdicts, strict=True)
        ]
        write_records(run.verdicts_path, verdicts)
        write_records(run.measures_path, measure(items, generations))
        if generations:
            reporter.done(_line(judged))
        preferred = await bench.prefer(answers)
        if preferred.records:
            write_records(run.preferences_path, preferred.records)
        n_faults = judged.n_faults + preferred.n_faults
        scored = Scored(verdicts, (), 0, judged.n_from_cache, n_faults, judged.looks)
        if plan.evalset.judge_prompt:
            health = await bench.examine(answers, verdicts, preferred)
            scored = _with_health(scored, run, health, settings, reporter)
    return scored._replace(n_calls=purse.spent.calls - n_before)


class _Bench(NamedTuple):
    """The judges, and what every question to them needs."""

    items: Sequence[Item]
    seats: Sequence[Seat]
    settings: Judge
    cache: Cache
    purse: Purse
    reporter: Reporter

    async def judge(
        self, generations: Sequence[Generation], *, settled: Mapping[int, Verdict]
    ) -> Verdicts:
        self.reporter.free(len(settled), "without a judge")
        return await judge(
            self.items,
            generations,
            self.seats,
            repeats=self.settings.repeats,
            cache=self.cache,
            purse=self.purse,
            advance=self.reporter.advance,
            recalled=self.reporter.recalled,
            unscored=partial(self.reporter.count, what="unscored"),
            settled=settled,
        )

    async def prefer(self, answers: Sequence[Generation]) -> Preferences:
        """Which of two answers, for some of those that were judged."""
        pairs = _pairs(answers, self.settings.pairwise)
        if pairs:
            self.reporter.stage("pairs", len(pairs), "pairs")
        preferred = await prefer(
            self.items,
            pairs,
            self.seats[0],
            cache=self.cache,
            purse=self.purse,
            advance=self.reporter.advance,
        )
        if pairs:
            n_flipped = sum(each.flipped for each in preferred.records)
            self.reporter.done(
                f"{len(pairs)} compared in both orders, {n_flipped} depend on the order"
            )
        return preferred

    async def examine(
        self, answers: Sequence[Generation], verdicts: Sequence[Verdict], preferred: Preferences
    ) -> JudgeHealth:
        """Whether the judges are fit to say so."""
        self.reporter.stage("health", unit="answers")
        return await examine(
            self.items,
            answers,
            verdicts,
            self.seats,
            self.settings,
            cache=self.cache,
            purse=self.purse,
            advance=self.reporter.advance,
            expect=self.reporter.expect,
            preferences=preferred.records,
        )


def _with_health(
    scored: Scored, run: Run, health: JudgeHealth, settings: Judge, reporter: Reporter
) -> Scored:
    jsonio.write_json(run.health_path, health.dump())
    rules = health_rules(health, settings.fitness)
    n_unfit = sum(rule.status != "pass" for rule in rules)
    found = f"fit by all {len(rules)} measures"
    if n_unfit:
        found = f"unfit by {n_unfit} of {len(rules)} measures"
    reporter.done(f"{len(health.probes)} probes; {found}")
    return scored._replace(rules=rules, n_faults=scored.n_faults + health.n_faults)


def recall(run: Run, evalset: Evalset, fitness: Fitness) -> tuple[RuleResult, ...]:
    """The rules of a run whose judge was examined. Raises OSError, ValueError or DataError where
    its record was damaged or lost since."""
    if not evalset.judge_prompt:
        return ()
    return health_rules(JudgeHealth.model_validate(jsonio.read_json(run.health_path)), fitness)


async def checked(
    plan: Plan, generations: Sequence[Generation], stack: contextlib.AsyncExitStack
) -> list[tuple[CheckResult, ...]]:
    settings = plan.recipe.eval
    embed = await _embed(settings.embeddings, stack) if settings.embeddings else None
    return await run_checks(
        plan.evalset.items, generations, run_code=settings.run_code, embed=embed
    )


async def _embed(settings: Embeddings, stack: contextlib.AsyncExitStack) -> Embed:
    key = key_from_env(settings.api_key_env, settings.endpoint, "eval.embeddings")
    client = await stack.enter_async_context(Client(settings.endpoint, api_key=key))

    async def embed(texts: Sequence[str]) -> list[list[float]]:
        return await client.embed(settings.model, texts)

    return embed


def without_call(
    plan: Plan, generations: Sequence[Generation], results: Sequence[Sequence[CheckResult]]
) -> dict[int, Verdict]:
    """Index of generation → verdict of the guard, or else of its checks. Of an evalset without a
    judge every answer is there: what a check could not settle is unscored."""
    by_id = {item.id: item for item in plan.evalset.items}
    free = {
        index: verdict
        for index, (each, found) in enumerate(zip(generations, results, strict=True))
        if (verdict := settled(each, by_id[each.item_id], found))
    }
    free |= guard(plan.evalset.items, generations)
    if plan.evalset.judge_prompt:
        return free
    unsettled = {
        index: _unsettled(each, results[index])
        for index, each in enumerate(generations)
        if each.state != "failed"
    }
    return unsettled | free


def _unsettled(generation: Generation, results: Sequence[CheckResult]) -> Verdict:
    skipped = "; ".join(f"{each.kind}: {each.note}" for each in results if each.state == "skipped")
    return Verdict(
        item_id=generation.item_id,
        role=generation.role,
        state="unscored",
        reason=f"its checks did not settle it and the evalset has no judge prompt: {skipped}",
        by="checks",
    )


async def seats_of(
    plan: Plan,
    sides: Sides,
    chats: Mapping[str, ChatTokenizer],
    own_client: Client,
    stack: contextlib.AsyncExitStack,
) -> list[Seat]:
    """Every judge elsewhere has a client of its own, so that a slow endpoint holds up no other."""
    seats = []
    for (key, settings), identity, own in zip(
        plan.recipe.judge.by_key.items(), sides.judges, sides.own_judges, strict=True
    ):
        client = own_client if own else await stack.enter_async_context(_client(key, settings))
        chat = chats[own] if own else None
        seats.append(Seat(identity, settings, client, chat, plan.max_context))
    return seats


def _client(key: str, settings: JudgeModel) -> Client:
    assert settings.endpoint, "one on the round's own server has a name there"
    return Client(
        settings.endpoint,
        api_key=key_from_env(settings.api_key_env, settings.endpoint, key),
        concurrency=settings.concurrency,
        timeout_s=settings.timeout_s,
        retries=settings.retries,
        answers_as=settings.answers_as,
    )


def _pairs(generations: Sequence[Generation], n: int) -> list[tuple[Generation, Generation]]:
    """Candidate's and baseline's answers to up to `n` items where they differ, evenly over the
    evalset. Of several candidates the first."""
    by_role: dict[str, dict[str, Generation]] = {}
    for each in (answer for answer in generations if answer.state != "failed"):
        by_role.setdefault(each.role, {}).setdefault(each.item_id, each)
    baseline = by_role.get("baseline", {})
    pairs = [
        (ours, theirs)
        for item_id, ours in by_role.get("candidate", {}).items()
        if (theirs := baseline.get(item_id)) and texts_of(ours) != texts_of(theirs)
    ]
    return pairs[:: max(1, len(pairs) // n)][:n] if n else []


def _spent(run: Run) -> Spending:
    """What the judging of this run has cost so far; nothing where that was never written."""
    try:
        return Spending.model_validate(jsonio.read_json(run.spending_path))
    except FileNotFoundError:
        return Spending()


def _keep(run: Run, spent: Spending) -> None:
    jsonio.write_json(run.spending_path, spent.dump())


def _paid(run: Run, reporter: Reporter, spent: Spending) -> None:
    _keep(run, spent)
    reporter.tell(cost=cost_line(spent))


def _telling(is_enough: IsEnough, reporter: Reporter) -> IsEnough:
    """The same; where it is not enough, the next look is told."""

    def enough(looks: LookPlan, verdicts: Sequence[Verdict]) -> bool:
        if is_enough(looks, verdicts):
            return True
        reporter.tell(look=f"look {(looks.taken or 0) + 1} of {len(looks.sizes)}")
        return False

    return enough


def _line(judged: Judged) -> str:
    line = f"{len(judged.verdicts)} verdicts"
    n_free = sum(each.by is not None for each in judged.verdicts)
    if n_free:
        line += f", {n_free} without a judge"
    if judged.n_from_cache:
        line += f", {judged.n_from_cache} from cache"
    return line + _how_far(judged.looks)


def _how_far(looks: LookPlan | None) -> str:
    if looks is None or looks.taken is None or len(looks.sizes) == 1:
        return ""
    n_items, n_looks = len(looks.order), len(looks.sizes)
    if looks.taken == n_looks:
        return f"; judged all {n_items} items in {n_looks} looks"
    n_judged = looks.sizes[looks.taken - 1]
    return f"; judged {n_judged} of {n_items} items: decided at look {looks.taken} of {n_looks}"
