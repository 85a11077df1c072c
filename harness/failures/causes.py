"""The training rows behind a group of failures: those most like it, and those most blamed for it.

Both need what only the store of the training has, and either can be missing: then it is said why,
in one line. Knows nothing of how influence is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from harness.errors import HarnessError, Interrupted
from harness.failures.failed import Cluster, asked
from harness.failures.similar import Texts
from harness.progress import Reporter
from harness.report.record import RoundRecord
from harness.report.wording import one_line
from harness.store import Store
from harness.types import Record

N_ROWS: Final = 3
"""Rows of each kind that a group names."""
MOST_ROWS: Final = 100_000
"""Training rows that are compared; of more, a sample spread evenly."""
_REPEATS: Final = 20
"""Rows that are looked at for each that is named: a weight above 1 repeats them."""
_TEXT: Final = 2000
R = TypeVar("R", "NearRow", "BlamedRow")


class NearRow(Record):
    """A training row that asks for much the same."""

    source: str
    similarity: float
    """Mean cosine of its prompt to those of the group."""
    prompt: str
    answer: str


class BlamedRow(Record):
    """A training row that pulled towards the wrong answers."""

    source: str
    score: float
    relative: float
    """The score as a multiple of the mean over all rows."""
    prompt: str
    answer: str


class Causes(NamedTuple):
    """Of every group, in order."""

    nearest: Sequence[tuple[NearRow, ...]]
    no_nearest: str | None
    """Why there are none."""
    blamed: Sequence[tuple[BlamedRow, ...]]
    no_blame: str | None
    point: str | None
    """Where influence was measured, in words."""


def find_causes(
    run_dir: Path,
    record: RoundRecord,
    clusters: Sequence[Cluster],
    store: Store,
    reporter: Reporter,
    *,
    with_blame: bool,
) -> Causes:
    """What is missing is said, and stops nothing."""
    none: list[tuple[NearRow, ...]] = [() for _ in clusters]
    try:
        nearest, no_nearest = _nearest(record, clusters, store), None
    except HarnessError as error:
        nearest, no_nearest = none, _why(error)
    blamed: list[tuple[BlamedRow, ...]] = [() for _ in clusters]
    point = None
    if not with_blame:
        no_blame: str | None = "not asked for (--no-blame)"
    elif not any(each.regressed for cluster in clusters for each in cluster.members):
        no_blame = "no item regressed: no answer is worse than the baseline's"
    else:
        try:
            blamed, point = _blamed(run_dir, clusters, store, reporter)
            no_blame = None
        except Interrupted:
            raise
        except HarnessError as error:
            no_blame = _why(error)
        except OSError as error:
            no_blame = one_line(f"{error.filename or store.home}: {error.strerror}", 400)
        except ModuleNotFoundError as error:
            no_blame = f"package {error.name} is not installed, and gradients need it"
    return Causes(nearest, no_nearest, blamed, no_blame, point)


def _why(error: HarnessError) -> str:
    hint = f"; {error.hint}" if error.hint else ""
    return one_line(f"{error}{hint}", 400)


def _nearest(
    record: RoundRecord, clusters: Sequence[Cluster], store: Store
) -> list[tuple[NearRow, ...]]:
    """Raises HarnessError where the rows are gone."""
    from harness.blame.trained import read_trained

    rows = read_trained(store, record.manifest)
    step = -(-len(rows) // MOST_ROWS) or 1
    texts = Texts(rows[place].prompt for place in range(0, len(rows), step))
    found = []
    for cluster in clusters:
        near = texts.nearest_to((asked(each.item) for each in cluster.members), _REPEATS * N_ROWS)
        told = ((rows[place * step], cosine) for place, cosine in near)
        found.append(
            _distinct(
                NearRow(
                    source=row.source,
                    similarity=round(cosine, 4),
                    prompt=row.prompt[:_TEXT],
                    answer=row.answer[:_TEXT],
                )
                for row, cosine in told
            )
        )
    return found


def _blamed(
    run_dir: Path, clusters: Sequence[Cluster], store: Store, reporter: Reporter
) -> tuple[list[tuple[BlamedRow, ...]], str]:
    """Raises HarnessError with what is missing."""
    from harness.blame.measure import measure

    influence = measure(run_dir, store, reporter)
    measured = set(influence.items)
    found: list[tuple[BlamedRow, ...]] = []
    for cluster in clusters:
        ids = [each.item.id for each in cluster.members if each.item.id in measured]
        ranked = influence.ranked(ids, _REPEATS * N_ROWS) if ids else []
        found.append(
            _distinct(
                BlamedRow(
                    source=each.row.source,
                    score=float(each.score),
                    relative=round(float(each.relative), 3),
                    prompt=each.row.prompt[:_TEXT],
                    answer=each.row.answer[:_TEXT],
                )
                for each in ranked
                if each.score > 0
            )
        )
    return found, f"{influence.point}, {influence.why_there}"


def _distinct(rows: Iterable[R]) -> tuple[R, ...]:
    """The first N_ROWS of different places."""
    return tuple(islice(_once(rows), N_ROWS))


def _once(rows: Iterable[R]) -> Iterator[R]:
    seen: set[str] = set()
    for row in rows:
        if row.source not in seen:
            seen.add(row.source)
            yield row
