"""The groups of a run's failures on a screen. Every text of an item or a row is made harmless
here."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.failures.told import Failures, ToldGroup
from harness.report.wording import number, one_line, plural, score

_MAX_GROUPS = 12
_SHOWN = 100
_SOURCE = 40


def page(found: Failures) -> RenderableType:
    """The head, a table for each of the first groups, and what could not be told."""
    shown = found.groups[:_MAX_GROUPS]
    return Group(
        Text(_head(found), style="bold"),
        *(part for each in shown for part in (Text(), Text(_title(each), "bold"), _table(each))),
        *(Text(line, "yellow" if is_missing else "dim") for line, is_missing in _notes(found)),
    )


def _head(found: Failures) -> str:
    where = f" of slice {one_line(found.slice, _SOURCE)}" if found.slice else ""
    unjudged = f" ({found.n_unjudged:,} not judged)" if found.n_unjudged else ""
    return one_line(
        f"{found.candidate} against {found.baseline}, {plural(found.n_items, 'item')}{where}"
        f"{unjudged}: {found.n_failed:,} failed (below {found.pass_at}), "
        f"{found.n_regressed:,} regressed, {found.n_unscored:,} without a score",
        4 * _SHOWN,
    )


def _title(group: ToldGroup) -> str:
    kind = ", ".join(group.words)
    if not group.alike:
        kind = "unlike each other" if group.n_items > 1 else "like no other"
    name = f"{one_line(group.slice, _SOURCE)}: " if group.slice else ""
    counts = [plural(group.n_items, "item")]
    counts += [f"{group.n_failed:,} failed"] if group.n_failed else []
    counts += [f"{group.n_regressed:,} regressed"] if group.n_regressed else []
    counts += [f"{group.n_unscored:,} without a score"] if group.n_unscored else []
    if group.lost:
        counts.append(f"{number(-group.lost, 0 if group.lost.is_integer() else 2)} points")
    return f"{group.number}  {name}{kind}   {', '.join(counts)}"


def _table(group: ToldGroup) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold", style="cyan")
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for heading, cells in _rows(group):
        table.add_row(heading, *map(Text, cells))
    return table


def _rows(group: ToldGroup) -> Iterator[tuple[str, tuple[str, str, str]]]:
    for place, item in enumerate(group.examples):
        moved = f"{score(item.baseline)} → {score(item.candidate)}"
        yield "" if place else "   items", (item.item_id, moved, one_line(item.asked, _SHOWN))
    for place, near in enumerate(group.nearest):
        cells = (_place(near.source), number(near.similarity), one_line(near.prompt, _SHOWN))
        yield "" if place else "   nearest", cells
    for place, row in enumerate(group.blamed):
        text = f"{one_line(row.answer, _SHOWN)} ◂ {one_line(row.prompt, _SHOWN)}"
        yield (
            "" if place else "   blamed",
            (_place(row.source), f"{number(row.relative, 1)}×", text),
        )


def _place(source: str) -> str:
    """The first turn goes without saying."""
    return one_line(source.removesuffix(" turn 1"), _SOURCE)


def _notes(found: Failures) -> Iterator[tuple[str, bool]]:
    """Lines, and whether they say that something is missing."""
    if not found.groups:
        return
    yield "", False
    if len(found.groups) > _MAX_GROUPS:
        left = len(found.groups) - _MAX_GROUPS
        yield f"and {plural(left, 'more group')}, which lost less (--json)", False
    for what, why in (("nearest", found.no_nearest), ("blamed", found.no_blame)):
        if why:
            yield f"no {what} rows: {one_line(why, 4 * _SHOWN)}", True
    if found.blamed_at:
        where = one_line(found.blamed_at, 4 * _SHOWN)
        yield f"blamed: × the mean of all rows; measured at {where}", False
