"""How the candidate was made: its method in words, what became of its data, and its curve.

Positions in percent, as in `charts`. Knows nothing of colours or markup.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from harness.report.cost import duration
from harness.report.record import RoundRecord
from harness.report.wording import number, one_line, plural
from harness.types import CurvePoint, DataReport, Training

_METHODS: Final = {
    "sft": "supervised fine-tuning (SFT)",
    "dpo": "direct preference optimisation (DPO)",
    "kto": "Kahneman–Tversky optimisation (KTO)",
}
_LEFT_OUT: Final = {
    "n_skipped": "could not be read",
    "n_removed": "repeated another and left out",
    "n_overlapping": "stand in an evalset and were left out",
    "n_held_out": "kept out of training",
    "n_untaken": "left out by their source's weight",
    "n_dropped": "too long and left out",
}
_STEPS: Final = (1, 2, 2.5, 5, 10)
_MAX_LINES: Final = 5


def method(record: RoundRecord) -> Iterator[tuple[str, str]]:
    """(topic, words) of how the adapter was trained, as far as it is known."""
    manifest, made = record.manifest, record.training
    words = _METHODS[manifest.objective]
    if manifest.quantize:
        words += f" on the base quantised to {manifest.quantize}"
    yield "Method", f"LoRA, {words}"
    if made is None:
        yield "LoRA", f"rank {manifest.rank}"
        yield "Steps", f"{manifest.n_steps:,} on {plural(manifest.n_rows, 'row')}"
        return
    yield "LoRA", _lora(made.lora)
    yield "Steps", _steps(made, manifest.n_rows)
    yield "Learning rate", _rate(made.train)
    if made.seconds and made.n_tokens:
        speed = made.n_tokens / made.seconds
        yield (
            "Speed",
            f"{made.n_tokens:,} tokens read in {duration(made.seconds)}, {speed:,.0f} a second",
        )


def _lora(lora: dict[str, Any]) -> str:
    targets = lora.get("targets")
    names = ", ".join(map(str, targets)) if isinstance(targets, list) else str(targets)
    text = f"rank {lora.get('r')}, alpha {_plain(lora.get('alpha'))}, on {names}"
    if lora.get("dropout"):
        text += f", dropout {_plain(lora['dropout'])}"
    return one_line(text + (", rank-stabilised" if lora.get("rslora") else ""), 400)


def _steps(made: Training, n_rows: int) -> str:
    batch, times = made.train.get("batch"), made.train.get("grad_accum") or 1
    if not isinstance(batch, int) or not isinstance(times, int):
        return f"{made.n_steps:,}"
    seen = made.n_steps * batch * times / max(1, n_rows)
    return f"{made.n_steps:,} of {plural(batch * times, 'row')}: each row about {seen:.1f} times"


def _rate(train: dict[str, Any]) -> str:
    text = f"at most {_plain(train.get('lr'))}, {train.get('schedule')}"
    if train.get("warmup_steps"):
        text += f" after {train['warmup_steps']} steps of warm-up"
    if train.get("objective") in ("dpo", "kto"):
        text += f"; beta {_plain(train.get('beta'))}"
    return one_line(text, 200)


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


class Share(NamedTuple):
    """What became of some of the examples."""

    words: str
    n: int
    width: float
    """Percent of all that were read."""
    is_trained: bool = False


def flow(data: DataReport) -> list[Share]:
    """From what was read to what was trained on; nothing that concerned no example. Of a source
    that is taken more than once more rows are trained on than were read."""
    counts = data.counts
    n_read = counts.get("n_examples", 0) + counts.get("n_skipped", 0)
    n_rows = counts.get("n_rows", 0)
    most = max(1, n_read, n_rows)
    found = [Share("read", n_read, round(100 * n_read / most, 2))]
    found += [
        Share(words, n, round(100 * n / most, 2))
        for key, words in _LEFT_OUT.items()
        if (n := counts.get(key, 0))
    ]
    trained = Share("trained on", n_rows, round(100 * n_rows / most, 2), True)
    return [*found, trained]


class Tick(NamedTuple):
    """A line of the axis; percent from the top, or from the left."""

    at: float
    label: str


class Curve(NamedTuple):
    """Loss and learning rate over the steps, in a square of 100 by 100 from the top left."""

    loss: str
    """Points of a polyline."""
    lr: str
    y_ticks: tuple[Tick, ...]
    x_ticks: tuple[Tick, ...]
    highest_lr: str
    speed: str | None
    """Slowest and fastest part, tokens a second."""
    description: str
    n_steps_a_point: int


def curve(made: Training) -> Curve | None:
    """None where fewer than two points were kept."""
    points = made.curve
    if len(points) < 2:
        return None
    last = max(made.n_steps, points[-1].step, 1)
    y_ticks = _axis(max(0.0, *(each.loss for each in points)))
    top = y_ticks[-1]
    highest = max(each.lr for each in points)
    lowest = min(points, key=lambda each: each.loss)
    return Curve(
        loss=_line(points, last, [each.loss / top for each in points]),
        lr=_line(points, last, [each.lr / (highest or 1) for each in points]),
        y_ticks=tuple(Tick(round(100 * (1 - each / top), 2), f"{each:g}") for each in y_ticks),
        x_ticks=tuple(
            Tick(round(100 * each / last, 2), f"{each:,.0f}")
            for each in _axis(last)
            if each <= last
        ),
        highest_lr=f"{highest:.2g}",
        speed=_speed(points),
        description=f"Loss over {last:,} steps: {number(points[0].loss)} at step "
        f"{points[0].step:,}, {number(points[-1].loss)} at the end, lowest "
        f"{number(lowest.loss)} at step {lowest.step:,}. Learning rate at most {highest:.2g}.",
        n_steps_a_point=max(1, round(last / len(points))),
    )


def _line(points: Sequence[CurvePoint], last: int, heights: Sequence[float]) -> str:
    return " ".join(
        f"{100 * each.step / last:.2f},{100 * (1 - height):.2f}"
        for each, height in zip(points, heights, strict=True)
    )


def _axis(most: float) -> list[float]:
    """From 0 to at least `most` in at most five round steps."""
    if most <= 0:
        return [0.0, 1.0]
    power = 10 ** math.floor(math.log10(most / _MAX_LINES))
    step = next(each * power for each in _STEPS if each * power * _MAX_LINES >= most * (1 - 1e-9))
    return [float(f"{n * step:.6g}") for n in range(math.ceil(most / step - 1e-9) + 1)]


def _speed(points: Sequence[CurvePoint]) -> str | None:
    speeds = [each.tokens_per_s for each in points if each.tokens_per_s]
    return f"{min(speeds):,.0f} to {max(speeds):,.0f}" if speeds else None
