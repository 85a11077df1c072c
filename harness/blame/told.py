"""The answer to one question, as it is printed: which rows, how much, and what that can show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.blame.influence import BlamedRow, Influence, n_top
from harness.report.record import RoundRecord
from harness.report.wording import number, one_line, plural, points, share
from harness.types import Document, Pair, Record

_SHOWN = 60
_FEW = 3
CANNOT_SHOW = (
    "first-order and local: which rows pull towards the wrong answers from that point, not what "
    "training without them would give"
)


class ToldRow(Record):
    """One blamed row."""

    rank: int
    place: int
    """In the order of the training's rows, from 0."""
    source: str
    score: float
    relative: float
    """The score as a multiple of the mean over all rows."""
    loss: float
    """Mean loss over its answer's tokens at the point."""
    prompt: str
    answer: str


class Blame(Document):
    """What `harness blame --json` prints."""

    run: str
    candidate: str
    baseline: str
    point: str | None
    """The version at which gradients were taken, or "base"; None where nothing regressed."""
    exact: bool
    """False: gradients were projected."""
    items: tuple[Pair, ...]
    """Those that were asked about, worst first."""
    n_regressed: int
    """All that regressed and were measured."""
    n_rows: int
    top_share: float
    """What part of all blame the tenth of the rows with most of it has."""
    rows: tuple[ToldRow, ...]


def told(record: RoundRecord, found: Influence, item_ids: Sequence[str], n: int) -> Blame:
    """The first `n` rows for these items."""
    assert record.comparison
    pairs = {pair.item_id: pair for pair in record.comparison.pairs}
    return Blame(
        run=record.run_id,
        candidate=record.comparison.candidate,
        baseline=record.comparison.baseline,
        point=found.point,
        exact=found.exact,
        items=tuple(pairs[each] for each in found.items if each in set(item_ids)),
        n_regressed=len(found.items),
        n_rows=len(found.rows),
        top_share=found.share_at_top(item_ids),
        rows=tuple(map(_told_row, found.ranked(item_ids, n))),
    )


def nothing(record: RoundRecord) -> Blame:
    """The answer where nothing regressed."""
    assert record.comparison
    return Blame(
        run=record.run_id,
        candidate=record.comparison.candidate,
        baseline=record.comparison.baseline,
        point=None,
        exact=True,
        items=(),
        n_regressed=0,
        n_rows=record.manifest.n_rows,
        top_share=0.0,
        rows=(),
    )


def page(blame: Blame, why_there: str) -> RenderableType:
    """What `harness blame` prints."""
    return Group(
        Text(_about(blame), style="bold"),
        Text(),
        _table(blame.rows),
        *(Text(line, style="dim") for line in _notes(blame, why_there)),
    )


def _told_row(blamed: BlamedRow) -> ToldRow:
    row = blamed.row
    return ToldRow(
        rank=blamed.rank,
        place=row.place,
        source=row.source,
        score=blamed.score,
        relative=blamed.relative,
        loss=blamed.loss,
        prompt=row.prompt,
        answer=row.answer,
    )


def _about(blame: Blame) -> str:
    asked = plural(len(blame.items), "item")
    few = ", ".join(f"{each.item_id} ({points(each.difference)})" for each in blame.items[:_FEW])
    more = ", …" if len(blame.items) > _FEW else ""
    return (
        f"rows of {blame.candidate} blamed for {asked} that it answered worse than "
        f"{blame.baseline}: {few}{more}"
    )


def _table(rows: Sequence[ToldRow]) -> Table:
    """The turn stands beside a row's file and line where not all are first turns."""
    first = " turn 1"
    is_plain = all(row.source.endswith(first) for row in rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for title in ("#", "× mean", "loss"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("row", "asked", "taught"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(
            Text(str(row.rank), style="bold"),
            Text(number(row.relative, 1)),
            Text(number(row.loss)),
            Text(
                one_line(row.source.removesuffix(first) if is_plain else row.source, _SHOWN),
                style="cyan",
            ),
            Text(one_line(row.prompt, _SHOWN)),
            Text(one_line(row.answer, _SHOWN)),
        )
    return table


def _notes(blame: Blame, why_there: str) -> Iterator[str]:
    where = "the base" if blame.point == "base" else blame.point
    how = "exact" if blame.exact else "projected (CountSketch)"
    tenth = n_top(blame.n_rows)
    yield (
        f"the {plural(tenth, 'row')} with most of it have {share(blame.top_share)} of all blame "
        f"(spread evenly: {share(tenth / blame.n_rows)})"
    )
    yield f"gradients at {where} ({why_there}), {how}, for {plural(len(blame.items), 'item')} asked"
    if len(blame.items) < _FEW:
        yield "single items are blamed less surely than a slice or all regressions together"
    yield CANNOT_SHOW
