"""Generations in, verdicts out: one score from the opinions of all judges.

Answers that no judge scored are unscored, with the reason. Knows nothing of sides or gates.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from harness.evaluation.asking import Advance, unheard
from harness.evaluation.cache import Cache
from harness.evaluation.judging.ask import Case, Seat, ask
from harness.evaluation.judging.budget import Purse
from harness.types import Generation, Item, Opinion, Verdict

_NONE: Mapping[int, Verdict] = MappingProxyType({})


class Verdicts(NamedTuple):
    """Verdicts in the order of the generations."""

    records: list[Verdict]
    n_calls: int
    n_from_cache: int
    n_faults: int
    """Calls that brought no answer; asking again may help."""


async def judge(
    items: Sequence[Item],
    generations: Sequence[Generation],
    seats: Sequence[Seat],
    *,
    repeats: int,
    cache: Cache,
    purse: Purse,
    advance: Advance,
    recalled: Advance = unheard,
    unscored: Advance = unheard,
    settled: Mapping[int, Verdict] = _NONE,
    first_repeat: int = 0,
) -> Verdicts:
    """Score every generation, each sample by itself, but those in `settled` (index → verdict),
    which need no call.

    A failed generation is unscored without a call. `advance` hears of generations; `recalled`,
    `unscored` and `first_repeat` are as in `ask`.

    Raises BudgetSpent when the purse is empty; what was said until then is in the cache.
    """
    by_id = {item.id: item for item in items}
    cases = {
        index: case_of(by_id[each.item_id], each)
        for index, each in enumerate(generations)
        if index not in settled and each.state != "failed"
    }
    advance(len(generations) - len(cases))
    asked = await ask(
        list(cases.values()),
        seats,
        repeats=repeats,
        cache=cache,
        purse=purse,
        advance=advance,
        recalled=recalled,
        unscored=unscored,
        first_repeat=first_repeat,
    )
    found = {index: combine(own) for index, own in zip(cases, asked.opinions, strict=True)}
    records = [
        _for(each, settled.get(index) or found.get(index) or _failed(each))
        for index, each in enumerate(generations)
    ]
    return Verdicts(records, asked.n_calls, asked.n_from_cache, asked.n_faults)


def case_of(item: Item, generation: Generation) -> Case:
    """The case of a generation."""
    *earlier, response = texts_of(generation)
    return Case(item, response, tuple(earlier))


def texts_of(generation: Generation) -> tuple[str, ...]:
    """The model's answers, the last one last. Answers that differ only in trailing space or in
    how their letters are composed are the same."""
    texts = (*generation.earlier, generation.text)
    return tuple(unicodedata.normalize("NFC", text).rstrip() for text in texts)


def combine(opinions: Sequence[Opinion]) -> Verdict:
    """One verdict, still without item and side: the lower median score where more than half of
    the opinions are scores, the mean of their expected scores (or scores), the smallest covered
    mass. Of a single opinion, that opinion."""
    scored = [each for each in opinions if each.state == "scored"]
    every = tuple(opinions) if len(opinions) > 1 else ()
    if 2 * len(scored) <= len(opinions):
        return _unscored(_why(opinions)).model_copy(update={"opinions": every})
    ranked = sorted(scored, key=lambda each: each.score or 0)
    middle = ranked[(len(ranked) - 1) // 2]
    return Verdict(
        item_id="",
        role="base",
        state="scored",
        score=middle.score,
        expected=_mean(scored) if every else middle.expected,
        covered=min((each.covered for each in scored if each.covered is not None), default=None),
        reason=middle.reason,
        opinions=every,
    )


def _mean(scored: Sequence[Opinion]) -> float:
    values = [float(each.score or 0) if each.expected is None else each.expected for each in scored]
    return round(sum(values) / len(values), 6)


def _why(opinions: Sequence[Opinion]) -> str:
    if len(opinions) == 1:
        return opinions[0].reason
    reasons = [f"{each.judge}: {each.reason}" for each in opinions if each.state == "unscored"]
    said = "; ".join(dict.fromkeys(reasons))
    return f"{len(reasons)} of {len(opinions)} opinions are no score: {said}"


def _failed(generation: Generation) -> Verdict:
    return _unscored(f"generation failed: {generation.error}")


def _unscored(reason: str) -> Verdict:
    return Verdict(item_id="", role="base", state="unscored", reason=reason)


def _for(generation: Generation, verdict: Verdict) -> Verdict:
    side = {
        "item_id": generation.item_id,
        "role": generation.role,
        "sample": generation.sample,
        "target": generation.target,
    }
    return verdict.model_copy(update=side)
