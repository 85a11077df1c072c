"""What a finished round left behind: its pages, its summary, and its decision made again.

Works on a run directory alone, on any machine: no server, no model, no training stack.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from harness import jsonio
from harness.errors import DataError, StoreError
from harness.evaluation.judging.health import health_rules
from harness.recipe import Gate
from harness.release.agreement import agree
from harness.release.compare import compare, planned_sizes
from harness.release.gate import gate_of, ships, verify
from harness.report.html import render_html
from harness.report.junit import render_junit
from harness.report.markdown import render_markdown
from harness.report.record import RoundRecord
from harness.run import Run
from harness.store import Store, default_home
from harness.types import Comparison, Decision, Item, JudgeHealth, LookPlan, Record

R = TypeVar("R", bound=Record)


class Outcome(NamedTuple):
    """A finished round."""

    record: RoundRecord
    run: Run
    alias: str | None
    """The alias that was moved, if one was."""
    recipe_path: Path

    def summary(self) -> dict[str, Any]:
        """What `harness round --json` and `harness eval --json` print."""
        decision, comparison = self.record.decision, self.record.comparison
        slices = (comparison.overall, *comparison.slices) if comparison else ()
        return {
            "status": decision.status,
            "candidate": decision.candidate,
            "baseline": decision.baseline,
            "alias": self.alias,
            "rules": [rule.dump() for rule in decision.rules],
            "slices": [each.dump() for each in slices],
            "others": {
                name: side.dump()
                for name, side in (comparison.others if comparison else {}).items()
            },
            "run_dir": str(self.run.run_dir),
            "counts": self.record.counts,
        }

    def next_steps(self) -> list[str]:
        """Commands worth typing now."""
        decision = self.record.decision
        if self.alias:
            return self._next(f"answers model {self.alias!r}", "serve", self._recipe)
        if ships(decision):
            return self._to_promote()
        if any(rule.rule.startswith("judge ") and rule.status != "pass" for rule in decision.rules):
            does = "what the judge falls for; then another judge or prompt"
            return self._next(does, "judge", "probe", self._recipe)
        if decision.status == "untrusted":
            return ["next     mend what the rules name, then run the same command again"]
        if decision.status == "inconclusive":
            lines = self._next("how many items are enough", "plan-eval", self._recipe)
        else:
            lines = self._to_mend()
        comparison = self.record.comparison
        if comparison and comparison.look and comparison.look.n_planned > len(comparison.pairs):
            n_left = comparison.look.n_planned - len(comparison.pairs)
            again = "each run once more" if self._recipe == "RECIPE" else "the same command"
            lines.append(f"         {again} with --set gate.looks=1 judges the {n_left} items left")
        return lines

    def _to_mend(self) -> list[str]:
        """From what dropped to the rows that taught it and to the next round's data."""
        comparison = self.record.comparison
        if not comparison or all(pair.difference >= 0 for pair in comparison.pairs):
            return ["next     open the report: it shows what failed, prompt by prompt"]
        home, name = self.run.run_dir.parents[1], self.run.run_id
        failures, blame = (command_line(each, name, home=home) for each in ("failures", "blame"))
        width = max(len(failures), len(blame))
        return [
            f"next     {failures:{width}}   # what dropped, in groups; makes a worklist too",
            f"         {blame:{width}}   # which of your rows taught it this",
        ]

    def _to_promote(self) -> list[str]:
        recipe, candidate = self.record.recipe, self.record.decision.candidate
        name = recipe.gate.baseline
        if "@" not in candidate or not Store(self.run.run_dir.parents[1]).has(candidate):
            return ["next     open the report: it shows both answers, prompt by prompt"]
        if name and "@" not in name and name not in ("base", *recipe.eval.targets):
            return self._next("", "promote", candidate, "--alias", name)
        return self._next("ALIAS: a name for it", "promote", candidate, "--alias", "ALIAS")

    @property
    def _recipe(self) -> Path | str:
        """The file that the command was given; the copy in the run's folder has lost its place."""
        return "RECIPE" if self.recipe_path == self.run.recipe_path else self.recipe_path

    def _next(self, does: str, *args: object) -> list[str]:
        line = command_line(*args, home=self.run.run_dir.parents[1])
        return [f"next     {line}" + (f"   # {does}" if does else "")]


def command_line(*args: object, home: Path) -> str:
    """A `harness` command as it can be typed here: the program by the name it was called by
    unless it is on the path, and the store where it is not the usual one."""
    program = ["harness"] if shutil.which("harness") else [sys.argv[0]]
    if program[0].endswith("__main__.py"):
        program = [sys.executable, "-m", "harness"]
    where = () if home == default_home() else ("--home", home)
    return shlex.join(map(str, (*program, *args, *where)))


def write_reports(run: Run, record: RoundRecord) -> None:
    """The pages, and the record they are made from."""
    jsonio.write_bytes(run.report_path("html"), render_html(record).encode())
    jsonio.write_bytes(run.report_path("md"), render_markdown(record).encode())
    jsonio.write_bytes(run.report_path("junit.xml"), render_junit(record).encode())
    jsonio.write_json(run.report_path("json"), record.dump())


def first_told(run: Run, record: RoundRecord) -> RoundRecord:
    """A finished round that was repeated without a call, as its pages told it when it was made:
    with that time, those calls, what was foreseen then and what it took, so that they stay as they
    are. Any other record as it is."""
    if any(record.counts.get(key) for key in ("trained_steps", "generated", "judged")):
        return record
    try:
        first = read_record(run.run_dir)
    except (StoreError, DataError):
        return record
    if first.decision != record.decision:
        return record
    kept = {key: getattr(first, key) for key in _TOLD_ONCE}
    kept |= {key: value for key in _TOLD_AGAIN if (value := getattr(first, key))}
    return record.model_copy(update=kept)


