"""The one thing the pages are made from: everything a finished round left behind.

Pure data, already computed elsewhere. The report reads it and adds nothing: no statistics, no
clock, no files.
"""

from __future__ import annotations

from harness.recipe import Recipe
from harness.types import (
    Attempt,
    Comparison,
    DataReport,
    Decision,
    Generation,
    Growing,
    Item,
    JudgeHealth,
    Manifest,
    NoiseFloor,
    Precision,
    ProbeReport,
    Spending,
    StageTime,
    Training,
    Verdict,
)


class RoundRecord(Growing):
    """A finished round."""

    later = frozenset(
        {
            "attempts",
            "floor",
            "precision",
            "stages",
            "spending",
            "proof",
            "health",
            "data",
            "training",
            "packages",
            "ancestors",
        }
    )

    recipe: Recipe
    manifest: Manifest
    """Of the candidate."""
    comparison: Comparison | None
    """None when the evidence failed before there was anything to compare."""
    decision: Decision
    items: tuple[Item, ...]
    generations: tuple[Generation, ...]
    verdicts: tuple[Verdict, ...]
    counts: dict[str, int]
    """What was done, for example trained_steps, generated, judged, from_cache, unscored."""
    run_id: str
    finished_at: str
    """ISO 8601, as the round wrote it."""
    attempts: tuple[Attempt, ...] = ()
    """Those against the same baseline and evalset up to this one, which is the last."""
    floor: NoiseFloor | None = None
    """Of the same evalset and judge, where it was measured (harness gate --aa)."""
    precision: Precision | None = None
    """What the evalset could certify, known before it was judged."""
    stages: tuple[StageTime, ...] = ()
    """Of the command that made the round, up to the comparison."""
    spending: Spending | None = None
    """Of all judging in this run, that of interrupted commands among it."""
    proof: ProbeReport | None = None
    health: JudgeHealth | None = None
    data: DataReport | None = None
    """Of the candidate's training, like `training`."""
    training: Training | None = None
    packages: dict[str, str] | None = None
    """Package → version of what asked and judged."""
    ancestors: tuple[str, ...] = ()
    """Versions that the candidate was continued from, the nearest first."""
