"""A source of the recipe to examples, row by row: the container and the shape are found, not asked.

Knows nothing of templates, tokens or weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

from harness.errors import DataError
from harness.recipe import Source
from harness.recipe.training import Objective, Shape
from harness.training.reading.example import BadRow, Example, NoColumn, Skipped
from harness.training.reading.files import open_rows
from harness.training.reading.json_rows import Placed, PlacedRows
from harness.training.reading.shapes import (
    SHAPES,
    detect,
    examples,
    no_column,
    renamed,
    require_columns,
    require_known,
    require_objective,
)
from harness.training.reading.worklist import UNFILLED, is_wished, require_filled

OnError = Literal["stop", "skip"]
_TRIED = 100
"""Rows that are looked at for the shape before a file is given up."""
_SKIP = "correct the row, or set data.on_error to skip"


class Opened(NamedTuple):
    """A source that is being read."""

    container: str
    """What it is: json, jsonl, csv (each also with .gz), parquet, dataset or hub."""
    shape: Shape
    examples: Iterator[Example | Skipped]
    """In the order of the source; no row is held."""


def open_source(source: Source, root: Path, *, objective: Objective, on_error: OnError) -> Opened:
    """Open a source and tell its shape by its first readable row; `root` is where its path
    starts. Rows that cannot be used stop the reading (`stop`) or come as Skipped (`skip`).

    Raises DataError, here or while the examples are read, that names file:line or row, column,
    value and what is accepted: for such a row, for a file that cannot be read as a whole, for a
    shape the objective cannot be trained on, and for a source without a usable row.
    """
    container, rows = open_rows(source, root)
    try:
        first, shape = _first(rows, source, on_error)
        require_objective(shape, objective, source.path)
    except BaseException:
        rows.close()
        raise
    return Opened(container, shape, _usable(first, rows, source, shape, objective, on_error))


def _first(rows: Iterator[Placed], source: Source, on_error: OnError) -> tuple[list[Placed], Shape]:
    """The rows up to the first that has a known shape, with what is wrong in those before it."""
    tried: list[tuple[str, BadRow]] = []
    for place, row in rows:
        try:
            if isinstance(row, BadRow):
                raise row
            shape = source.format or _detected(row, source)
        except BadRow as bad:
            tried.append((place, bad))
            if on_error == "stop" or len(tried) >= _TRIED:
                break
        else:
            require_columns(source, shape, row)
            return [*tried, (place, row)], shape
    if not tried:
        raise DataError(
            f"{source.path}: no rows", hint="the file is empty, or has no more than a header"
        )
    raise _refusal(*tried[0])


def _detected(row: dict[str, Any], source: Source) -> Shape:
    try:
        return detect(renamed(row, source.columns))
    except BadRow:
        require_known(source, row)
        raise


def _usable(
    first: list[Placed],
    rows: PlacedRows,
    source: Source,
    shape: Shape,
    objective: Objective,
    on_error: OnError,
) -> Iterator[Example | Skipped]:
    """All examples, and an error when there are none."""
    n_read = 0
    first_bad: Skipped | None = None
    with closing(rows):
        found = _examples(_named(chain(first, rows), source), shape, objective)
        for each in found:
            if isinstance(each, Example):
                n_read += 1
            elif on_error == "stop":
                raise _stopped(each, found)
            else:
                first_bad = first_bad or each
            yield each
    if not n_read:
        why = f", the first: {first_bad.source}: {first_bad.reason}" if first_bad else ""
        raise DataError(f"{source.path}: no row can be used{why}", hint=f"accepted: {SHAPES}")


def _stopped(bad: Skipped, rest: Iterator[Example | Skipped]) -> DataError:
    """The refusal of a row. Of a worklist's lines it says how many nobody has filled in."""
    reason = bad.reason
    if reason == UNFILLED:
        n = 1 + sum(isinstance(each, Skipped) and each.reason == UNFILLED for each in rest)
        reason += f": the first of {n:,} such lines" if n > 1 else ": the only such line"
    return DataError(f"{bad.source}: {reason}", hint=bad.hint or _SKIP)


def _named(rows: Iterator[Placed], source: Source) -> Iterator[Placed]:
    """The rows with the names of data.sources.columns replaced by ours. Raises DataError at the
    end for a name that no row had."""
    if not source.columns:
        yield from rows
        return
    unseen = set(source.columns.values())
    last: dict[str, Any] = {}
    for place, row in rows:
        if isinstance(row, BadRow):
            yield place, row
            continue
        unseen -= row.keys()
        last = row
        yield place, renamed(row, source.columns)
    for theirs in unseen:
        raise no_column(source, theirs, last)


def _examples(
    rows: Iterator[Placed], shape: Shape, objective: Objective
) -> Iterator[Example | Skipped]:
    for place, row in rows:
        try:
            if isinstance(row, BadRow):
                raise row
            if not is_wished(row):
                yield from examples(row, shape, objective, place)
                continue
            require_filled(row)
            for each in examples(row, shape, objective, place):
                yield each._replace(worklist=True) if isinstance(each, Example) else each
        except BadRow as bad:
            yield Skipped(place, str(bad), bad.hint or _other_shape(bad, row, shape))


def _other_shape(bad: BadRow, row: dict[str, Any] | BadRow, shape: Shape) -> str | None:
    """What to do about a row that lacks a column since it is of another shape."""
    if not isinstance(bad, NoColumn) or isinstance(row, BadRow):
        return None
    try:
        found = detect(row)
    except BadRow:
        return None
    return (
        f"the row is of shape {found}, and the file is read as {shape}: correct "
        "data.sources.format, or give rows of each shape a file of their own"
    )


def _refusal(place: str, bad: BadRow) -> DataError:
    return DataError(f"{place}: {bad}", hint=bad.hint or _SKIP)
