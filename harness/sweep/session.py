"""A sweep from start to end: check every point, train each, ask all of them at once, rank.

Only wires, like a round: the same command goes on where an interrupted sweep stopped, and repeats
a finished one without a training or a model call. Moves no alias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from harness import jsonio
from harness.errors import HarnessError, Interrupted, RecipeError
from harness.outcome import command_line
from harness.pipeline import (
    Clock,
    find_evidence,
    obtain_adapter,
    require_server,
    tell_all,
)
from harness.plan import TrainingPlan, make_plan
from harness.progress import Reporter
from harness.question import open_run
from harness.recipe import LoadedRecipe, load
from harness.report.wording import plural
from harness.run import Run
from harness.sides import Sides, check_names, choose_sides
from harness.store import Store
from harness.sweep.grid import Axis, Point, make_points, parse_grid
from harness.sweep.ranking import Question, SweepRecord, Trained, rank
from harness.training.order import count_steps
from harness.training.prepare import train_key
from harness.training.resume import require_unchanged

RECORD = "sweep.json"
_SAME_ROWS = {
    *("lora.r", "lora.alpha", "lora.rslora"),
    *("train.lr", "train.schedule", "train.warmup_steps", "train.weight_decay", "train.beta"),
    *("train.epochs", "train.max_steps", "train.seed"),
}
"""Keys that leave the rows, and all that is checked before a training, as they are."""


class Swept(NamedTuple):
    """A finished sweep."""

    record: SweepRecord
    run: Run
    counts: dict[str, int]
    next_command: str | None
    """The round that puts the first point before the gate; None without a ranked point."""

    def summary(self) -> dict[str, Any]:
        """What `harness sweep --json` prints."""
        return {
            "status": "untrusted" if self.record.problems else "done",
            **self.record.dump(),
            "may_be_best": [each.name for each in self.record.points if each.may_be_best],
            "run_dir": str(self.run.run_dir),
            "counts": self.counts,
            "next": self.next_command,
        }


class _Work(NamedTuple):
    """The points of a sweep, all of them checked."""

    base: LoadedRecipe
    """The recipe that is swept."""
    axes: tuple[Axis, ...]
    points: list[Point]
    keys: list[str]
    """Each point's train key."""
    n_new: int
    """Points that the store does not have."""
    plan: TrainingPlan
    """Of the last point; whom and how it asks is the same for all."""


def sweep(
    path: Path,
    overrides: Sequence[str],
    grid: Sequence[str],
    store: Store,
    reporter: Reporter,
    *,
    clock: Clock,
    restart: bool = False,
) -> Swept:
    """Train every point of `grid` (KEY=V1,V2 words), evaluate all in one server session, rank.

    Nothing is trained before every point is checked. A point whose training fails is kept as
    failed while the others go on. `restart`: as in `obtain_adapter`. Raises HarnessError for
    anything a user can cause, and the first failure where every point fails.
    """
    reporter.stage("check", unit="points")
    work = _check(path, overrides, grid, store, reporter, restart)
    if work.n_new:
        require_server(work.plan, store)
    reporter.done(
        f"{plural(len(work.points), 'point')}, {work.n_new} to train; "
        f"{plural(len(work.plan.evalset.items), 'item')} of {work.plan.evalset.label}"
    )
    trained, n_steps = _train(work, store, reporter, restart)
    sides = _sides(work.plan, store, [each.version for each in trained if each.version], reporter)
    run = open_run(work.plan, store, _run_id(work, sides))
    evidence = find_evidence(work.plan, store, sides, run, reporter, clock=clock)
    probed = [each._replace(reason=each.reason or evidence.refused.get(each.version or ""))
              for each in trained]  # fmt: skip
    record = rank(_question(work, sides), probed, evidence.generations, evidence.verdicts)
    jsonio.write_json(run.run_dir / RECORD, record.dump())
    tell_all(store, reporter)
    return Swept(
        record,
        run,
        {"trained_steps": n_steps, **evidence.counts},
        _next_command(work, record, overrides, store),
    )


