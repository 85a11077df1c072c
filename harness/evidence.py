"""Steps five to seven of a round: probe, generate, judge, against a server that runs.

Asks the same server for candidate, baseline and base at once, and writes the records as each step
ends. Starts no process, and decides no more than when enough is judged.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from harness import jsonio
from harness.chat.template import ChatTokenizer
from harness.errors import ContractError, DataError
from harness.evaluation import generate as generating
from harness.evaluation.access import key_from_env, server_key
from harness.evaluation.cache import Cache
from harness.evaluation.client import Client
from harness.evaluation.probe import probe
from harness.looking import attempt_rules, compare_judged, is_enough, read_looks
from harness.plan import Plan, chat_of
from harness.progress import Reporter
from harness.run import Run, read_records, write_records
from harness.scoring import Scored, score
from harness.scoring import recall as recalled
from harness.sides import Sides
from harness.store import Store
from harness.types import (
    Comparison,
    Generation,
    LookPlan,
    ProbeReport,
    RuleResult,
    Target,
    Verdict,
)

OWN_TIMEOUT_S = 3600.0
"""A batch of long answers on a slow machine; a server that dies is noticed at once."""
_SMALLER = 8
"""How much smaller requests are where items have seeds of their own."""


class Evidence(NamedTuple):
    """What was asked, what was answered, and how it was scored."""

    generations: Sequence[Generation]
    verdicts: Sequence[Verdict]
    rules: tuple[RuleResult, ...]
    """What the probe proved, which attempt it is and the judge's health, as rules of the gate."""
    counts: dict[str, int]
    """generated, judged: calls made now; from_cache: answers and verdicts that needed none."""
    complete: bool
    """No call failed, so asking again could add nothing."""
    refused: Mapping[str, str] = MappingProxyType({})
    """Version → why the probe refused it. Only where there are rivals; they go on without it."""
    looks: LookPlan | None = None
    """Which items were judged, by its `taken` look; None: all."""


def chats_of(plan: Plan, store: Store, sides: Sides) -> dict[str, ChatTokenizer]:
    """Model name → how its chats are rendered."""
    return {model: chat_of(plan, store, model) for model in (*sides.versions, plan.base_name)}


def compared(plan: Plan, sides: Sides, evidence: Evidence) -> Comparison:
    """Candidate against baseline on what was judged of the plan's evalset."""
    return compare_judged(plan, sides, evidence.generations, evidence.verdicts, evidence.looks)


def recall(plan: Plan, run: Run) -> Evidence | None:
    """The evidence of a run whose judging is complete; None where its records were damaged since,
    so that they are made again from the cache."""
    try:
        generations = read_records(run.generations_path, Generation)
        verdicts = read_records(run.verdicts_path, Verdict)
        report = ProbeReport.model_validate(jsonio.read_json(run.probe_path))
        refused = jsonio.read_json(run.refused_path) if run.refused_path.exists() else {}
        health = recalled(run, plan.evalset, plan.recipe.judge.fitness)
    except (OSError, ValueError, DataError):
        return None
    looks = read_looks(run)
    if looks is None and len(verdicts) < len(generations):
        return None
    rules = (_probe_rule(report), *attempt_rules(plan, looks), *health)
    counts = {"generated": 0, "judged": 0, "from_cache": len(generations) + len(verdicts)}
    return Evidence(generations, verdicts, rules, counts, True, refused, looks)


def all_at_once(sides: Sides) -> None:
    """Judge every item, and be no attempt."""


async def gather(
    plan: Plan,
    store: Store,
    sides: Sides,
    run: Run,
    endpoint: str,
    reporter: Reporter,
    *,
    begin: Callable[[Sides], LookPlan | None] = all_at_once,
) -> Evidence:
    """Steps 5 to 7. `begin` says how the answers of those that the probe let through are judged;
    called before anything is."""
    with Cache(store.home / "cache.sqlite") as cache:
        async with own_client(plan, endpoint) as client, _elsewhere(plan, sides) as endpoints:
            report, refused = await _probe(plan, store, sides, run, client, reporter)
            sides = _without(sides, refused)
            targets, chats = _targets(plan, sides), chats_of(plan, store, sides)
            n_answers = len(targets) * len(plan.evalset.items) * plan.recipe.eval.samples
            reporter.stage("generate", n_answers, "answers")
            generated = await generating.generate(
                plan.evalset.items,
                targets,
                chats=chats,
                serving=plan.serving,
                settings=plan.recipe.eval,
                max_context=plan.max_context,
                client=client,
                endpoints=endpoints,
                cache=cache,
                advance=reporter.advance,
                recalled=reporter.recalled,
            )
            write_records(run.generations_path, generated.records)
            reporter.done(_counted("answers", len(generated.records), generated.n_from_cache))
            scored = await judge_answers(
                plan,
                sides,
                run,
                generated.records,
                chats=chats,
                client=client,
                cache=cache,
                reporter=reporter,
                looks=begin(sides),
                rules=(_probe_rule(report),),
            )
    counts = {
        "generated": generated.n_asked,
        "judged": scored.n_calls,
        "from_cache": generated.n_from_cache + scored.n_from_cache,
    }
    complete = generated.n_faults + scored.n_faults == 0
    return Evidence(
        generated.records, scored.verdicts, scored.rules, counts, complete, refused, scored.looks
    )


