"""Is the judge fit to decide? Answers of known worth in, one record out.

Of a panel the combined verdict is examined, as it is what decides; each judge's own figures stand
beside it. All calls go through the cache under the judge's identity, so a judge that was examined
on an evalset is asked nothing again. Knows nothing of what a candidate needs to pass.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.evaluation.asking import Advance, unheard
from harness.evaluation.cache import Cache
from harness.evaluation.judging.ask import Asked, Case, Seat, ask
from harness.evaluation.judging.budget import Purse
from harness.evaluation.judging.figures import Heard, Opinions, health_of, length_effect
from harness.evaluation.judging.fitness import health_rules
from harness.evaluation.judging.identity import panel_label
from harness.evaluation.judging.pairwise import Preference
from harness.evaluation.judging.probes import probe_cases
from harness.evaluation.judging.verdicts import case_of
from harness.recipe import Judge
from harness.types import Generation, Item, JudgeHealth, Opinion, Verdict

__all__ = ["examine", "health_rules"]


async def examine(
    items: Sequence[Item],
    generations: Sequence[Generation],
    verdicts: Sequence[Verdict],
    seats: Sequence[Seat],
    settings: Judge,
    *,
    cache: Cache,
    purse: Purse,
    advance: Advance,
    expect: Advance = unheard,
    preferences: Sequence[Preference] = (),
) -> JudgeHealth:
    """Show the judges answers of known worth, and some of the run's own answers once more.

    `verdicts` in the order of the generations. Where the run has none that were judged, right and
    wrong answers are asked again in their place. `expect` hears how
    many answers there are to judge, `advance` of each.
    Raises BudgetSpent when the purse is empty; what was said until then is in the cache.
    """
    probes = probe_cases(items, seats[0].identity.prompt, settings.fitness.probes)
    own = _chosen_again(items, generations, verdicts, settings.fitness.probes)
    known = [Case(each.item, each.response) for each in probes]
    again = (
        own
        or [case for case, each in zip(known, probes, strict=True) if each.kind in ("good", "bad")][
            ::2
        ]
    )

    expect(len(known) + len(again))

    async def asked(cases: Sequence[Case], repeats: int) -> Asked:
        return await ask(cases, seats, repeats=repeats, cache=cache, purse=purse, advance=advance)

    label = panel_label([seat.identity for seat in seats])
    shown, repeated = await asked(known, 1), await asked(again, max(2, settings.repeats))
    heard = Heard(
        probes=list(zip(probes, shown.opinions, strict=True)),
        run=[_opinions(each, label) for each in verdicts if _is_judged(each)],
        repeated=repeated.opinions,
        n_repeats=settings.repeats if own else 1,
    )
    health = health_of(label, [seat.identity.label for seat in seats], heard, preferences)
    return health.model_copy(
        update={
            "length_effect": length_effect(generations, verdicts),
            "n_faults": shown.n_faults + repeated.n_faults,
        }
    )


def _is_judged(verdict: Verdict) -> bool:
    """Not settled without a call, nor for want of an answer."""
    is_lost = verdict.state == "unscored" and verdict.reason.startswith("generation failed")
    return verdict.by is None and not is_lost


def _opinions(verdict: Verdict, judge: str) -> Opinions:
    """The opinions that a verdict was made of; one that stood alone is the verdict itself."""
    alone = Opinion(
        judge=judge,
        state=verdict.state,
        score=verdict.score,
        expected=verdict.expected,
        covered=verdict.covered,
        reason=verdict.reason,
    )
    return verdict.opinions or (alone,)


def _chosen_again(
    items: Sequence[Item],
    generations: Sequence[Generation],
    verdicts: Sequence[Verdict],
    n: int,
) -> list[Case]:
    """`n` judged answers, all different, evenly over the run."""
    by_id = {item.id: item for item in items}
    cases = {
        (each.item_id, each.earlier, each.text): case_of(by_id[each.item_id], each)
        for each, verdict in zip(generations, verdicts, strict=True)
        if _is_judged(verdict)
    }
    found = list(cases.values())
    n = min(n, len(found))
    return [found[place * len(found) // n] for place in range(n)]
