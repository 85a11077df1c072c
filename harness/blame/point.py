"""Where gradients are taken: at the version that still answered well.

Seen from there, a row that is wrong pulls towards the wrong answer. At the candidate itself its
rows are half learnt, and those that taught it best pull least (docs/blame.md has the figures).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from harness.errors import HarnessError
from harness.report.record import RoundRecord
from harness.store import Store
from harness.types import Comparison, Manifest

BASE = "base"


class Point(NamedTuple):
    """A place in the space of adapters."""

    name: str
    """The version, or "base"."""
    adapter_dir: Path
    """Whose A and B; at the base the candidate's, with B = 0, which changes nothing."""
    why: str

    @property
    def is_base(self) -> bool:
        return self.name == BASE


def choose_point(record: RoundRecord, manifest: Manifest, store: Store) -> Point:
    """The baseline where it is an adapter of the same base, else the base. Raises StoreError for a
    version that is gone."""
    comparison = record.comparison
    if comparison is None:
        raise HarnessError(f"{record.run_id}: nothing was compared")
    model = _asked_model(record, comparison)
    if "@" in model:
        other = store.manifest(model)
        if other.base.weights == manifest.base.weights:
            return Point(model, store.version_dir(model), "the baseline, which still answered well")
    named = comparison.baseline if "@" not in model else f"{model}, of another base"
    why = f"the baseline {named!r} is no adapter of this base: weaker than at an adapter"
    return Point(BASE, store.version_dir(manifest.version), why)


def _asked_model(record: RoundRecord, comparison: Comparison) -> str:
    """The baseline's model; of a target on another endpoint none that is known here."""
    asked = record.recipe.eval.targets.get(comparison.baseline)
    if asked and asked.endpoint:
        return ""
    if asked:
        return next((g.model for g in record.generations if g.role == "baseline"), "")
    return comparison.baseline
