"""Everything `harness check` finds, as one record: data, defects, template, training, gate.

Reads the sources once. Spends no GPU, makes no model call and starts no process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from harness.chat.lint import Finding
from harness.errors import DataError
from harness.plan import TrainingPlan, make_plan
from harness.precision import foresee, with_retention
from harness.progress import Reporter
from harness.recipe import LoadedRecipe
from harness.sides import check_names
from harness.store import Store
from harness.training.cost import Cost, estimate, measured_speed
from harness.training.quality.diversity import Diversity, DiversityReport, advice
from harness.training.quality.duplicates import NearDuplicates, NearReport
from harness.training.quality.lint import LintReport, Lints, is_clean
from harness.training.reading.ahead import count_rows
from harness.training.reading.example import Example
from harness.training.tokens import Token, tokens_of
from harness.types import Precision


class ShownRow(NamedTuple):
    """One row, token by token."""

    number: int
    """From 1, in training order."""
    source: str
    tokens: tuple[Token, ...]


class Checkup(NamedTuple):
    """What a recipe comes to."""

    plan: TrainingPlan
    lints: tuple[LintReport, ...]
    n_clean: int
    """Examples without a defect that drops."""
    near: NearReport
    kinds: dict[str, int]
    """Instruction type → examples, the commonest first."""
    diversity: DiversityReport
    template: tuple[Finding, ...]
    cost: Cost
    precision: tuple[Precision, ...]
    """What the evalset can certify, and then what that of retention can."""
    advice: str
    rows: tuple[ShownRow, ...]

    def clean(self) -> Iterator[Example]:
        """The examples that are trained on and have none of the defects that drop."""
        return filter(is_clean, self.kept())

    def kept(self) -> Iterator[Example]:
        """The examples that are trained on, before weights and the length limit."""
        return map(self.plan.prepared.table.example, self.plan.prepared.kept)

    def held_out(self) -> Iterator[Example]:
        """The examples that are kept out of training."""
        return map(self.plan.prepared.table.example, self.plan.prepared.held_out)

    def dump(self) -> dict[str, Any]:
        """What `harness check --json` prints."""
        plan, prepared = self.plan, self.plan.prepared
        return {
            "recipe": plan.recipe.name,
            "digest": plan.recipe.digest(),
            "base": plan.recipe.base.model,
            **prepared.counts._asdict(),
            "n_steps": prepared.n_steps,
            "data": prepared.data,
            "sources": [each._asdict() for each in prepared.sources],
            "skipped": [each._asdict() for each in prepared.skipped],
            "dropped": list(prepared.dropped),
            "repeats": _plain(prepared.repeats),
            "near_repeats": _plain(self.near._replace(leader_of={}))
            | {"n_repeats": self.near.n_repeats},
            "overlap": _plain(prepared.overlap),
            "defects": [_plain(each) for each in self.lints],
            "n_clean": self.n_clean,
            "types": self.kinds,
            "diversity": _plain(self.diversity),
            "template": [each._asdict() for each in self.template],
            "training": self.cost._asdict() | {"trainable_share": self.cost.trainable_share},
            "evalset": plan.evalset.label,
            "n_items": len(plan.evalset.items),
            "retention": plan.retention.label if plan.retention else None,
            "smallest_margin": self.precision[0].overall.smallest_margin,
            "precision": [each.dump() for each in self.precision],
            "advice": self.advice,
            "rows": [_plain(each) for each in self.rows],
        }


def inspect(
    loaded: LoadedRecipe, store: Store, reporter: Reporter, *, rows: Sequence[int] = ()
) -> Checkup:
    """Check a recipe; `rows` are the numbers of those to show, three typical ones if none.

    Raises HarnessError for everything that would stop a round before it spends anything.
    """
    lints, near, diversity = Lints(), NearDuplicates(loaded.recipe.data.seed), Diversity()
    reporter.stage("check", count_rows(loaded), "rows")
    plan = make_plan(loaded, store, observers=(lints, near, diversity), advance=reporter.advance)
    check_names(plan, store)
    reporter.tell(now="near duplicates")
    recipe, prepared = plan.recipe, plan.prepared
    speed = measured_speed(store.home / "training", prepared.base.weights)
    return Checkup(
        plan=plan,
        lints=lints.result(),
        n_clean=lints.n_clean,
        near=near.find(recipe.data.near),
        kinds=dict(Counter(prepared.kinds).most_common()),
        diversity=diversity.result(),
        template=prepared.findings,
        cost=estimate(recipe, prepared, speed),
        precision=tuple(foresee(each, store) for each in with_retention(plan)),
        advice=advice(len(prepared.kept) - prepared.counts.n_untaken),
        rows=tuple(_shown(plan, number) for number in rows or _typical(plan)),
    )


def _typical(plan: TrainingPlan) -> list[int]:
    """The first row, the one of median length and the longest."""
    table, places = plan.prepared.table, plan.prepared.rows.places
    by_length = sorted(range(len(places)), key=lambda i: table.length(places[i]))
    return list(dict.fromkeys([1, by_length[len(places) // 2] + 1, by_length[-1] + 1]))


def _shown(plan: TrainingPlan, number: int) -> ShownRow:
    n_rows = len(plan.prepared.rows)
    if number > n_rows:
        raise DataError(f"--row {number}: accepted: 1 to {n_rows}")
    row = plan.prepared.rows[number - 1]
    tokens = tokens_of(row, plan.chat.decode, plan.chat.stop_ids)
    return ShownRow(number, row.source, tuple(tokens))


def _plain(value: Any) -> Any:
    """Named tuples as mappings, all the way down."""
    if hasattr(value, "_asdict"):
        return {key: _plain(each) for key, each in value._asdict().items()}
    if isinstance(value, tuple | list | frozenset | set):
        return [
            _plain(each)
            for each in (sorted(value) if isinstance(value, set | frozenset) else value)
        ]
    return value
