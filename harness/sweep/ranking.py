"""The answers of all points in, one ranking out.

Pure: no clock, no files, no randomness. Every number is a `release.compare` of two sides; what is
added here is that many points are looked at and the best of them is chosen, for which each bound
allows. Knows nothing of training or servers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from harness.recipe import Gate
from harness.release.compare import compare
from harness.types import (
    Comparison,
    Difference,
    Document,
    Generation,
    Item,
    Record,
    Role,
    SideSummary,
    SliceComparison,
    Verdict,
)


class PointResult(Record):
    """One point of a sweep: what it was trained with and how it did."""

    name: str
    values: dict[str, Any]
    """Key path → value."""
    version: str | None
    """None: its training failed."""
    state: Literal["ranked", "untrusted", "failed"]
    """`untrusted`: the probe refused it, or more answers are unscored than gate.max_missing
    accepts."""
    reason: str | None = None
    """Why it has no rank; None when it has one."""
    rank: int | None = None
    """1 is the highest mean score; points of one mean share a rank."""
    comparison: Comparison | None = None
    """Against the baseline. Its bounds hold for all points at once: its alpha is the gate's
    divided by the number of points (Bonferroni)."""
    behind: Difference | None = None
    """The first-ranked point minus this one; None for that point itself. Its alpha is the gate's
    divided by the number of other points. `lower` above 0: this is not the best point."""

    @property
    def may_be_best(self) -> bool:
        """Whether it ranks first or cannot be told apart from the point that does."""
        lower = self.behind.lower if self.behind else None
        return self.rank is not None and (lower is None or lower <= 0)


class SweepRecord(Document):
    """sweep.json: every point of a grid, the highest mean first and those without a rank last; a
    pure function of the generations and verdicts beside it."""

    recipe: str
    grid: dict[str, tuple[str, ...]]
    """Key path → values, as they were typed."""
    evalset: str
    judge: str
    baseline: str
    alpha: float
    """The gate's; what the bounds leave over, all points together."""
    points: tuple[PointResult, ...]
    baseline_side: SideSummary | None
    base_side: SideSummary | None
    problems: tuple[str, ...]
    """Why the ranking is not whole or cannot be trusted; empty when it is and can."""

    @property
    def ranked(self) -> tuple[PointResult, ...]:
        return tuple(each for each in self.points if each.state == "ranked")


class Trained(NamedTuple):
    """A point after its training."""

    name: str
    values: dict[str, Any]
    version: str | None
    reason: str | None
    """Why there is no version, or why what it answers would be no evidence."""


class Question(NamedTuple):
    """What all points of a sweep have in common."""

    recipe: str
    grid: dict[str, tuple[str, ...]]
    items: Sequence[Item]
    evalset: str
    judge: str
    baseline: str
    gate: Gate


class _Answers(NamedTuple):
    """The answers of one model, and the verdict on each."""

    generations: list[Generation]
    verdicts: list[Verdict]

    def standing_for(self, role: Role) -> _Answers:
        return _Answers(
            [each.model_copy(update={"role": role}) for each in self.generations],
            [each.model_copy(update={"role": role}) for each in self.verdicts],
        )


def rank(
    question: Question,
    trained: Sequence[Trained],
    generations: Sequence[Generation],
    verdicts: Sequence[Verdict],
) -> SweepRecord:
    """Compare every point with the baseline, order them by mean score, and compare the first with
    each other one. The k-th verdict is the one on the k-th generation."""
    answers = _by_model(generations, verdicts)
    results = [_result(question, each, answers, len(trained)) for each in trained]
    ranked = sorted((each for each in results if each.state == "ranked"), key=_mean, reverse=True)
    others = [each for each in results if each.state != "ranked"]
    compared = next((each.comparison.overall for each in results if each.comparison), None)
    return SweepRecord(
        recipe=question.recipe,
        grid=question.grid,
        evalset=question.evalset,
        judge=question.judge,
        baseline=question.baseline,
        alpha=question.gate.alpha,
        points=(*_with_ranks(question, ranked, answers), *others),
        baseline_side=compared.baseline if compared else None,
        base_side=compared.base if compared else None,
        problems=tuple(_problems(question, results, compared)),
    )