def _check(
    path: Path,
    overrides: Sequence[str],
    grid: Sequence[str],
    store: Store,
    reporter: Reporter,
    restart: bool,
) -> _Work:
    """Every point's plan made once. Raises HarnessError for what cannot be trained, for two points
    that would train the same adapter, and where one would start beside an interrupted training
    of its name."""
    base, axes = load(path, overrides), parse_grid(grid)
    points = make_points(path, overrides, axes)
    plans, keys, n_new = _Plans(store), list[str](), 0
    reporter.expect(len(points))
    seen: dict[str, Point] = {}
    for point in points:
        plan = plans.of(point)
        reporter.advance(1, point.name)
        keys.append(plan.train_key)
        first = seen.setdefault(_nameless(plan, base.recipe.name), point)
        if first is not point:
            raise RecipeError(
                f"--grid: {first.name} and {point.name} would train the same adapter from the "
                "same rows",
                hint="leave out the key, or the value, that changes nothing",
            )
        if store.find_trained(plan.train_key) is None:
            n_new += 1
            if not restart:
                require_unchanged(store.home / "training", plan.loaded, plan.prepared)
    check_names(plan, store)
    shared = replace(plan, loaded=base, retention=None)
    return _Work(base, axes, points, keys, n_new, shared)


class _Plans:
    """Plans of points one after the other; rows are read again only where they may differ."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: tuple[Point, TrainingPlan] | None = None

    def of(self, point: Point) -> TrainingPlan:
        plan = self._reused(point) or make_plan(point.loaded, self._store)
        self._last = point, plan
        return plan

    def _reused(self, point: Point) -> TrainingPlan | None:
        if self._last is None or point.loaded.recipe.lora.init_from:
            return None
        last, plan = self._last
        changed = {key for key, value in point.values.items() if value != last.values[key]}
        if not changed <= _SAME_ROWS:
            return None
        n_steps = count_steps(point.loaded.recipe.train, len(plan.prepared.rows))
        prepared = plan.prepared._replace(n_steps=n_steps)
        key = train_key(point.loaded, prepared)
        return replace(plan, loaded=point.loaded, prepared=prepared, train_key=key)


def _nameless(plan: TrainingPlan, name: str) -> str:
    """The plan's train key had it the name that all points come from."""
    recipe = plan.recipe.model_copy(update={"name": name})
    return train_key(plan.loaded._replace(recipe=recipe), plan.prepared)


def _train(
    work: _Work, store: Store, reporter: Reporter, restart: bool
) -> tuple[list[Trained], int]:
    """Every point's version, trained where the store does not have it, and the steps that took."""
    plans, trained, n_steps = _Plans(store), list[Trained](), 0
    faults: list[HarnessError] = []
    for number, (point, key) in enumerate(zip(work.points, work.keys, strict=True), 1):
        version, reason = store.find_trained(key), None
        if version is None:
            try:
                with reporter.within(f"[{number}/{len(work.points)}] {point.name}"):
                    plan = plans.of(point)
                    version, n_now = obtain_adapter(plan, store, reporter, restart=restart)
                n_steps += n_now
            except Interrupted:
                raise
            except HarnessError as fault:
                reporter.note(f"  {fault}", "red")
                faults.append(fault)
                reason = str(fault)
        trained.append(Trained(point.name, point.values, version, reason))
    if len(faults) == len(trained):
        raise faults[0]
    return trained, n_steps


def _sides(plan: TrainingPlan, store: Store, versions: Sequence[str], reporter: Reporter) -> Sides:
    """All versions against one baseline, and no others beside them. An alias that serves one of
    them already stands for what it served before, as in a round."""
    served = store.aliases().get(plan.recipe.gate.baseline or "")
    promoted = served if served and served in versions else versions[0]
    sides = choose_sides(plan, store, promoted, reporter)
    baseline = tuple(each for each in sides.targets if each.role == "baseline")
    return sides._replace(candidate=versions[0], rivals=tuple(versions[1:]), targets=baseline)


def _run_id(work: _Work, sides: Sides) -> str:
    """Same points, evalset, judge and baseline, same directory."""
    question = {
        "recipe": work.base.recipe.digest(),
        "points": work.keys,
        "evalset": work.plan.evalset.digest,
        "sides": [sides.baseline, sides.judge, *sides.target_records],
        "serving": work.plan.serving,
    }
    return f"{work.base.recipe.name}-sweep-{jsonio.digest(question)[:12]}"


def _question(work: _Work, sides: Sides) -> Question:
    return Question(
        recipe=work.base.recipe.name,
        grid={axis.key: axis.texts for axis in work.axes},
        items=work.plan.evalset.items,
        evalset=work.plan.evalset.label,
        judge=sides.judge,
        baseline=sides.baseline,
        gate=work.base.recipe.gate,
    )


def _next_command(
    work: _Work, record: SweepRecord, overrides: Sequence[str], store: Store
) -> str | None:
    """A round of the first point under its own name, so that it finds the trained version."""
    if not record.ranked:
        return None
    point = next(each for each in work.points if each.name == record.ranked[0].name)
    settings = (word for each in (*overrides, *point.settings) for word in ("--set", each))
    return command_line("round", work.base.path, *settings, home=store.home)