_TOLD_ONCE = ("finished_at", "counts", "precision", "stages", "spending", "packages")
"""Fields of a record that hold for its first making, and would say nothing of a repetition."""
_TOLD_AGAIN = ("proof", "health", "data", "training", "ancestors")
"""Fields whose files may be lost since; a record from before there were such has none."""


def read_record(run_dir: Path) -> RoundRecord:
    """The record of a finished run. Raises StoreError when the folder is not one."""
    path = Run(run_dir).report_path("json")
    if not path.is_file():
        raise StoreError(
            f"{run_dir}: not a finished run (no {path.name})", hint="run the round to its end"
        )
    return _read(path, RoundRecord)


def report_again(run_dir: Path) -> Path:
    """Render the pages of a run anew; returns the HTML page's path."""
    run = Run(run_dir)
    write_reports(run, read_record(run_dir))
    return run.report_path("html")


def decide_again(run_dir: Path) -> Decision:
    """Compare and decide anew from a run's answers and verdicts, with its own gate.

    Raises StoreError when the outcome is not the recorded one: the records were changed.
    """
    record, run = read_record(run_dir), Run(run_dir)
    decision, kept = record.decision, record.comparison
    _require_kept(run.decision_path, decision)
    if kept is None:
        if decision.status != "untrusted" or decision.comparison is not None:
            raise _changed(run_dir, decision)
        return decision
    _require_kept(run.comparison_path, kept)
    try:
        gate = gate_of(decision)
    except ValidationError as error:
        raise _invalid(run.report_path("json"), "decision.gate", error) from None
    asked, decided_by = record.recipe.gate.resolved(), gate.resolved()
    if any(asked[key] != decided_by[key] for key in decision.gate):
        raise _changed(run_dir, decision)
    made = _compared(record, kept, gate, _unjudged(run, record.items, kept))
    if not (agree(kept, made) and verify(decision, kept) and _is_examined(run, record)):
        raise _changed(run_dir, decision)
    return decision


def _compared(
    record: RoundRecord, kept: Comparison, gate: Gate, unjudged: frozenset[str]
) -> Comparison:
    """The comparison made again on the items that were judged for it."""
    return compare(
        [each for each in record.items if each.id not in unjudged],
        [each for each in record.generations if each.item_id not in unjudged],
        [each for each in record.verdicts if each.item_id not in unjudged],
        candidate=kept.candidate,
        baseline=kept.baseline,
        evalset=kept.evalset,
        judge=kept.judge,
        gate=gate,
        calibration=kept.calibration,
        look=kept.look,
        planned=planned_sizes(record.items, gate),
    )


def _is_examined(run: Run, record: RoundRecord) -> bool:
    """Whether the decision has what the run's files say of probe and judge. A gate that only warns
    of an unfit judge may have let it through."""
    held = {rule.rule: rule for rule in record.decision.rules}
    if run.probe_path.exists() and "probe" not in held:
        return False
    if not run.health_path.exists():
        return True
    health, warned = _read(run.health_path, JudgeHealth), record.recipe.gate.health == "warn"
    return all(
        (kept := held.get(rule.rule)) is not None
        and agree(kept.value, rule.value)
        and (kept.status == rule.status or (warned and kept.status == "pass"))
        for rule in health_rules(health, record.recipe.judge.fitness)
    )


def _unjudged(run: Run, items: Sequence[Item], kept: Comparison) -> frozenset[str]:
    """The items that a decision at an early look left out. Raises StoreError where the order that
    was drawn before judging says otherwise."""
    look, ids = kept.look, frozenset(item.id for item in items)
    if look is None:
        return frozenset()
    unjudged = ids - {pair.item_id for pair in kept.pairs}
    is_so = look.n_planned == len(ids)
    if run.looks_path.exists():
        plan = _read(run.looks_path, LookPlan)
        drawn = dict(enumerate(zip(plan.sizes, plan.tails, strict=False), 1))
        size, tail = drawn.get(look.number, (0, 0.0))
        is_so &= plan.taken in (None, look.number) and len(plan.sizes) == look.of
        is_so &= frozenset(plan.order) == ids
        is_so &= agree(tail, look.tail) and frozenset(plan.order[size:]) == unjudged
    if not is_so:
        raise StoreError(
            f"{run.run_dir}: {run.looks_path.name} has not the items that were decided on at look "
            f"{look.number} of {look.of}; the records were changed after the round",
            hint=_AGAIN,
        )
    return unjudged


_AGAIN = "run the round again; answers and verdicts are cached"


def _require_kept(path: Path, record: Decision | Comparison) -> None:
    """That the file, where there is one, says what report.json says."""
    if path.exists() and _read(path, type(record)) != record:
        raise StoreError(
            f"{path}: says something else than report.json; one of them was changed after the "
            "round",
            hint=_AGAIN,
        )


def _changed(run_dir: Path, decision: Decision) -> StoreError:
    return StoreError(
        f"{run_dir}: its records give another decision than the one recorded "
        f"({decision.status}); they were changed after the round",
        hint=_AGAIN,
    )


def _read(path: Path, kind: type[R]) -> R:
    try:
        return kind.model_validate(jsonio.read_json(path))
    except ValidationError as error:
        raise _invalid(path, "", error) from None


def _invalid(path: Path, key: str, error: ValidationError) -> StoreError:
    """The first thing that is wrong with a file's record, or with its part at `key`."""
    problem = error.errors()[0]
    place = ".".join(filter(None, (key, *map(str, problem["loc"]))))
    return StoreError(f"{path}: {place}: {problem['msg']}")
