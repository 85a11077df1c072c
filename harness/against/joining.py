"""Two finished runs in, a third one out: the candidate of one against that of the other.

Answers and verdicts are taken as they were given. The new run is whole: its decision is made again,
reported and promoted like that of any other. Asks no model, so that it needs no server and no GPU.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

import yaml

from harness import jsonio
from harness.against.deciding import decided
from harness.against.finding import Found, NotComparable, find_other, finished, require_comparable
from harness.evaluation.measures import measure
from harness.outcome import Outcome, write_reports
from harness.recipe import Gate, Recipe
from harness.release import stats
from harness.release.attempts import count_burned
from harness.release.compare import compare, planned_sizes
from harness.release.looks import alpha_of, look_of
from harness.report.record import RoundRecord
from harness.run import Run, write_records
from harness.store import Store
from harness.store.aliases import whoami
from harness.store.floors import known_floor
from harness.types import (
    Attempt,
    Comparison,
    Decision,
    Generation,
    Item,
    LookPlan,
    NoiseFloor,
    Verdict,
)

LEAST_SHARED = 0.1
"""Of all items: fewer that were judged in both runs decide nothing, whatever their scores are."""
_KEPT = ("env.json", "adapter.json", "data.json", "probe.json", "health.json")
"""Files of the candidate's run that hold for the new one."""
_OF_CANDIDATE = ("proof", "health", "data", "training", "packages", "ancestors")
"""Fields of its record that do."""
_Answering = TypeVar("_Answering", Generation, Verdict)


class Joined(NamedTuple):
    """What the new run is made of."""

    recipe: Recipe
    """Of the candidate's run, with the other version as gate.baseline."""
    items: Sequence[Item]
    generations: tuple[Generation, ...]
    verdicts: tuple[Verdict, ...]
    looks: LookPlan


def against(run_dir: Path, other: str, store: Store, *, clock: Callable[[], datetime]) -> Outcome:
    """Decide on the candidate of a run against that of another, by the first one's gate. `other`:
    a run directory, a run's name, or an alias or version of the store. The outcome is a new run
    in the store, or `run_dir` where it compared these two already; its decision is the latest then.

    Where a run stopped judging early, only items judged in both are compared, with the bound of a
    look at as many. Raises HarnessError where the two cannot be compared.
    """
    ours = finished(run_dir)
    theirs = find_other(ours, other, store)
    if theirs.run_dir == ours.run_dir and theirs.role == "baseline":
        store.record(ours.record.decision, at=_second(clock), run=ours.record.run_id)
        return Outcome(ours.record, Run(run_dir.absolute()), None, Run(run_dir).recipe_path)
    require_comparable(ours, theirs)
    gate = ours.record.recipe.gate.model_copy(update={"baseline": theirs.named})
    shared = _shared(ours, theirs, gate)
    run, at = Run(store.home / "runs" / _name(ours, theirs)), _second(clock)
    joined = _joined(ours, theirs, gate, shared, _register(ours, theirs, run, store, at))
    comparison = _compared(ours, theirs, joined)
    n_seen = store.attempts.times_seen(item.id for item in joined.items).values()
    decision = decided(ours, theirs, joined.looks, comparison, gate, n_burned=count_burned(n_seen))
    record = RoundRecord(
        recipe=joined.recipe,
        manifest=ours.record.manifest,
        comparison=comparison,
        decision=decision,
        items=tuple(joined.items),
        generations=joined.generations,
        verdicts=joined.verdicts,
        counts=_counts(joined),
        run_id=run.run_id,
        finished_at=at,
        attempts=tuple(_attempts(store, decision, joined.looks.attempt)),
        floor=_floor(store, decision, joined.recipe) or ours.record.floor,
        precision=ours.record.precision,
        **{key: getattr(ours.record, key) for key in _OF_CANDIDATE},
    )
    _write(run, record, joined.looks, ours.run_dir)
    store.record(decision, at=at, run=run.run_id)
    return Outcome(record, run, None, run.recipe_path)


def _name(ours: Found, theirs: Found) -> str:
    """Of the new run; the same two runs give the same."""
    runs = [[each.record.run_id, each.record.decision.dump(), each.role] for each in (ours, theirs)]
    question = [*runs, theirs.named]
    return f"{ours.record.recipe.name}-against-{jsonio.digest(question)[:12]}"


def _second(clock: Callable[[], datetime]) -> str:
    return clock().isoformat(timespec="seconds")


