"""Measures of a judge against their limits, and as a person reads them. Pure functions; knows
nothing of how anything was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from harness.recipe import Fitness
from harness.types import JudgeFigures, JudgeHealth, ProbeKind, ProbeResult, RuleResult


class _Measure(NamedTuple):
    """One measure, and how it is named in a rule and in words."""

    rule: str
    value: float | None
    limit: float | None
    said: str
    worst: ProbeResult | None = None
    at_least: bool = False
    n_shown: int = 0
    """Answers that were put to the judge for it."""
    n_scored: int = 0

    @property
    def is_open(self) -> bool:
        """Too little was scored to say, as of a verdict: half of it or less."""
        return self.n_shown > 0 and (self.value is None or 2 * self.n_scored <= self.n_shown)


def health_rules(health: JudgeHealth, fitness: Fitness) -> tuple[RuleResult, ...]:
    """One rule for each measure that has a limit and was tried: `pass`, or `untrusted` with the
    worst probe named, or where half of what the judge was shown for it got no score."""
    return tuple(_rules(_measures(health, fitness)))


def _rules(measures: Iterable[_Measure]) -> Iterator[RuleResult]:
    for each in measures:
        if each.limit is None:
            continue
        if each.is_open:
            yield _open(each, each.limit)
        elif each.value is not None:
            yield _rule(each, each.value, each.limit)


def _measures(health: JudgeHealth, fitness: Fitness) -> tuple[_Measure, ...]:
    of, probes = health.together, health.probes
    unscored = f"{of.n_unscored} of {of.n_opinions} opinions that are no score"
    dictated = "highest score of a wrong answer that tries to dictate it"
    longer = "points that a wrong answer gains by twice the length"
    noise = f"standard deviation of a score, of {health.n_repeated} answers asked again"
    flips = f"share of {health.n_pairs} preferences that depend on the order"
    none = next((each for each in probes if each.score is None), None)

    def shown(
        rule: str,
        kind: ProbeKind,
        value: float | None,
        limit: float | None,
        said: str,
        sign: int = 1,
    ) -> _Measure:
        scores = [each.score for each in probes if each.kind == kind]
        n_scored = sum(score is not None for score in scores)
        worst = _highest(probes, kind, sign)
        return _Measure(rule, value, limit, said, worst, sign < 0, len(scores), n_scored)

    return (
        _Measure("judge unscored", of.unscored, fitness.max_unscored, unscored, none),
        shown("judge good", "good", of.good, fitness.min_good, "mean of right answers", -1),
        shown("judge bad", "bad", of.bad, fitness.max_bad, "mean of wrong answers"),
        shown("judge injection", "injection", of.injected, fitness.max_injected, dictated),
        shown("judge length", "length", of.length_slope, fitness.max_length_slope, longer),
        _Measure(
            "judge noise",
            of.repeat_sd,
            fitness.max_repeat_sd,
            noise,
            n_shown=health.n_repeated,
            n_scored=0 if of.repeat_sd is None else health.n_repeated,
        ),
        _Measure(
            "judge flips",
            health.flips,
            fitness.max_flips,
            flips,
            n_shown=health.n_pairs + health.n_undecided,
            n_scored=health.n_pairs,
        ),
    )


def _highest(probes: Sequence[ProbeResult], kind: ProbeKind, sign: int = 1) -> ProbeResult | None:
    """The first probe of a kind with the highest score; with sign −1, the lowest."""
    found = [each for each in probes if each.kind == kind and each.score is not None]
    return max(found, key=lambda each: sign * (each.score or 0), default=None)


def _rule(measure: _Measure, value: float, limit: float) -> RuleResult:
    holds = value >= limit if measure.at_least else value <= limit
    accepted = f"accepted: at {'least' if measure.at_least else 'most'} {limit:g}"
    sentence = f"{measure.said}: {value:.2f} ({accepted})".replace("-0", "−0")
    if not holds and measure.worst:
        sentence += f"; worst: {_named(measure.worst)}"
    return RuleResult(
        rule=measure.rule,
        slice="overall",
        status="pass" if holds else "untrusted",
        value=value,
        bound=None,
        threshold=limit,
        sentence=sentence,
    )


def _open(measure: _Measure, limit: float) -> RuleResult:
    """A measure that was tried in vain: the judge is not known to be fit."""
    return RuleResult(
        rule=measure.rule,
        slice="overall",
        status="untrusted",
        value=None,
        bound=None,
        threshold=limit,
        sentence=f"{measure.said}: cannot be told, since only {measure.n_scored} of "
        f"{measure.n_shown} answers shown for it got a usable score",
    )


def _named(probe: ProbeResult) -> str:
    score = "no score" if probe.score is None else f"score {probe.score}"
    return f"{score} for {probe.name!r} on item {probe.item_id}"


def health_lines(health: JudgeHealth, fitness: Fitness) -> list[str]:
    """Everything that was measured as lines of text: figures of every judge, then each limit, then
    the score of each attack."""
    return [
        *(line for each in (health.together, *health.judges) for line in _figures(each)),
        *_of_the_run(health),
        "",
        *(
            f"{'✓' if rule.status == 'pass' else '✗'} {rule.rule:<16} {rule.sentence}"
            for rule in health_rules(health, fitness)
        ),
        "",
        *_attacks(health.probes),
    ]


def _figures(of: JudgeFigures) -> Iterator[str]:
    yield f"{of.judge}: {of.n_opinions} opinions, {of.n_unscored} without a score"
    yield (
        f"  right answers {_shown(of.good)}, wrong answers {_shown(of.bad)}, "
        f"with an attack at most {_shown(of.injected)}"
    )
    yield (
        f"  per doubling of length {_shown(of.length_slope)}, sd of a repeat "
        f"{_shown(of.repeat_sd)}, covered mass {_shown(of.covered)}"
    )


def _of_the_run(health: JudgeHealth) -> Iterator[str]:
    if health.agreement is not None:
        yield f"panel: Krippendorff's alpha {health.agreement:.2f}"
    if health.flips is not None:
        yield f"pairs: {health.flips:.0%} of {health.n_pairs} depend on the order"
    if health.length_effect is not None:
        yield f"answers twice as long as the baseline's: {health.length_effect:+.2f}"


def _attacks(probes: Sequence[ProbeResult]) -> Iterator[str]:
    """One line an attack, the most successful first."""
    attacks = [each for each in probes if each.kind == "injection"]
    if attacks:
        yield "score  attack on a wrong answer"
    for each in sorted(attacks, key=lambda each: -(each.score or 0)):
        yield f"{'–' if each.score is None else each.score:>5}  {each.name}"


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".removesuffix(".00")
