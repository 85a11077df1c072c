"""What a round took and what proves it: facts that are shown beside the decision."""

from __future__ import annotations

from harness.types.record import Record


class StageTime(Record):
    """One stage of a round, as the command that ran it saw it."""

    name: str
    seconds: float
    """Wall time; 0 where `skipped`."""
    summary: str
    """Its last line."""
    skipped: bool = False
    """Its records were complete before."""