async def judge_answers(
    plan: Plan,
    sides: Sides,
    run: Run,
    generations: Sequence[Generation],
    *,
    chats: Mapping[str, ChatTokenizer],
    client: Client,
    cache: Cache,
    reporter: Reporter,
    looks: LookPlan | None,
    rules: tuple[RuleResult, ...],
) -> Scored:
    """Step 7, by `looks` until they decide; the order is written before anything is judged. The
    rules of what it gives begin with `rules`, known before it. Raises as `score` does."""
    _keep(run, looks)
    rules = (*rules, *attempt_rules(plan, looks))
    scored = await score(
        plan,
        sides,
        run,
        generations,
        chats=chats,
        client=client,
        cache=cache,
        reporter=reporter,
        looks=looks,
        is_enough=partial(is_enough, plan, sides, rules, generations),
    )
    _keep(run, scored.looks)
    return scored._replace(rules=(*rules, *scored.rules))


def _keep(run: Run, looks: LookPlan | None) -> None:
    if looks:
        jsonio.write_json(run.looks_path, looks.dump())


async def _probe(
    plan: Plan, store: Store, sides: Sides, run: Run, client: Client, reporter: Reporter
) -> tuple[ProbeReport, dict[str, str]]:
    """Step 5: every adapter that takes part, and a sample of items through the users' route.
    Returns the first candidate's report and, among rivals, who was refused and why."""
    reports, refused = await _probe_each(plan, store, sides, client, reporter)
    candidate = _targets(plan, _without(sides, refused))[0]
    n_chats = await generating.chat_route_agrees(
        plan.evalset.items,
        candidate,
        chat=chat_of(plan, store, candidate.model),
        settings=plan.recipe.eval,
        max_context=plan.max_context,
        client=client,
    )
    proof = reports[0].model_copy(update={"others": tuple(reports[1:]), "n_chats": n_chats})
    jsonio.write_json(run.probe_path, proof.dump())
    if sides.rivals:
        jsonio.write_json(run.refused_path, refused)
    n_rows = sum(report.n_rows for report in reports)
    worst = max(report.max_difference for report in reports)
    reporter.done(
        f"{n_rows} rows of {len(reports)} adapters and {n_chats} chats: served tokens equal "
        f"trained tokens, log-probs within {worst:.1e}"
    )
    return reports[0], refused


async def _probe_each(
    plan: Plan, store: Store, sides: Sides, client: Client, reporter: Reporter
) -> tuple[list[ProbeReport], dict[str, str]]:
    """Reports, candidates first. Raises ContractError where nothing is left to compare."""
    candidates = (sides.candidate, *sides.rivals)
    reporter.stage("probe", len(sides.versions), "adapters")
    reports, refused = list[ProbeReport](), dict[str, str]()
    for version in sides.versions:
        reporter.tell(asked=version)
        try:
            report = await probe(
                client,
                store.manifest(version),
                base_name=plan.base_name,
                dtype=plan.recipe.base.dtype,
            )
        except ContractError as error:
            others = [each for each in candidates if each not in (*refused, version)]
            if not others or version in sides.fixed:
                raise
            reporter.note(f"  {error}", "red")
            refused[version] = str(error)
        else:
            reports.append(report)
        reporter.advance(1)
    return reports, refused


def _without(sides: Sides, refused: Mapping[str, str]) -> Sides:
    candidate, *rivals = (each for each in (sides.candidate, *sides.rivals) if each not in refused)
    return sides._replace(candidate=candidate, rivals=tuple(rivals))


def _probe_rule(report: ProbeReport) -> RuleResult:
    return RuleResult(
        rule="probe",
        slice="overall",
        status="pass",
        value=report.max_difference,
        bound=None,
        threshold=report.tolerance,
        sentence=f"on {report.n_rows} probe rows the served token ids equal the trained ones and "
        f"log-probs differ from PEFT's by at most {report.max_difference:.1e} (accepted "
        f"{report.tolerance:g}); the adapter moves them by {report.min_effect:.2g} or more",
    )


def _targets(plan: Plan, sides: Sides) -> list[Target]:
    system, candidates = plan.recipe.eval.system, (sides.candidate, *sides.rivals)
    named = [each for each in sides.targets if each.role == "baseline"]
    targets = [
        *(Target(role="candidate", model=each, system=system) for each in candidates),
        *(named or [Target(role="baseline", model=sides.baseline, system=system)]),
    ]
    if plan.recipe.eval.include_base:
        targets.append(Target(role="base", model=plan.base_name, system=system))
    return [*targets, *(each for each in sides.targets if each.role == "other")]


def own_client(plan: Plan, endpoint: str) -> Client:
    """For the server that serves the sides. With a temperature only items with the same seed go
    into one request, so there are more and smaller ones."""
    settings = plan.recipe.eval
    return Client(
        endpoint,
        api_key=server_key(),
        concurrency=settings.concurrency * (_SMALLER if settings.temperature else 1),
        timeout_s=OWN_TIMEOUT_S,
        is_ours=True,
    )


@contextlib.asynccontextmanager
async def _elsewhere(plan: Plan, sides: Sides) -> AsyncIterator[dict[str, Client]]:
    """A client of every target with an endpoint of its own, by the target's name."""
    async with contextlib.AsyncExitStack() as stack:
        clients = {}
        for name in (each.name for each in sides.targets if each.name):
            asked = plan.recipe.eval.targets[name]
            if asked.endpoint:
                client = Client(
                    asked.endpoint,
                    api_key=key_from_env(asked.api_key_env, asked.endpoint, f"eval.targets.{name}"),
                    concurrency=asked.concurrency,
                    timeout_s=asked.timeout_s,
                    retries=asked.retries,
                    answers_as=asked.answers_as,
                )
                clients[name] = await stack.enter_async_context(client)
        yield clients


def _counted(what: str, n: int, n_from_cache: int) -> str:
    return f"{n} {what}" + (f", {n_from_cache} from cache" if n_from_cache else "")
