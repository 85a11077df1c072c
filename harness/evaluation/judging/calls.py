"""Questions in, readings out: the calls of any judging, by content, in batches, within a budget.

On our own server prompts travel as token ids, 32 a request; elsewhere each is a chat request. The
same question is asked once, and never again while the cache has its answer. When the budget is
spent, calls in flight end and are remembered before that is raised.
Knows nothing of items, opinions or preferences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, NamedTuple

from pydantic import Field, StrictInt, StrictStr, ValidationError

from harness.errors import EndpointError
from harness.evaluation.answers import Answer
from harness.evaluation.asking import Advance, unheard
from harness.evaluation.cache import Cache
from harness.evaluation.client import NotAsked, all_of
from harness.evaluation.judging.budget import Purse
from harness.evaluation.judging.form import Form, V, expected_score
from harness.evaluation.judging.seat import Seat, by_chat, by_ids
from harness.jsonio import digest
from harness.types import Message, Record

_BATCH = 32
_Ready = tuple["Question[V]", tuple[int, ...]]
"""A question with its token ids; none for an endpoint that renders by itself."""


class Question(NamedTuple, Generic[V]):
    """One prompt to one judge."""

    seat: Seat
    form: Form[V]
    text: str
    repeat: int
    key: str


class Said(Record):
    """What was read from one answer, as the cache keeps it."""

    value: StrictInt | StrictStr | None
    """None: unread."""
    reason: str
    expected: Annotated[float, Field(ge=1, le=5)] | None = None
    covered: Annotated[float, Field(ge=0, le=1)] | None = None


class Called(NamedTuple):
    said: dict[str, Said]
    """By key."""
    n_calls: int
    n_from_cache: int
    """Questions answered by the cache; those that are the same count each."""
    n_faults: int
    """Calls that brought no answer; asking again may help."""


def question(kind: str, seat: Seat, form: Form[V], text: str, repeat: int = 0) -> Question[V]:
    """`repeat` numbers the times that one judge is asked the same; it is part of the key."""
    parts = {"kind": kind, "judge": seat.identity.label, "prompt": text}
    again = {"repeat": repeat} if repeat else {}
    return Question(seat, form, text, repeat, digest({**parts, **again}))


async def call(
    groups: Sequence[Sequence[Question[V]]],
    *,
    cache: Cache,
    purse: Purse,
    advance: Advance,
    recalled: Advance = unheard,
    unscored: Advance = unheard,
) -> Called:
    """Ask what the cache does not know. `advance` hears of groups whose questions are all
    answered, `recalled` before it of those that the cache had, `unscored` of questions whose
    answer says nothing.

    A call that fails is not remembered, so the next run asks again. Raises BudgetSpent after the
    calls in flight have ended.
    """
    questions = [each for group in groups for each in group]
    known = _remembered(questions, cache)
    calls = _Calls(cache, purse, _Progress(groups, advance, unscored), known.copy())
    recalled(sum(all(each.key in known for each in group) for group in groups if group))
    calls.progress.heard(known)
    waiting = list({each.key: each for each in questions if each.key not in known}.values())
    await all_of(_workers(calls, waiting))
    if calls.is_refused:
        raise purse.refusal()
    n_from_cache = sum(each.key in known for each in questions)
    return Called(calls.said, calls.n_calls, n_from_cache, calls.n_faults)


def _remembered(questions: Sequence[Question[V]], cache: Cache) -> dict[str, Said]:
    """What the cache has; a damaged value counts as absent and so is asked again."""
    found = cache.get(each.key for each in questions)
    known: dict[str, Said] = {}
    for each in questions:
        try:
            said = Said.model_validate(found[each.key])
        except (KeyError, ValidationError):
            continue
        if said.value is None or said.value in each.form.values:
            known[each.key] = said
    return known


def _workers(calls: _Calls, waiting: Sequence[Question[V]]) -> Iterator[Any]:
    """For each seat as many as it takes requests, sharing its batches. A batch is of one seat and
    one repeat, since a request names one model and one seed."""
    groups: dict[tuple[str, int], list[Question[V]]] = {}
    for each in waiting:
        groups.setdefault((each.seat.identity.label, each.repeat), []).append(each)
    batches: dict[str, list[Sequence[Question[V]]]] = {}
    for (label, _), group in groups.items():
        size = _BATCH if group[0].seat.chat else 1
        for start in range(0, len(group), size):
            batches.setdefault(label, []).append(group[start : start + size])
    for own in batches.values():
        shared = iter(own)
        for _ in range(min(len(own), own[0][0].seat.settings.concurrency)):
            yield calls.work(shared)


class _Progress:
    """Turns answered keys into finished groups; an empty one is finished from the start."""

    def __init__(
        self, groups: Sequence[Sequence[Question[V]]], advance: Advance, unscored: Advance
    ) -> None:
        self._advance, self._unscored = advance, unscored
        self._open = [{each.key for each in group} for group in groups]
        self._groups: dict[str, list[int]] = {}
        for index, keys in enumerate(self._open):
            for key in keys:
                self._groups.setdefault(key, []).append(index)
        advance(sum(not keys for keys in self._open))

    def heard(self, said: Mapping[str, Said]) -> None:
        n_done = n_unscored = 0
        for key, each in said.items():
            for index in self._groups[key]:
                self._open[index].discard(key)
                n_done += not self._open[index]
                n_unscored += each.value is None
        self._unscored(n_unscored)
        self._advance(n_done)


@dataclass
class _Calls:
    """The state that the workers share."""

    cache: Cache
    purse: Purse
    progress: _Progress
    said: dict[str, Said]
    n_calls: int = 0
    n_faults: int = 0
    is_refused: bool = False

    async def work(self, batches: Iterator[Sequence[Question[V]]]) -> None:
        for batch in batches:
            if self.is_refused:
                return
            fitting = self._fitting(batch[0].seat, batch)
            n_taken = self.purse.take(len(fitting)) if fitting else 0
            self.is_refused |= n_taken < len(fitting)
            if n_taken:
                await self._ask(batch[0].seat, fitting[:n_taken])

    def _fitting(self, seat: Seat, batch: Sequence[Question[V]]) -> list[_Ready[V]]:
        if seat.chat is None:
            return [(each, ()) for each in batch]
        texts = [[Message(role="user", content=each.text)] for each in batch]
        ready = list(zip(batch, map(seat.chat.prompt_ids, texts), strict=True))
        for each, ids in ready:
            if len(ids) > seat.room:
                why = f"judge prompt of {len(ids)} tokens exceeds the judge's context"
                self._keep({each.key: Said(value=None, reason=why)})
        return [(each, ids) for each, ids in ready if len(ids) <= seat.room]

    async def _ask(self, seat: Seat, taken: Sequence[_Ready[V]]) -> None:
        try:
            answers = await _answers(seat, taken)
        except EndpointError as error:
            if isinstance(error, NotAsked):
                self.purse.put_back(len(taken))
            else:
                self.n_calls += len(taken)
            lost = Said(value=None, reason=str(error))
            self._lose({each.key: lost for each, _ in taken})
            return
        self.n_calls += len(taken)
        good, gone = dict[str, Said](), dict[str, Said]()
        for (each, _), answer in zip(taken, answers, strict=True):
            self.purse.pay(answer, seat.settings.price)
            said, is_fault = _read(each.form, answer)
            (gone if is_fault else good)[each.key] = said
        self._keep(good)
        self._lose(gone)

    def _keep(self, said: dict[str, Said]) -> None:
        self.cache.put({key: each.dump() for key, each in said.items()})
        self.said |= said
        self.progress.heard(said)

    def _lose(self, said: dict[str, Said]) -> None:
        self.n_faults += len(said)
        self.said |= said
        self.progress.heard(said)


async def _answers(seat: Seat, taken: Sequence[_Ready[V]]) -> list[Answer]:
    first, _ = taken[0]
    if seat.chat is None:
        return [await by_chat(seat, first.text, first.form, first.repeat)]
    return await by_ids(seat, seat.chat, [ids for _, ids in taken], first.form, first.repeat)


def _read(form: Form[V], answer: Answer) -> tuple[Said, bool]:
    """What is remembered of an answer, and whether it is a fault and so is not."""
    value, reason, is_fault = form.read(answer)
    expected = covered = None
    if isinstance(value, int):
        expected, covered = expected_score(answer.digits, value)
    return Said(value=value, reason=reason, expected=expected, covered=covered), is_fault
