"""What a round took and what proves it: facts that are shown beside the decision."""

from __future__ import annotations

from typing import Any, Literal

from harness.types.record import Growing, Record


class StageTime(Record):
    """One stage of a round, as the command that ran it saw it."""

    name: str
    seconds: float
    """Wall time; 0 where `skipped`."""
    summary: str
    """Its last line."""
    skipped: bool = False
    """Its records were complete before."""


class ProbeReport(Growing):
    """What the probe of one adapter measured; it exists only when every row held. probe.json is
    that of the candidate, with those of the other adapters in it."""

    later = frozenset({"others", "n_chats"})

    version: str
    n_rows: int
    max_difference: float
    """Largest |served − PEFT| log-probability over all completion tokens."""
    tolerance: float
    """What was accepted of it."""
    min_effect: float
    """Smallest over rows of the largest |adapter − base| log-probability."""
    others: tuple[ProbeReport, ...] = ()
    """Of every other adapter that took part: baseline and judges."""
    n_chats: int | None = None
    """Items whose chats were sent through the users' route too and made the same prompt ids."""


class DataSource(Record):
    """What one source of the recipe held."""

    path: str
    """As the recipe has it; of an absolute path the last part."""
    role: str
    n_read: int
    n_skipped: int
    n_rows: int
    """Rows of it that were trained on, repeats counted."""


class DataReport(Record):
    """What became of every example that was read."""

    counts: dict[str, int]
    """As data.json has them: n_examples, n_rows, n_held_out, n_trained_tokens, …"""
    sources: tuple[DataSource, ...]


class CurvePoint(Record):
    """Where a training was after `step`."""

    step: int
    loss: float
    """Mean since the point before."""
    lr: float
    tokens_per_s: float | None
    """Since the point before; None where that was another process."""


class Training(Record):
    """How an adapter was made, from its training's directory."""

    objective: Literal["sft", "dpo", "kto"]
    lora: dict[str, Any]
    """The lora section of the recipe it was trained by, resolved."""
    train: dict[str, Any]
    """Its train section."""
    n_steps: int
    n_tokens: int | None
    """Read in training, prompts and repeats included; None where its progress is not whole."""
    seconds: float | None
    """In the training loop, resumed processes together."""
    curve: tuple[CurvePoint, ...]
