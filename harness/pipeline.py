"""The order of a round's nine steps: check, train, publish, serve, probe, generate, judge, compare
and gate, report and promote.

Only wires: each step lives in its own room. A step whose records are complete and were made from
the same inputs is skipped, so the same command resumes an interrupted round and repeats a finished
one without a single model call.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from harness import jsonio, retention, server
from harness.account import with_account
from harness.errors import ContractError, DataError, EndpointError, HarnessError
from harness.evaluation.access import key_from_env, require_access, server_key
from harness.evaluation.cache import Cache
from harness.evidence import Evidence, compared, gather, recall
from harness.history.page import write_index
from harness.looking import attempts_until, number_of, open_looks, register
from harness.outcome import Outcome, command_line, first_told, write_reports
from harness.plan import Plan, TrainingPlan, make_plan, plan_line
from harness.precision import foresee, foretell
from harness.progress import Reporter
from harness.question import open_question
from harness.recipe import AskedModel, JudgeModel, LoadedRecipe
from harness.release.gate import decide, refuse, ships
from harness.report.record import RoundRecord
from harness.rollout import promote
from harness.run import Run
from harness.serving import Choice, doing, round_spec
from harness.sides import Sides, check_names, choose_sides
from harness.store import Store
from harness.store.floors import known_floor
from harness.training.job import JobDir
from harness.training.launch import TrainEvent, train
from harness.training.publish import publish
from harness.training.reading.ahead import count_rows
from harness.training.resume import abandon, job_dir, require_unchanged
from harness.types import Comparison, Decision, LookPlan

T = TypeVar("T")
NO_CALLS = {"generated": 0, "judged": 0, "from_cache": 0}

Clock = Callable[[], datetime]
"""The time now, with its zone."""


def run_round(
    loaded: LoadedRecipe,
    store: Store,
    reporter: Reporter,
    *,
    alias: str | None,
    clock: Clock,
    restart: bool = False,
) -> Outcome:
    """All nine steps. `alias`: move it on a pass; `restart`: as in `obtain_adapter`. Raises
    HarnessError for anything a user can cause; a probe that fails leaves an untrusted decision in
    the run."""
    reporter.stage("check", count_rows(loaded), "rows")
    plan = make_plan(loaded, store, advance=reporter.advance)
    check_names(plan, store)
    if store.find_trained(plan.train_key) is None:
        require_server(plan, store)
    reporter.done(plan_line(plan))
    foretell(plan, store, reporter)
    candidate, n_steps = obtain_adapter(plan, store, reporter, restart=restart)
    sides = choose_sides(plan, store, candidate, reporter)
    run = open_question(plan, store, sides, plan.recipe.name)
    jsonio.write_json(run.data_path, plan.prepared.record())
    trained = {"dropped_rows": plan.prepared.counts.n_dropped, "trained_steps": n_steps}
    record = conclude(plan, store, sides, run, reporter, counts=trained, clock=clock)
    try:
        moved = _promote(store, record, alias, reporter)
    finally:
        tell_all(store, reporter)
    return Outcome(record, run, moved, loaded.path)


def conclude(
    plan: Plan,
    store: Store,
    sides: Sides,
    run: Run,
    reporter: Reporter,
    *,
    counts: Mapping[str, int],
    clock: Clock,
) -> RoundRecord:
    """Steps 4 to 9 without the promotion: ask, judge, compare, decide and report. A probe that
    fails leaves an untrusted decision. `counts` is what was done before."""
    try:
        evidence = find_evidence(plan, store, sides, run, reporter, clock=clock)
    except ContractError as error:
        reporter.note(f"  {error}", "red")
        decision = refuse(
            str(error),
            candidate=sides.candidate,
            baseline=sides.baseline,
            evalset=plan.evalset.label,
            judge=sides.judge,
            gate=plan.recipe.gate,
        )
        nothing = Evidence((), (), (), NO_CALLS, False)
        return _keep(plan, store, run, decision, None, nothing, counts, reporter, clock)
    reporter.stage("gate")
    comparison = compared(plan, sides, evidence)
    decision = decide(comparison, plan.recipe.gate, evidence.rules)
    record = _keep(plan, store, run, decision, comparison, evidence, counts, reporter, clock)
    reporter.done(f"{decision.status}: {len(decision.rules)} rules")
    return record


def tell_all(store: Store, reporter: Reporter) -> None:
    """The page of all rounds. A store too damaged for it takes nothing from what is finished."""
    try:
        write_index(store)
    except (HarnessError, OSError) as error:
        reporter.note(f"  the page of all rounds is not written: {error}", "yellow")


def require_server(plan: Plan, store: Store) -> None:
    """Before anything is spent: the cache opens, and the endpoints answer or a server could be
    started."""
    with Cache(store.home / "cache.sqlite"):
        pass
    compute = plan.recipe.compute
    if compute.endpoint:
        server.attach(compute.endpoint, plan.base_name, server_key())
    else:
        server.usable_port(compute.port)
    recipe = plan.recipe
    asked: dict[str, JudgeModel | AskedModel] = {
        **recipe.judge.by_key,
        **{f"eval.targets.{name}": each for name, each in recipe.eval.targets.items()},
    }
    for key, each in asked.items():
        if each.endpoint:
            api_key = key_from_env(each.api_key_env, each.endpoint, key)
            require_access(each.endpoint, api_key, key)


def _keep(
    plan: Plan,
    store: Store,
    run: Run,
    decision: Decision,
    comparison: Comparison | None,
    evidence: Evidence,
    counts: Mapping[str, int],
    reporter: Reporter,
    clock: Clock,
) -> RoundRecord:
    """Write what was found into the run and the store, pages included."""
    unscored = sum(verdict.state == "unscored" for verdict in evidence.verdicts)
    number, asked = evidence.looks.attempt if evidence.looks else 1, plan.recipe.eval
    record = RoundRecord(
        recipe=plan.recipe,
        manifest=store.manifest(decision.candidate),
        comparison=comparison,
        decision=decision,
        items=plan.evalset.items,
        generations=tuple(evidence.generations),
        verdicts=tuple(evidence.verdicts),
        counts={**counts, **evidence.counts, "unscored": unscored},
        run_id=run.run_id,
        finished_at=_now(clock),
        attempts=attempts_until(store, decision, evidence.looks),
        floor=known_floor(
            store, decision.evalset, decision.judge, asked.temperature, asked.samples
        ),
        precision=foresee(plan, store, attempt=number, run=run.run_id),
    )
    record = with_account(record, run, store, reporter.times)
    if comparison:
        jsonio.write_json(run.comparison_path, comparison.dump())
    jsonio.write_json(run.decision_path, decision.dump())
    store.record(decision, at=record.finished_at, run=run.run_id)
    write_reports(run, first_told(run, record))
    return record


def _now(clock: Clock) -> str:
    return clock().isoformat(timespec="seconds")


def obtain_adapter(
    plan: TrainingPlan, store: Store, reporter: Reporter, *, restart: bool = False
) -> tuple[str, int]:
    """Steps 2 and 3: (version, steps trained now); nothing is trained when the store has it.

    Raises RecipeError where a training of this name was interrupted and recipe, data or processes
    changed since, unless `restart`, which gives that one up.
    """
    known = store.find_trained(plan.train_key)
    if known:
        reporter.stage("train")
        reporter.done(f"{known} is in the store already", skipped=True)
        return known, 0
    training_root = store.home / "training"
    if restart:
        abandon(training_root, plan.loaded, plan.prepared)
    require_unchanged(training_root, plan.loaded, plan.prepared)
    job = job_dir(training_root, plan.recipe.name, plan.train_key)
    reporter.stage("train", plan.prepared.n_steps, "steps")
    reporter.tell(detail="starting the trainer")

    def show(event: TrainEvent) -> None:
        loss = "" if event.loss is None else f"loss {event.loss:.3f}"
        speed = "" if not event.tokens_per_s else f"  {event.tokens_per_s:,.0f} tokens/s"
        reporter.set(event.step, loss + speed)

    jsonio.write_json(job / "data.json", plan.prepared.record())
    n_steps = train(plan.loaded, plan.prepared, job, on_event=show)
    resumed = "" if n_steps == plan.prepared.n_steps else f" ({n_steps} of them now)"
    reporter.done(f"{plan.prepared.n_steps} steps{resumed}")
    reporter.stage("publish")
    version = publish(plan.loaded, plan.prepared, job, store)
    JobDir(job).tidy()
    reporter.done(version)
    return version, n_steps


def find_evidence(
    plan: Plan, store: Store, sides: Sides, run: Run, reporter: Reporter, *, clock: Clock
) -> Evidence:
    """Steps 4 to 7, or their records where the run is complete. What is judged here is an attempt
    in the ledger."""
    asked = sides._replace(targets=())
    key = jsonio.digest([asked, sides.target_records, plan.serving])
    with run.held(reporter.note):
        if run.done("judge", key) and (recalled := _recall(plan, store, sides, run)):
            for stage in ("probe", "generate", "judge"):
                reporter.stage(stage)
                reporter.done("complete in this run", skipped=True)
            return recalled
        ask = partial(_asked, plan, store, sides, run, clock)
        found = served(plan, store, sides, run, reporter, ask)
        if found.complete:
            run.finish("judge", key)
        return found


def served(
    plan: Plan,
    store: Store,
    sides: Sides,
    run: Run,
    reporter: Reporter,
    ask: Callable[[str, Reporter], Coroutine[Any, Any, T]],
) -> T:
    """Step 4, and what `ask` gets from the endpoint that it is given."""
    require_server(plan, store)
    with _serving(plan, store, sides, run, reporter) as endpoint:
        return asyncio.run(ask(endpoint, reporter))


async def _asked(
    plan: Plan,
    store: Store,
    sides: Sides,
    run: Run,
    clock: Clock,
    endpoint: str,
    reporter: Reporter,
) -> Evidence:
    def begin(of: Sides) -> LookPlan | None:
        attempt = register(plan, store, of, run, _now(clock))
        return None if sides.rivals else open_looks(plan, store, of, run, attempt)

    found = await gather(plan, store, sides, run, endpoint, reporter, begin=begin)
    return await retention.ask(plan, store, sides, run, found, endpoint, reporter)


def _recall(plan: Plan, store: Store, sides: Sides, run: Run) -> Evidence | None:
    """None also where an attempt has lost its order, which says what its bounds have to pay for, or
    has that of an earlier one."""
    found = recall(plan, run)
    if found and not sides.rivals:
        number = number_of(plan, store, sides, run)
        if number and (found.looks is None or found.looks.attempt < number):
            return None
    if found is None or plan.retention is None:
        return found
    try:
        return found._replace(rules=(*found.rules, *retention.recall(plan, run)))
    except (OSError, ValueError, DataError):
        return None


@contextlib.contextmanager
def _serving(plan: Plan, store: Store, sides: Sides, run: Run, reporter: Reporter) -> Iterator[str]:
    """Step 4: the endpoint of a running server, or of one started for this block."""
    compute = plan.recipe.compute
    if compute.endpoint:
        yield server.attach(compute.endpoint, plan.base_name, server_key()).base_url
        return
    recipe = plan.recipe
    choice = Choice(recipe.base, recipe.chat, compute, recipe.serve, plan.loaded.root)
    spec = round_spec(choice, store, sides.versions)
    reporter.stage("serve")
    with server.running(
        spec,
        log_path=run.server_log_path,
        on_wait=lambda _: reporter.tell(vllm=doing(run.server_log_path)),
    ) as started:
        reporter.done(f"vLLM at {started.base_url}")
        yield started.base_url


def _promote(
    store: Store, record: RoundRecord, alias: str | None, reporter: Reporter
) -> str | None:
    if alias is None or not ships(record.decision):
        return None
    version, at = record.decision.candidate, record.finished_at
    try:
        promote(store, version, reporter, alias=alias, at=at, run=record.run_id)
    except EndpointError:
        line = command_line("promote", version, "--alias", alias, home=store.home)
        reporter.note(f"  the round is complete; when the servers are mended: {line}")
        raise
    return alias
