"""Cases in, opinions out: every judge of the panel scores every answer, as often as is asked.

Knows nothing of sides, slices or gates; identical answers to an item share their opinions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.evaluation.asking import Advance, unheard
from harness.evaluation.cache import Cache
from harness.evaluation.judging.budget import Purse
from harness.evaluation.judging.calls import Question, Said, call, question
from harness.evaluation.judging.form import SCORE, form_for
from harness.evaluation.judging.prompt import Case, judge_prompt
from harness.evaluation.judging.seat import Seat
from harness.types import Opinion

__all__ = ["Asked", "Case", "Seat", "ask"]


class Asked(NamedTuple):
    """Opinions in the order of the cases."""

    opinions: list[tuple[Opinion, ...]]
    """Of each case: every repeat of the first seat, then of the next."""
    n_calls: int
    n_from_cache: int
    """Opinions that needed no call, as those of an earlier run."""
    n_faults: int
    """Calls that brought no answer; asking again may help."""


async def ask(
    cases: Sequence[Case],
    seats: Sequence[Seat],
    *,
    repeats: int,
    cache: Cache,
    purse: Purse,
    advance: Advance,
    recalled: Advance = unheard,
    unscored: Advance = unheard,
    first_repeat: int = 0,
) -> Asked:
    """The opinions on every case. `advance` hears of each case when all its opinions are there,
    `recalled` and `unscored` as in `call`.
    `first_repeat`: the number of the first, for opinions beside those that there are already.

    Raises BudgetSpent when the purse is empty; what was said until then is in the cache.
    """
    numbers = range(first_repeat, first_repeat + repeats)
    groups = [
        [_question(seat, case, repeat) for seat in seats for repeat in numbers] for case in cases
    ]
    called = await call(
        groups,
        cache=cache,
        purse=purse,
        advance=advance,
        recalled=recalled,
        unscored=unscored,
    )
    opinions = [tuple(_opinion(each, called.said[each.key]) for each in own) for own in groups]
    return Asked(opinions, called.n_calls, called.n_from_cache, called.n_faults)


def _question(seat: Seat, case: Case, repeat: int) -> Question[int]:
    text = judge_prompt(seat.identity.prompt, case, seat.special)
    return question("opinion", seat, form_for(SCORE, seat.settings), text, repeat)


def _opinion(asked: Question[int], said: Said) -> Opinion:
    score = said.value if isinstance(said.value, int) else None
    return Opinion(
        judge=asked.seat.identity.label,
        repeat=asked.repeat,
        state="unscored" if score is None else "scored",
        score=score,
        expected=said.expected,
        covered=said.covered,
        reason=said.reason,
    )
