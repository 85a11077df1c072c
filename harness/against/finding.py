"""Which two finished runs are meant, and whether their scores can be compared at all.

A run directory needs nothing beside it; an alias or a version means the latest run in the store
that has its answers. Changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from harness.errors import DataError, HarnessError, StoreError, nearest
from harness.outcome import command_line, decide_again, read_record
from harness.precision import decided
from harness.report.record import RoundRecord
from harness.run import Run, is_run
from harness.store import Store
from harness.types import Comparison, Decision

ALIKE = (
    ("eval", "max_tokens"),
    ("eval", "temperature"),
    ("eval", "samples"),
    ("eval", "system"),
    ("judge", "repeats"),
)
"""Keys of a recipe that say how an answer is made and scored; seeds may differ."""
OTHER_RUN = "baseline run"
"""The rule on what the other run's probe and judge said; only a run made of two has it."""


class NotComparable(HarnessError):
    """Two runs whose scores say nothing of each other."""

    exit_code = 4


class Found(NamedTuple):
    """A finished run, and the side of it that is meant."""

    run_dir: Path
    record: RoundRecord
    comparison: Comparison
    role: Literal["candidate", "baseline"]
    named: str
    """How it was asked for, as gate.baseline says it: an alias, or the version."""

    @property
    def version(self) -> str:
        return self.comparison.candidate if self.role == "candidate" else self.comparison.baseline

    @property
    def judged(self) -> frozenset[str]:
        """Ids of the items that its decision was made on."""
        return frozenset(pair.item_id for pair in self.comparison.pairs)


def finished(run_dir: Path) -> Found:
    """A run by its candidate. Raises StoreError where it is not finished or was changed since, and
    NotComparable where its evidence failed before there were scores."""
    decide_again(run_dir)
    record = read_record(run_dir)
    if record.comparison is None:
        reasons = "; ".join(rule.sentence for rule in record.decision.rules)
        raise NotComparable(
            f"{run_dir}: its evidence failed before anything was judged: {reasons}",
            hint="mend what it names, then run the round again",
        )
    return Found(run_dir, record, record.comparison, "candidate", record.comparison.candidate)


def find_other(ours: Found, other: str, store: Store) -> Found:
    """What `other` means: a run directory, a run of the store, an alias or a version. `ours` by its
    baseline where that is the version. Raises HarnessError for none of them."""
    for run_dir in (Path(other), store.home / "runs" / other):
        if Run(run_dir).report_path("json").is_file():
            return finished(run_dir)
    version = _version(ours, other, store)
    if version == ours.comparison.baseline:
        return ours._replace(role="baseline", named=other)
    return _latest(ours, version, other, store)


def require_comparable(ours: Found, theirs: Found) -> None:
    """Raises HarnessError for the same version twice, and NotComparable where the items, the judge
    or the sampling differ."""
    mine, other, names = ours.comparison, theirs.comparison, f"{ours.run_dir} and {theirs.run_dir}"
    if ours.version == theirs.version:
        raise HarnessError(
            f"{names}: both are of {ours.version}; there is nothing to compare",
            hint="harness gate --aa RECIPE measures a version against itself",
        )
    if _digest(mine.evalset) != _digest(other.evalset):
        raise NotComparable(
            f"{names}: different items: {mine.evalset} and {other.evalset}",
            hint="evaluate one of them again, on the evalset of the other (harness eval)",
        )
    if mine.judge != other.judge:
        raise NotComparable(
            f"{names}: different judges: {mine.judge} and {other.judge}; scores of two judges, or "
            "of one with another prompt or server, do not meet",
            hint="evaluate one of them again, with the judge of the other (harness eval)",
        )
    for section, key in ALIKE:
        one, two = (getattr(getattr(each.record.recipe, section), key) for each in (ours, theirs))
        if one != two:
            raise NotComparable(
                f"{names}: asked in different ways: {section}.{key} = {one!r} and {two!r}",
                hint=f"evaluate one of them again, with --set {section}.{key} as in the other",
            )


def _version(ours: Found, other: str, store: Store) -> str:
    """The version that a name means. An alias that serves our candidate already stands for what it
    served before."""
    if "@" in other:
        return other
    aliases = store.aliases()
    if other not in aliases:
        if is_run(Path(other)):
            read_record(Path(other))  # which says what is wrong with it
        runs_dir = store.home / "runs"
        runs = [each.name for each in runs_dir.glob("*/")]
        if Path(other).is_dir():
            raise HarnessError(
                f"--against {other}: not a finished run: a folder without report.json; "
                f"{nearest(other, [*aliases, *runs])}",
                hint="name a run's own folder, or its name in the store",
            )
        where = f"in {store.home}" if store.home.is_dir() else f"and no store at {store.home}"
        raise HarnessError(
            f"--against {other!r}: no such run directory, and no run or alias of that name "
            f"{where}: {nearest(other, [*aliases, *runs])}",
            hint="name a run directory; an alias or a version needs its store (--home)",
        )
    served = store.served(other)
    if served[-1] == ours.version and len(served) > 1:
        return served[-2]
    return served[-1]


def _latest(ours: Found, version: str, other: str, store: Store) -> Found:
    """The latest run in the store with a version's answers to the items of `ours`, judged by its
    judge. Raises StoreError where there is none."""
    asked = (_digest(ours.comparison.evalset), ours.comparison.judge)
    for run, decision in _with_answers(version, store):
        if (_digest(decision.evalset), decision.judge) != asked:
            continue
        try:
            found = finished(store.home / "runs" / run)
        except (StoreError, DataError, NotComparable):
            continue
        if version == found.comparison.candidate:
            return found._replace(named=other)
        if version == found.comparison.baseline:
            return found._replace(role="baseline", named=other)
    what = version if other == version else f"{version}, which {other!r} means"
    near = [f"{d.evalset} by {d.judge} in {run}" for run, d in _with_answers(version, store)]
    line = command_line(
        "eval", "RECIPE", "--candidate", ours.version, "--set", f"gate.baseline={other}",
        home=store.home,
    )  # fmt: skip
    raise StoreError(
        f"no finished run in {store.home} has answers of {what} to {ours.comparison.evalset}, "
        f"judged by {ours.comparison.judge}; there is: {'; '.join(near[:3]) or 'none at all'}",
        hint=f"{line} asks both",
    )


def _with_answers(version: str, store: Store) -> list[tuple[str, Decision]]:
    """(run, decision) of those that a version is a side of: the latest first, but runs that were
    made of others after all that were not."""
    found = [
        (run, decision)
        for run, decision in decided(store)
        if decision.comparison and version in (decision.candidate, decision.baseline)
    ]
    return sorted(found, key=lambda each: any(rule.rule == OTHER_RUN for rule in each[1].rules))


def _digest(evalset: str) -> str:
    """name@digest12 → digest12"""
    return evalset.rpartition("@")[2]
