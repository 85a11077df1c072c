"""One round as a screen of text: the verdict, the rules it broke, a picture of slices, the counts.

Everything is `Text`, so nothing a model wrote is read as markup, and styles are the only colours,
so a pipe or a file gets plain text. Columns that a narrow screen has no room for are left out;
where only ASCII can be written, other characters are replaced by such as look like them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from harness.report import view
from harness.report.around import around
from harness.report.intervals import LEGEND, Axis, axis_of
from harness.report.record import RoundRecord
from harness.report.wording import MISSING, SEVERITY, number, one_line, plural, signed
from harness.types import SideSummary, SliceComparison, Status

_STYLES: Final[dict[Status, str]] = {
    "pass": "bold green",
    "fail": "bold red",
    "inconclusive": "bold yellow",
    "untrusted": "bold magenta",
}
MARKS: Final[dict[Status, str]] = {
    "pass": "✓",
    "fail": "✗",
    "inconclusive": "?",
    "untrusted": "!",
}
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_ASCII: Final = str.maketrans("✓✗−—…·●─│┊◂▸→⟨⟩" + _BLOCKS, "+x--..o-|:<>><>" + "12345678")
_MAX_RULES: Final = 8
"""Broken rules that are listed."""
_GAP: Final = 2
"""Cells between two columns."""
_PICTURE: Final = 21
"""Cells of the picture that a column which may be left out leaves it; it gets what is left over."""
_MIN_PICTURE, _MAX_PICTURE = 13, 49
_WITH_BARS: Final = "candidate"
"""Title of the first column that has bars."""


def summary(record: RoundRecord) -> RenderableType:
    """What `harness round` prints at its end."""
    return _Screen(record)


def brief(record: RoundRecord) -> RenderableType:
    """What it prints with --quiet."""
    return _Plain(_verdict(record))


def place(path: Path) -> Text:
    """A file's path, which a terminal that knows how (OSC 8) opens on a click."""
    return Text(str(path), Style(link=path.absolute().as_uri()))


class _Screen(NamedTuple):
    """As wide as the screen it is printed on."""

    record: RoundRecord

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        record = self.record
        yield _Plain(
            Group(
                _verdict(record),
                *_broken(record),
                *(Text(one_line(each, 400), style="bold") for each in view.warnings(record)),
                *(_compared(record, options.max_width) if record.comparison else ()),
                Text(_counts(record), style="dim"),
            )
        )


class _Plain(NamedTuple):
    """The same in ASCII where nothing else can be written."""

    whole: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not options.ascii_only:
            yield self.whole
            return
        for text, style, control in console.render(self.whole, options):
            plain = text.translate(_ASCII).encode("ascii", "replace").decode()
            yield Segment(plain, style, control)


def _broken(record: RoundRecord) -> Iterator[Text]:
    """The rules that did not pass, gravest first, each with its numbers."""
    rules = [rule for rule in record.decision.rules if rule.status != "pass"]
    rules.sort(key=lambda rule: -SEVERITY.index(rule.status))
    for rule in rules[:_MAX_RULES]:
        value, bound, threshold = view.figures(rule)
        numbers = (("value", value), ("bound", bound), ("limit", threshold))
        told = ", ".join(f"{name} {each}" for name, each in numbers if each != MISSING)
        text = Text(f"  {MARKS[rule.status]} {one_line(rule.rule, 60)}", _STYLES[rule.status])
        yield text.append(f"  {one_line(rule.slice, 40)}  {told}", "not bold default")
    if more := rules[_MAX_RULES:]:
        yield Text(f"  and {plural(len(more), 'rule')} more, in the report")


def _compared(record: RoundRecord, width: int) -> Iterator[RenderableType]:
    yield Text()
    table = _slices(record, width)
    yield table
    _, *slices = view.rows(record)
    if n_small := sum(not view.is_guarded(record, row) for row in slices):
        text = f"not shown: {plural(n_small, 'slice')} too small to guard; they are in the report"
        yield Text(text, style="dim")
    yield Text(LEGEND, style="dim")
    if any(column.header == _WITH_BARS for column in table.columns):
        yield Text("bars: how often each of 1 to 5 was given, a dot for never", style="dim")
    yield Text()
    yield Text(f"overall: {view.overall_line(record)}")
    yield Text(view.certifies(record), style="dim")
    yield from _around(record)
    yield from _states(view.rows(record)[0])
    yield from _others(record)


def _around(record: RoundRecord) -> Iterator[Text]:
    for fact in around(record):
        line = one_line(f"{fact.topic.lower()}: {fact.sentence}", 1000)
        yield Text(line, style="bold yellow" if fact.is_loud else "")


def _verdict(record: RoundRecord) -> Text:
    head = view.headline(record)
    text = Text()
    text.append(f"{MARKS[head.status]} {head.word.upper()}", style=_STYLES[head.status])
    text.append("  " + one_line(head.sentence, 1000))
    return text


class _Column(NamedTuple):
    """One column of the table of slices."""

    title: str
    width: int
    cell: Callable[[SliceComparison], Text]
    align: str = "right"


