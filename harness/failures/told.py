"""What `harness failures` says: the groups of a run's failures, and what went wrong in each.

Pure: from a record, its clusters and their causes. Knows nothing of how it is printed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from harness.blame.asked import compared
from harness.failures.causes import BlamedRow, Causes, NearRow
from harness.failures.failed import Cluster, Failed, asked
from harness.report.record import RoundRecord
from harness.report.wording import one_line, plural, score
from harness.types import Document, Generation, Record, Verdict

N_EXAMPLES: Final = 3
_LINE: Final = 120


class ToldItem(Record):
    """One item of a group."""

    item_id: str
    candidate: int | float | None
    baseline: int | float | None
    asked: str
    """One line of the question."""


class ToldGroup(Record):
    """Items of one slice that are alike."""

    number: int
    """From 1, in the order of the damage."""
    slice: str | None
    words: tuple[str, ...]
    """What tells them from the rest."""
    alike: bool
    """False: those of the slice that are like no other."""
    n_items: int
    n_failed: int
    """Scored below `pass_at`; those that regressed can be among them."""
    n_regressed: int
    n_unscored: int
    lost: float
    """Points below the baseline's scores, summed over those that regressed."""
    wrong: str
    """What went wrong in general, without a word of any item."""
    item_ids: tuple[str, ...]
    """The worst first."""
    examples: tuple[ToldItem, ...]
    nearest: tuple[NearRow, ...]
    blamed: tuple[BlamedRow, ...]


class Failures(Document):
    """What `harness failures --json` prints."""

    run: str
    candidate: str
    baseline: str
    evalset: str
    slice: str | None
    """The only slice that was looked at."""
    pass_at: int
    n_items: int
    """Judged, of that slice."""
    n_failed: int
    n_regressed: int
    n_unscored: int
    n_unjudged: int
    """Items of the evalset that a decision at an early look left out, of all slices."""
    groups: tuple[ToldGroup, ...]
    no_nearest: str | None
    """Why no group has nearest rows."""
    no_blame: str | None
    blamed_at: str | None
    """Where influence was measured, in words."""


def told(
    record: RoundRecord, clusters: Sequence[Cluster], causes: Causes, slice_: str | None
) -> Failures:
    comparison = compared(record)
    groups = tuple(
        _group(number, cluster, record, near, blamed)
        for number, (cluster, near, blamed) in enumerate(
            zip(clusters, causes.nearest, causes.blamed, strict=True), 1
        )
    )
    return Failures(
        run=record.run_id,
        candidate=comparison.candidate,
        baseline=comparison.baseline,
        evalset=comparison.evalset,
        slice=slice_,
        pass_at=comparison.pass_at,
        n_items=sum(slice_ in (None, pair.slice) for pair in comparison.pairs),
        n_failed=sum(each.n_failed for each in groups),
        n_regressed=sum(each.n_regressed for each in groups),
        n_unscored=sum(each.n_unscored for each in groups),
        n_unjudged=len(record.items) - len(comparison.pairs),
        groups=groups,
        no_nearest=causes.no_nearest,
        no_blame=causes.no_blame,
        blamed_at=causes.point,
    )


def _group(
    number: int,
    cluster: Cluster,
    record: RoundRecord,
    nearest: tuple[NearRow, ...],
    blamed: tuple[BlamedRow, ...],
) -> ToldGroup:
    members = cluster.members
    return ToldGroup(
        number=number,
        slice=cluster.slice,
        words=cluster.words,
        alike=cluster.alike,
        n_items=len(members),
        n_failed=sum(each.failed for each in members),
        n_regressed=sum(each.regressed for each in members),
        n_unscored=sum(each.unscored for each in members),
        lost=round(cluster.lost, 6),
        wrong=what_went_wrong(members, record),
        item_ids=tuple(each.item.id for each in members),
        examples=tuple(map(_item, members[:N_EXAMPLES])),
        nearest=nearest,
        blamed=blamed,
    )


def _item(each: Failed) -> ToldItem:
    return ToldItem(
        item_id=each.item.id,
        candidate=each.pair.candidate,
        baseline=each.pair.baseline,
        asked=one_line(asked(each.item), _LINE),
    )


def what_went_wrong(members: Sequence[Failed], record: RoundRecord) -> str:
    """In numbers and the names of checks alone."""
    ids = {each.item.id for each in members}
    return "; ".join(
        (
            _scores(members),
            *_states([g for g in record.generations if _is_ours(g, ids)]),
            *_checks([v for v in record.verdicts if _is_ours(v, ids)]),
        )
    )


def _is_ours(each: Generation | Verdict, ids: set[str]) -> bool:
    return each.role == "candidate" and each.item_id in ids


def _scores(members: Sequence[Failed]) -> str:
    scored = [each.pair for each in members if each.pair.candidate is not None]
    n_unscored = len(members) - len(scored)
    gone = f"{plural(n_unscored, 'answer')} of the candidate without a score"
    if not scored:
        return gone
    text = f"the candidate's answers scored {_range(pair.candidate for pair in scored)}"
    if any(pair.baseline is not None for pair in scored):
        text += f" where the baseline's scored {_range(pair.baseline for pair in scored)}"
    return f"{text}; {gone}" if n_unscored else text


def _range(scores: Iterable[int | float | None]) -> str:
    known = sorted(each for each in scores if each is not None)
    ends = dict.fromkeys(map(score, (known[0], known[-1])))
    return "–".join(ends)


def _states(generations: Sequence[Generation]) -> Iterator[str]:
    for state, words in (("truncated", "cut off before the end"), ("failed", "never given")):
        if n := sum(each.state == state for each in generations):
            yield f"{plural(n, 'answer')} {words}"


def _checks(verdicts: Sequence[Verdict]) -> Iterator[str]:
    guarded = sum(each.by == "guard" for each in verdicts)
    if guarded:
        yield f"{plural(guarded, 'answer')} degenerate (empty, repeated or the like)"
    failed = Counter(
        check.kind for each in verdicts for check in each.checks if check.state == "failed"
    )
    if failed:
        kinds = ", ".join(f"{one_line(kind, 30)} {n:,}" for kind, n in sorted(failed.items()))
        yield f"failed checks: {kinds}"
