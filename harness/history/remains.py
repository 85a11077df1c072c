"""What is left of one round: its decision, its scores, and what its candidate was made from.

Each is read where it lies and is None where it is lost or is another's; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from harness import jsonio
from harness.errors import DataError, StoreError
from harness.release.gate import UNFIT, ships
from harness.run import Run
from harness.store import Store
from harness.types import Comparison, Decision, Manifest, Record, RuleResult, SliceComparison

LOST = (OSError, DataError, ValidationError, StoreError, KeyError, TypeError)
"""What reading a damaged record raises."""
_OVERALL = ("non-inferiority", "superiority")


class Scores(Record):
    """A round in numbers."""

    candidate: float | None
    """Mean score."""
    baseline: float | None
    difference: float | None
    lower: float | None
    """One-sided lower bound of `difference`."""
    n_items: int
    n_planned: int
    """More than `n_items` where an early look decided."""


class Lineage(Record):
    """What a version was made from."""

    recipe: str
    """name@digest12"""
    data: str
    """Digest of the training rows, 12 hex digits."""
    n_rows: int
    parent: str | None


def find_decision(store: Store, key: str, run: Run | None) -> Decision | None:
    """From the store, else from its run where that still has it."""
    found = store.decision(key)
    if found or run is None:
        return found
    try:
        decision = Decision.model_validate(jsonio.read_json(run.decision_path))
    except LOST:
        return None
    return decision if jsonio.digest(decision.dump())[:12] == key else None


def deciding(decision: Decision) -> tuple[RuleResult | None, tuple[str, ...]]:
    """The rule that a reader wants to see first, and what the others that came out as it did are
    of: slices, or rules by name."""
    if decision.status == "pass":
        overall = (each for each in decision.rules if each.rule in _OVERALL)
        return next(overall, None), ()
    gravest = [each for each in decision.rules if each.status == decision.status]
    others = [
        each.rule if each.slice == "overall" else f"slice {each.slice}" for each in gravest[1:]
    ]
    return (gravest[0] if gravest else None), tuple(dict.fromkeys(others))


def may_ship(decision: Decision) -> bool:
    """Whether it lets its candidate take an alias; not where it does not say by which gate."""
    return "on_inconclusive" in decision.gate and ships(decision)


def let_through(decision: Decision) -> Iterator[str]:
    """What the recipe accepted although it is no evidence."""
    if decision.status == "inconclusive" and may_ship(decision):
        yield "INCONCLUSIVE, LET THROUGH BY gate.on_inconclusive: allow"
    if any(each.sentence.startswith(UNFIT) for each in decision.rules):
        yield UNFIT


def find_scores(run: Run | None, decision: Decision, lost: list[str]) -> Scores | None:
    """From the comparison that was decided on; without it, what the decision itself says."""
    if decision.comparison is None:
        return None
    if run:
        try:
            value = jsonio.read_json(run.comparison_path)
            if jsonio.digest(value) == decision.comparison:
                return _of_comparison(value)
            lost.append("its run holds a later comparison")
        except LOST:
            lost.append("its comparison is gone or damaged")
    rule = next((each for each in decision.rules if each.rule in _OVERALL), None)
    if rule is None:
        return None
    return Scores(
        candidate=None,
        baseline=None,
        difference=rule.value,
        lower=rule.bound,
        n_items=0,
        n_planned=0,
    )


def find_parts(run: Run, decision: Decision) -> list[SliceComparison]:
    """All items and every slice of the comparison that was decided on; none where it is lost."""
    try:
        value = jsonio.read_json(run.comparison_path)
        if jsonio.digest(value) != decision.comparison:
            return []
        return [
            SliceComparison.model_validate(each) for each in (value["overall"], *value["slices"])
        ]
    except LOST:
        return []


def _of_comparison(value: dict[str, object]) -> Scores:
    part = SliceComparison.model_validate(value["overall"])
    look = Comparison.model_validate({**value, "pairs": (), "slices": ()}).look
    n_items = part.difference.n_pairs
    return Scores(
        candidate=part.candidate.mean,
        baseline=part.baseline.mean,
        difference=part.difference.mean,
        lower=part.difference.lower,
        n_items=n_items,
        n_planned=look.n_planned if look else n_items,
    )


def find_lineage(store: Store, version: str, run: Run | None) -> Lineage | None:
    manifest = _manifest(store, version, run.adapter_path if run else None)
    if manifest is None:
        return None
    return Lineage(
        recipe=f"{version.partition('@')[0]}@{manifest.recipe[:12]}",
        data=manifest.data[:12],
        n_rows=manifest.n_rows,
        parent=manifest.parent,
    )


def _manifest(store: Store, version: str, kept_path: Path | None) -> Manifest | None:
    """Of the store, else the copy that a run keeps."""
    try:
        return store.manifest(version)
    except StoreError:
        pass
    try:
        found = Manifest.model_validate(jsonio.read_json(kept_path)) if kept_path else None
    except LOST:
        return None
    return found if found and found.version == version else None