def _slices(record: RoundRecord, width: int) -> Table:
    """Overall, then the slices that did worst."""
    overall, *others = view.rows(record)
    slices = [row for row in others if view.is_guarded(record, row)]
    slices.sort(key=lambda row: -_severity(record, row))
    columns = _columns(record, [overall, *slices], width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for each in columns:
        table.add_column(
            each.title,
            justify="left" if each.align == "left" else "right",
            no_wrap=True,
            width=each.width,
        )
    for row in (overall, *slices):
        table.add_row(*(each.cell(row) for each in columns))
    return table


def _severity(record: RoundRecord, row: SliceComparison) -> int:
    status = view.slice_status(record, row.name)
    return SEVERITY.index(status) if status else 0


def _columns(record: RoundRecord, rows: list[SliceComparison], width: int) -> list[_Column]:
    """Those that fit, the picture as wide as they leave it; the first to go is the last of
    `optional`."""
    names = min(max(2 + len(one_line(row.name, 40)) for row in rows), max(12, width // 3))
    must = {
        "slice": _Column(
            "slice", max(names, 12), lambda row: _name(record, row, names - 2), "left"
        ),
        "candidate": _Column("score", 5, lambda row: Text(number(row.candidate.mean))),
        "change": _Column("change", 6, lambda row: _change(record, row)),
    }
    with_bars = _Column(_WITH_BARS, 10, lambda row: _mean(row.candidate, "cyan"), "left")
    other_bars = _Column("baseline", 10, lambda row: _mean(row.baseline, "yellow"), "left")
    optional = (
        ("no score", _Column("no score", 8, _without_score)),
        ("bound", _Column("bound", 6, lambda row: Text(signed(row.difference.lower)))),
        ("candidate", with_bars),
        ("baseline", _Column("baseline", 8, lambda row: Text(number(row.baseline.mean)))),
        ("baseline", other_bars),
        ("min", _Column("min", 3, _minimum)),
        ("base", _Column("base", 4, lambda row: _base(row))),
    )
    chosen = dict(must)
    for key, column in optional:
        if _needed(chosen | {key: column}) + _GAP + _PICTURE > width:
            break
        chosen[key] = column
    room = min(_MAX_PICTURE, width - _needed(chosen) - _GAP)
    if room >= _MIN_PICTURE:
        chosen["picture"] = _picture(record, rows, room)
    return [chosen[key] for key in _ORDER if key in chosen]


_ORDER: Final = (
    *("slice", "candidate", "min", "baseline", "base", "change", "bound", "picture", "no score"),
)


def _needed(columns: dict[str, _Column]) -> int:
    return sum(each.width for each in columns.values()) + _GAP * (len(columns) - 1)


def _picture(record: RoundRecord, rows: list[SliceComparison], width: int) -> _Column:
    margin = float(record.decision.gate.get("margin", record.recipe.gate.margin))
    axis = axis_of([row.difference for row in rows], margin, width)
    return _Column(axis.head(), width, lambda row: _drawn(record, row, axis), "left")


def _drawn(record: RoundRecord, row: SliceComparison, axis: Axis) -> Text:
    status = view.slice_status(record, row.name)
    style = _STYLES[status].removeprefix("bold ") if status and status != "pass" else "dim"
    return Text(axis.draw(row.difference), style)


def _name(record: RoundRecord, row: SliceComparison, limit: int) -> Text:
    status = view.slice_status(record, row.name)
    mark = MARKS[status] if status else " "
    return Text(f"{mark} {one_line(row.name, limit)}", style=_loud(status))


def _change(record: RoundRecord, row: SliceComparison) -> Text:
    return Text(signed(row.difference.mean), style=_loud(view.slice_status(record, row.name)))


def _loud(status: Status | None) -> str:
    return _STYLES[status] if status and status != "pass" else ""


def _minimum(row: SliceComparison) -> Text:
    return Text(MISSING if row.candidate.minimum is None else str(row.candidate.minimum))


def _base(row: SliceComparison) -> Text:
    return Text(number(row.base.mean if row.base else None), style="dim")


def _without_score(row: SliceComparison) -> Text:
    n_missing = row.difference.n_missing
    return Text(f"{n_missing}/{row.difference.n_pairs}", style="bold red" if n_missing else "dim")


def _mean(side: SideSummary, style: str) -> Text:
    return Text(f"{number(side.mean):>4} ").append(bars(side), style=style)


def bars(side: SideSummary) -> str:
    """Five characters, how often 1 to 5 were given; a dot for never."""
    most = max(side.distribution)
    heights = [-(-8 * count // most) - 1 if count else None for count in side.distribution]
    return "".join("·" if height is None else _BLOCKS[height] for height in heights)


def _others(record: RoundRecord) -> Iterator[Text]:
    """One line a target that was asked beside the sides, on all items."""
    for name, side in view.others(record).items():
        text = Text(f"{one_line(name, 40):<9} ").append(_mean(side, "dim"))
        yield text.append(f"  {side.n_scored} of {side.n_items} scored").append(_gaps(side))


def _states(overall: SliceComparison) -> Iterator[Text]:
    """One line a side; every answer that is not a plain scored one is counted."""
    for role, side in view.sides(overall):
        scored = f"{role:<10}{side.n_scored} of {plural(side.n_items, 'item')} scored"
        yield Text(scored).append(_gaps(side))


def _gaps(side: SideSummary) -> Text:
    text = Text()
    for n, word in (
        (side.n_unscored, "not scored"),
        (side.n_truncated, "truncated"),
        (side.n_failed, "failed"),
    ):
        text.append(f", {n} {word}", style="bold red" if n else "dim")
    return text


def _counts(record: RoundRecord) -> str:
    done = (f"{key.replace('_', ' ')} {n:,}" for key, n in record.counts.items())
    return one_line(f"{', '.join(done)}  ({record.run_id}, {record.finished_at})", 400)