def _problems(
    question: Question, results: Sequence[PointResult], compared: SliceComparison | None
) -> Iterator[str]:
    for each in results:
        if each.reason:
            named = each.reason.startswith(f"{each.name}@")
            yield each.reason if named else f"{each.name}: {each.reason}"
    if compared and (reason := _unfit(compared.baseline, question.gate)):
        yield f"baseline {question.baseline}: {reason}"


def _unfit(side: SideSummary, gate: Gate) -> str | None:
    """Why a side's answers are no evidence; the gate's own rule."""
    if side.mean is not None and side.n_unscored <= gate.max_missing * side.n_items:
        return None
    return (
        f"{side.n_unscored} of {side.n_items} answers missing or unscored, more than the "
        f"{gate.max_missing:.2%} accepted"
    )


def _by_model(
    generations: Iterable[Generation], verdicts: Iterable[Verdict]
) -> dict[tuple[Role, str], _Answers]:
    """(role, model) → its answers."""
    found: dict[tuple[Role, str], _Answers] = {}
    for generation, verdict in zip(generations, verdicts, strict=True):
        side = found.setdefault((generation.role, generation.model), _Answers([], []))
        side.generations.append(generation)
        side.verdicts.append(verdict)
    return found


def _result(
    question: Question,
    trained: Trained,
    answers: dict[tuple[Role, str], _Answers],
    n_points: int,
) -> PointResult:
    comparison, reason = None, trained.reason
    if trained.version is not None and reason is None:
        shared = [side for (role, _), side in answers.items() if role != "candidate"]
        gate = question.gate
        comparison = _compare(
            question,
            trained.version,
            question.baseline,
            [answers["candidate", trained.version], *shared],
            gate.model_copy(update={"alpha": gate.alpha / n_points}),
        )
        reason = _unfit(comparison.overall.candidate, gate)
    unranked: Literal["untrusted", "failed"] = "untrusted" if trained.version else "failed"
    return PointResult(
        name=trained.name,
        values=trained.values,
        version=trained.version,
        state=unranked if reason else "ranked",
        reason=reason,
        comparison=comparison,
    )


def _mean(point: PointResult) -> float:
    mean = point.comparison.overall.candidate.mean if point.comparison else None
    assert mean is not None, "only scored points are ranked"
    return mean


def _with_ranks(
    question: Question,
    ranked: Sequence[PointResult],
    answers: dict[tuple[Role, str], _Answers],
) -> list[PointResult]:
    """The points with their rank, and how far each is behind the first.

    A point is left out of the possible best where the first is ahead of it at alpha / (k − 1),
    one-sided. The truly best point is left out with a probability of at most alpha, whichever
    point came first: for that, one of the k − 1 others must seem ahead of it at that level
    (subset selection, Gupta 1965, with Bonferroni's bound in place of Gupta's constant).
    """
    means, versions = [_mean(each) for each in ranked], [str(each.version) for each in ranked]
    behind = [
        None
        if each == versions[0]
        else _behind(question, versions[0], each, answers, len(versions) - 1)
        for each in versions
    ]
    return [
        each.model_copy(update={"rank": means.index(mean) + 1, "behind": difference})
        for each, mean, difference in zip(ranked, means, behind, strict=True)
    ]


def _behind(
    question: Question,
    first: str,
    other: str,
    answers: dict[tuple[Role, str], _Answers],
    n_others: int,
) -> Difference:
    """`first` − `other`, paired by item; what is unscored counts as the worst case for `first`."""
    ours = answers["candidate", first]
    theirs = answers["candidate", other].standing_for("baseline")
    gate = question.gate.model_copy(
        update={
            "alpha": question.gate.alpha / n_others,
            "slices": question.gate.slices.model_copy(update={"by": None}),
        }
    )
    compared = _compare(question, first, other, [ours, theirs], gate)
    return compared.overall.difference


def _compare(
    question: Question, candidate: str, baseline: str, sides: Sequence[_Answers], gate: Gate
) -> Comparison:
    return compare(
        question.items,
        [each for side in sides for each in side.generations],
        [each for side in sides for each in side.verdicts],
        candidate=candidate,
        baseline=baseline,
        evalset=question.evalset,
        judge=question.judge,
        gate=gate,
    )
