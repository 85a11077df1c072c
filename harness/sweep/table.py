"""A finished sweep as a screen of text: the ranked table, and in words who may be the best.

Everything is `Text`, as in harness.report.terminal. Adds no numbers of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.report.wording import confidence, number, one_line, plural, share, signed
from harness.sweep.grid import short_keys, value_text
from harness.sweep.ranking import PointResult, SweepRecord
from harness.types import SideSummary

_REASON = 160
_NAMED = 5


def summary(record: SweepRecord) -> RenderableType:
    """What `harness sweep` prints at its end."""
    return Group(
        _table(record),
        Text(_legend(record), style="dim"),
        Text(),
        *(Text(one_line(each, _REASON), style="bold magenta") for each in record.problems),
        *(Text(each) for each in _conclusion(record)),
    )


def brief(record: SweepRecord) -> RenderableType:
    """What it prints with --quiet: who is first, or may be."""
    said = [*(one_line(each, _REASON) for each in record.problems), *_conclusion(record)]
    return Text(said[0])


def _table(record: SweepRecord) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    numbers = ("n", "mean", "interval", "pass", "change", "bound", "behind")
    for title in ("#", *short_keys(list(record.grid)), *numbers):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("version", overflow="fold")
    for point in record.points:
        table.add_row(*_cells(point, list(record.grid)), style=None if point.may_be_best else "dim")
    blank = [Text("")] * len(record.grid)
    for role, side in (("baseline", record.baseline_side), ("base", record.base_side)):
        if side:
            name = f"{role} {record.baseline}" if role == "baseline" else role
            table.add_row("", *blank, *_side(side), *[Text("")] * 3, Text(name), style="dim")
    return table


def _cells(point: PointResult, keys: list[str]) -> Iterator[Text]:
    yield Text("—" if point.rank is None else str(point.rank), style="bold")
    for key in keys:
        yield Text(one_line(value_text(point.values[key]), 24), style="cyan")
    if point.comparison is None:
        yield from [Text("—")] * 7
        yield Text(point.version or "training failed", style="bold red")
        return
    overall = point.comparison.overall
    yield from _side(overall.candidate)
    yield Text(signed(overall.difference.mean))
    yield Text(signed(overall.difference.lower))
    behind = number(point.behind.mean) if point.behind else ""
    yield Text(behind if point.may_be_best or not behind else f"{behind} *")
    yield Text(point.version or "")


def _side(side: SideSummary) -> Iterator[Text]:
    low, high = side.mean_interval or (None, None)
    scored = f"{side.n_scored}/{side.n_items}" if side.n_unscored else str(side.n_items)
    yield Text(scored, style="bold red" if side.n_unscored else "")
    yield Text(number(side.mean), style="bold")
    yield Text(f"{number(low)}–{number(high)}")
    yield Text(share(side.pass_share))


def _legend(record: SweepRecord) -> str:
    together = f"{confidence(record.alpha)} for all {plural(len(record.points), 'point')} together"
    return (
        "n: items scored; interval: 95%, of each mean by itself\n"
        f"change: against {record.baseline}, item by item; bound: its lower, {together}\n"
        f"behind: the first minus this, item by item; *: not the best, {together}"
    )


def _conclusion(record: SweepRecord) -> Iterator[str]:
    if not record.ranked:
        yield "no point can be ranked"
        return
    first, *others = record.ranked
    near = [each.name for each in others if each.may_be_best]
    n_items = first.comparison.overall.candidate.n_items if first.comparison else 0
    if near:
        named = ", ".join(near[:_NAMED]) + (
            f" and {len(near) - _NAMED} more" if len(near) > _NAMED else ""
        )
        yield (
            f"{first.name} has the highest mean; {named} cannot be told apart from it on "
            f"{plural(n_items, 'item')}"
        )
    elif others:
        yield f"{first.name} is ahead of every other point"
    chosen = (
        f"the best of {len(record.ranked)} was chosen by its score on these items, which flatters "
        "it, so "
        if others
        else ""
    )
    yield (
        f"{chosen}a sweep moves no alias; let it pass a round, best on items no sweep has seen "
        "(--set eval.evalset=FOLDER)"
    )
