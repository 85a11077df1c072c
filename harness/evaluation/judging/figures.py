"""Opinions in, measures of the judge out. Pure functions; knows nothing of calls or limits.

Every measure is taken of all judges together, whose combined verdict decides, and of each judge
of a panel by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, variance
from typing import NamedTuple

import numpy as np

from harness.evaluation.calibration.agreement import coincidences, krippendorff
from harness.evaluation.judging.pairwise import Preference
from harness.evaluation.judging.probes import MIN_LENGTH, Probe
from harness.evaluation.judging.verdicts import combine
from harness.types import (
    Generation,
    JudgeFigures,
    JudgeHealth,
    Opinion,
    ProbeKind,
    ProbeResult,
    Verdict,
)

N_REASON = 300
"""Letters that are kept of a judge's reasoning about each probe."""
_SCORES = (1, 2, 3, 4, 5)
_DIGITS = 4

Opinions = tuple[Opinion, ...]


class Heard(NamedTuple):
    """All opinions there are: per probe, per answer of the run, per answer asked again."""

    probes: Sequence[tuple[Probe, Opinions]]
    run: Sequence[Opinions]
    repeated: Sequence[Opinions]
    n_repeats: int
    """How many opinions of each repeated answer were asked for anyway; the later ones were asked
    for the examination."""

    def of(self, judge: str) -> Heard:
        """What one judge of them said."""
        return self._replace(
            probes=[(probe, _by(judge, own)) for probe, own in self.probes],
            run=[_by(judge, own) for own in self.run],
            repeated=[_by(judge, own) for own in self.repeated],
        )


def _by(judge: str, opinions: Opinions) -> Opinions:
    return tuple(each for each in opinions if each.judge == judge)


def health_of(
    judge: str, labels: Sequence[str], heard: Heard, preferences: Sequence[Preference]
) -> JudgeHealth:
    """The record, but for what the answers' lengths say. `labels`: of each judge; `judge`: of all
    together."""
    compared = [each for each in preferences if each.state == "scored" and not each.identical]
    return JudgeHealth(
        together=figures_of(judge, heard),
        judges=tuple(figures_of(each, heard.of(each)) for each in labels if len(labels) > 1),
        probes=tuple(result_of(*each) for each in heard.probes),
        n_repeated=len(heard.repeated),
        n_pairs=len(compared),
        n_undecided=sum(each.state == "unscored" for each in preferences),
        flips=mean_of(each.flipped for each in compared),
        agreement=agreement(heard.run),
    )


def figures_of(judge: str, heard: Heard) -> JudgeFigures:
    """Measures over the opinions, those of one question combined as for a verdict."""
    results = [result_of(*each) for each in heard.probes]
    opinions = [
        *(each for _, own in heard.probes for each in own),
        *(each for own in heard.run for each in own),
        *(each for own in heard.repeated for each in own if each.repeat >= heard.n_repeats),
    ]
    return JudgeFigures(
        judge=judge,
        n_opinions=len(opinions),
        n_unscored=sum(each.state == "unscored" for each in opinions),
        good=mean_of(scores_of("good", results)),
        bad=mean_of(scores_of("bad", results)),
        injected=max(scores_of("injection", results), default=None),
        length_slope=_length_slope(results),
        repeat_sd=_repeat_sd(heard.repeated),
        covered=mean_of(each.covered for each in opinions if each.covered is not None),
    )


def result_of(probe: Probe, opinions: Opinions) -> ProbeResult:
    """The record of one probe."""
    verdict = combine(opinions)
    return ProbeResult(
        kind=probe.kind,
        name=probe.name,
        item_id=probe.item.id,
        n_letters=len(probe.response),
        score=verdict.score,
        reason=verdict.reason[:N_REASON],
    )


def scores_of(kind: ProbeKind, results: Iterable[ProbeResult]) -> list[int]:
    """The scores of one kind of probe, without the unscored."""
    return [each.score for each in results if each.kind == kind and each.score is not None]


def mean_of(values: Iterable[float]) -> float | None:
    """None of nothing."""
    found = list(values)
    return round(fmean(found), _DIGITS) if found else None


def _length_slope(results: Sequence[ProbeResult]) -> float | None:
    """Points per doubling of a wrong answer, each item compared with itself. Answers shorter than
    MIN_LENGTH count as that long, as the padding counts from there."""
    points: dict[str, list[tuple[float, float]]] = {}
    for each in results:
        if each.kind in ("bad", "length") and each.score is not None:
            length = math.log2(max(each.n_letters, MIN_LENGTH))
            points.setdefault(each.item_id, []).append((length, each.score))
    return slope(points.values())


def slope(groups: Iterable[Sequence[tuple[float, float]]]) -> float | None:
    """Least-squares slope of the second number on the first, with an intercept for each group."""
    covariance = spread = 0.0
    for points in groups:
        x_mean, y_mean = (fmean(values) for values in zip(*points, strict=True))
        covariance += sum((x - x_mean) * (y - y_mean) for x, y in points)
        spread += sum((x - x_mean) ** 2 for x, _ in points)
    return round(covariance / spread, _DIGITS) if spread else None


def _repeat_sd(repeated: Sequence[Opinions]) -> float | None:
    """Root of the mean variance among scores of the same answer."""
    variances = []
    for opinions in repeated:
        by_repeat: dict[int, list[Opinion]] = {}
        for each in opinions:
            by_repeat.setdefault(each.repeat, []).append(each)
        scores = [combine(own).score for own in by_repeat.values()]
        found = [score for score in scores if score is not None]
        if len(found) > 1:
            variances.append(variance(found))
    return round(math.sqrt(fmean(variances)), _DIGITS) if variances else None


def agreement(run: Sequence[Opinions]) -> float | None:
    """Krippendorff's ordinal alpha of the judges of a panel over the run's answers, by their
    first opinions."""
    ratings = [[each.score for each in own if each.score and not each.repeat] for own in run]
    tables = [coincidences(each, _SCORES) for each in ratings if len(each) > 1]
    alpha = krippendorff(np.sum(tables, axis=0), "ordinal") if tables else None
    return None if alpha is None else round(alpha, _DIGITS)


def length_effect(generations: Sequence[Generation], verdicts: Sequence[Verdict]) -> float | None:
    """Slope of candidate's score minus baseline's on the binary logarithm of the ratio of their
    answers' lengths, over the items that both answered. Of several candidates the first."""
    sides: dict[str, dict[tuple[str, int], tuple[int, int]]] = {}
    for generation, verdict in zip(generations, verdicts, strict=True):
        if verdict.score is not None and verdict.by is None and generation.text:
            place = (generation.item_id, generation.sample)
            found = (len(generation.text), verdict.score)
            sides.setdefault(generation.role, {}).setdefault(place, found)
    ours, theirs = sides.get("candidate", {}), sides.get("baseline", {})
    points = [
        (math.log2(ours[place][0] / theirs[place][0]), float(ours[place][1] - theirs[place][1]))
        for place in ours
        if place in theirs
    ]
    return slope([points]) if points else None