def _shared(ours: Found, theirs: Found, gate: Gate) -> list[str]:
    """Ids of the items judged in both runs. Raises NotComparable where they decide nothing."""
    if gate.calibration is not None:
        raise NotComparable(
            "gate.calibration: people's labels are of the answers that they saw, side by side, and "
            f"not of {ours.version} beside {theirs.version}",
            hint=f"harness eval RECIPE --candidate {ours.version} "
            f"--set gate.baseline={theirs.named}, and label that run's answers",
        )
    ids = [item.id for item in ours.record.items]
    shared = [each for each in ids if each in ours.judged & theirs.judged]
    least = len(ids) if gate.looks == 1 else LEAST_SHARED * len(ids)
    if len(shared) < least:
        wanted = "gate.looks = 1 wants all" if gate.looks == 1 else "too few to decide on"
        early = [each for each in (ours, theirs) if len(each.judged) < len(ids)]
        raise NotComparable(
            f"{len(shared)} of {len(ids)} items were judged in both runs, {wanted}: "
            + "; ".join(f"{each.run_dir} judged {len(each.judged)}" for each in early),
            hint="the round or evaluation of each once more with --set gate.looks=1 judges the "
            "rest; answers and verdicts so far are cached",
        )
    return shared


def _register(ours: Found, theirs: Found, run: Run, store: Store, at: str) -> int:
    """Which attempt against this version on this evalset it is."""
    attempt = Attempt(
        at=at,
        by=whoami(),
        run=run.run_id,
        candidate=ours.version,
        baseline=theirs.version,
        evalset=ours.comparison.evalset,
        judge=ours.comparison.judge,
    )
    return store.attempts.register(attempt, [item.id for item in ours.record.items])


def _floor(store: Store, decision: Decision, recipe: Recipe) -> NoiseFloor | None:
    asked = recipe.eval.temperature, recipe.eval.samples
    return known_floor(store, decision.evalset, decision.judge, *asked)


def _attempts(store: Store, decision: Decision, number: int) -> list[Attempt]:
    return store.attempts.against(decision.baseline, decision.evalset)[:number]


def _joined(ours: Found, theirs: Found, gate: Gate, shared: Sequence[str], attempt: int) -> Joined:
    items = ours.record.items
    rest = [item.id for item in items if item.id not in set(shared)]
    alpha = alpha_of(gate, attempt)
    tails = [alpha]
    if rest:
        bounds = stats.obf_bounds(alpha, (len(shared) / len(items), 1.0))
        tails = [stats.z_tail(bound) for bound in bounds]
    return Joined(
        recipe=ours.record.recipe.model_copy(update={"gate": gate}),
        items=items,
        generations=_sides(ours.record.generations, theirs.record.generations, theirs.role),
        verdicts=_sides(ours.record.verdicts, theirs.record.verdicts, theirs.role),
        looks=LookPlan(
            seed=jsonio.digest([ours.record.decision.dump(), theirs.record.decision.dump()]),
            attempt=attempt,
            order=(*shared, *rest),
            sizes=(len(shared), len(items)) if rest else (len(items),),
            tails=tuple(tails),
            taken=1,
        ),
    )


def _sides(
    ours: Sequence[_Answering], theirs: Sequence[_Answering], role: str
) -> tuple[_Answering, ...]:
    """All of our run but its baseline, in whose place stands a side of the other."""
    mine = tuple(each for each in ours if each.role != "baseline")
    other = (each for each in theirs if each.role == role)
    return mine + tuple(each.model_copy(update={"role": "baseline"}) for each in other)


def _compared(ours: Found, theirs: Found, joined: Joined) -> Comparison:
    looks, gate = joined.looks, joined.recipe.gate
    ids = set(looks.order[: looks.sizes[0]])
    return compare(
        [each for each in joined.items if each.id in ids],
        [each for each in joined.generations if each.item_id in ids],
        [each for each in joined.verdicts if each.item_id in ids],
        candidate=ours.version,
        baseline=theirs.version,
        evalset=ours.comparison.evalset,
        judge=ours.comparison.judge,
        gate=gate,
        look=look_of(looks, 1),
        planned=planned_sizes(joined.items, gate),
    )


def _counts(joined: Joined) -> dict[str, int]:
    n_taken = len(joined.generations) + len(joined.verdicts)
    unscored = sum(verdict.state == "unscored" for verdict in joined.verdicts)
    return {"generated": 0, "judged": 0, "from_cache": n_taken, "unscored": unscored}


def _write(run: Run, record: RoundRecord, looks: LookPlan, candidate_dir: Path) -> None:
    """Everything that a run has, the record of it last."""
    run.run_dir.mkdir(parents=True, exist_ok=True)
    for name in _KEPT:
        if (candidate_dir / name).is_file():
            shutil.copyfile(candidate_dir / name, run.run_dir / name)
    text = yaml.safe_dump(record.recipe.model_dump(mode="json"), sort_keys=False)
    jsonio.write_bytes(run.recipe_path, text.encode())
    write_records(run.items_path, record.items)
    write_records(run.generations_path, record.generations)
    write_records(run.verdicts_path, record.verdicts)
    write_records(run.measures_path, measure(record.items, record.generations))
    jsonio.write_json(run.looks_path, looks.dump())
    assert record.comparison, "there are scores on both sides"
    jsonio.write_json(run.comparison_path, record.comparison.dump())
    jsonio.write_json(run.decision_path, record.decision.dump())
    write_reports(run, record)
