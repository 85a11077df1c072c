"""Conversations with models, as many at once as the servers take: batches, turns and the cache.

On the round's own server prompts travel as the contract's token ids, in batches; other endpoints
get one chat request per prompt. Answers are written to the cache batch by batch. Knows nothing of
sides or records of a run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pydantic import ValidationError

from harness.errors import ContractError, DataError, EndpointError
from harness.evaluation.answers import Answer
from harness.evaluation.cache import Cache
from harness.evaluation.client import Client, all_of
from harness.evaluation.turns import (
    Chat,
    Prompt,
    Said,
    as_messages,
    conversation,
    rendered,
    sampling_of,
)
from harness.recipe import Eval
from harness.types import Item, Sampling, Target

Advance = Callable[[int], None]
"""Called with the number of answers just finished."""


def unheard(count: int) -> None:
    """Nobody wants to know."""


class Failed(NamedTuple):
    """Why a prompt has no answer."""

    error: str
    is_fault: bool
    """Asking again may help."""


@dataclass
class Talk:
    """One sample of an item put to one model, as far as it has come."""

    target: Target
    item: Item
    sampling: Sampling
    prompt: Prompt | None
    """What is to be asked next; None when it has ended."""
    n_places: int = 0
    """Generations that it stands for."""
    said: list[Said] = field(default_factory=list)
    n_prompt_tokens: int = 0
    """Of the prompt last answered, or failed."""
    asked: bool = False
    """Whether the cache did not have all of it."""
    error: str | None = None

    @property
    def kin(self) -> tuple[str, Sampling, int]:
        """Equal for talks that can share a request, now and in their further turns."""
        model = f"{self.target.endpoint or ''} {self.target.model}"
        return model, self.sampling, len(self.item.follow_ups) - len(self.said)


class Asking:
    """All that one call of `generate` asks."""

    def __init__(
        self,
        chats: Mapping[str, Chat],
        serving: str,
        settings: Eval,
        max_context: int,
        client: Client,
        endpoints: Mapping[str, Client],
        cache: Cache,
        advance: Advance,
        recalled: Advance = unheard,
    ) -> None:
        self._chats, self._serving, self._settings = chats, serving, settings
        self._max_context, self._client, self._endpoints = max_context, client, endpoints
        self._cache, self._advance, self._recalled = cache, advance, recalled
        self._talks: dict[tuple[str, tuple[str, ...]], Talk] = {}
        self._sent: dict[str, asyncio.Future[Said | Failed]] = {}
        """Key of every prompt that was sent → its answer, once it is there."""
        self.n_asked = self.n_faults = 0

    def open(self, target: Target, item: Item, sample: int = 0) -> Talk:
        """The talk about one sample of an item; the candidate can be the baseline itself, and then
        they share one."""
        talk = Talk(target, item, sampling_of(item, self._settings, sample), None)
        talk.prompt = self._prompt(talk)
        talk = self._talks.setdefault((talk.prompt.key, item.follow_ups), talk)
        talk.n_places += 1
        return talk

    async def finish(self) -> None:
        """Ask until every talk has ended. Talks of one batch go on together, so that further turns
        of one batch and first turns of the next are in flight at once."""
        self._recall(self._talks.values())
        await all_of(self._go_on(batch) for batch in self._batches())

    def _batches(self) -> list[list[Talk]]:
        kin: dict[tuple[str, Sampling, int], list[Talk]] = {}
        for talk in self._talks.values():
            if talk.prompt:
                kin.setdefault(talk.kin, []).append(talk)
        return [
            group[start : start + size]
            for group in kin.values()
            for size in [1 if group[0].target.endpoint else self._settings.batch]
            for start in range(0, len(group), size)
        ]

    def _recall(self, talks: Iterable[Talk]) -> None:
        """Take every talk as far as the cache goes. What it kept damaged is asked again."""
        while prompts := {talk.prompt.key: talk for talk in talks if talk.prompt}:
            found: dict[str, Said] = {}
            for key, value in self._cache.get(prompts).items():
                try:
                    found[key] = Said.model_validate(value)
                except ValidationError:
                    continue
            talks = [talk for talk in talks if talk.prompt and talk.prompt.key in found]
            for talk in talks:
                assert talk.prompt
                self._hear(talk, found[talk.prompt.key])

    async def _go_on(self, batch: list[Talk]) -> None:
        while batch := [talk for talk in batch if talk.prompt]:
            await self._ask(batch)
            self._recall(batch)

    async def _ask(self, batch: list[Talk]) -> None:
        """One turn of a batch. What another batch, or this one, has sent already is waited for."""
        opened = [(talk, talk.prompt) for talk in batch if talk.prompt]
        new = {
            prompt.key: (talk, prompt) for talk, prompt in opened if prompt.key not in self._sent
        }
        self._sent |= {key: asyncio.get_running_loop().create_future() for key in new}
        answers = dict(zip(new, await self._answers(list(new.values())), strict=True))
        good = {key: each.dump() for key, each in answers.items() if isinstance(each, Said)}
        self._cache.put(good)
        for key, answer in answers.items():
            self.n_faults += isinstance(answer, Failed) and answer.is_fault
            self._sent[key].set_result(answer)
        for talk, prompt in opened:
            talk.asked = True
            self._hear(talk, await self._sent[prompt.key])

    def _hear(self, talk: Talk, answer: Said | Failed) -> None:
        """Take in an answer; the talk goes on with the item's next turn, or ends."""
        asked, talk.prompt = talk.prompt, None
        if isinstance(answer, Failed):
            talk.error, talk.n_prompt_tokens = answer.error, len(asked.ids) if asked else 0
        else:
            talk.said.append(answer)
            talk.n_prompt_tokens = answer.n_prompt_tokens
            if len(talk.said) <= len(talk.item.follow_ups):
                self._turn(talk)
        if talk.prompt is None:
            if not talk.asked:
                self._recalled(talk.n_places)
            self._advance(talk.n_places)

    def _turn(self, talk: Talk) -> None:
        try:
            talk.prompt = self._prompt(talk)
        except DataError as error:  # a template may refuse what a model said
            talk.error, talk.n_prompt_tokens = str(error), 0

    def _prompt(self, talk: Talk) -> Prompt:
        target = talk.target
        messages = conversation(talk.item, target, [each.text for each in talk.said])
        if target.endpoint:
            asked = self._settings.targets.get(target.name or "")
            answers_as = asked.answers_as if asked else None
            return as_messages(messages, target, talk.sampling, answers_as)
        chat = self._chats[target.model]
        return rendered(messages, target, talk.sampling, chat, self._serving)

    async def _answers(self, asked: Sequence[tuple[Talk, Prompt]]) -> list[Said | Failed]:
        """What the target of a batch answers; a request that fails fails all that it carried."""
        fitting = {prompt.key: (talk, prompt) for talk, prompt in asked if self._fits(talk, prompt)}
        self.n_asked += len(fitting)
        try:
            answers = await self._request(list(fitting.values())) if fitting else []
        except EndpointError as error:
            answers = [Failed(str(error), is_fault=True)] * len(fitting)
        found = dict(zip(fitting, answers, strict=True))
        return [found.get(prompt.key) or self._too_long(talk, prompt) for talk, prompt in asked]

    async def _request(self, asked: Sequence[tuple[Talk, Prompt]]) -> list[Said | Failed]:
        talk, first = asked[0]
        target, options = talk.target, talk.sampling.dump()
        if target.endpoint:
            client = self._endpoints[target.name or ""]
            answer = await client.chat(target.model, first.messages, **options)
            return [_said(answer, answer.n_prompt_tokens)]
        stop = list(self._chats[target.model].stop_ids)
        ids = [prompt.ids for _, prompt in asked]
        answers = await self._client.complete(
            target.model, ids, extra_body={"stop_token_ids": stop}, **options
        )
        for (each, prompt), answer in zip(asked, answers, strict=True):
            require_same(prompt.ids, answer.prompt_ids, each.item, each.target, "completions")
        return [_said(answer, len(each)) for answer, each in zip(answers, ids, strict=True)]

    def _fits(self, talk: Talk, prompt: Prompt) -> bool:
        longest = len(prompt.ids) + (talk.sampling.max_tokens or 0)
        return talk.target.endpoint is not None or longest <= self._max_context

    def _too_long(self, talk: Talk, prompt: Prompt) -> Failed:
        return Failed(
            f"prompt of {len(prompt.ids)} tokens and max_tokens = {talk.sampling.max_tokens} "
            f"exceed the base's context of {self._max_context}",
            is_fault=False,
        )


def require_same(
    expected: tuple[int, ...],
    seen: tuple[int, ...] | None,
    item: Item,
    target: Target,
    route: str,
) -> None:
    """Raises ContractError unless an answer was made from the prompt ids that were sent."""
    if seen == expected:
        return
    what = "an endpoint that returns no prompt ids"
    if seen is not None:
        what = f"other prompt ids, from token {_at(expected, seen)} on"
    raise ContractError(
        f"item {item.id}, {target.role} {target.model}: the {route} answered from {what}",
        hint="the endpoint must be `harness serve` (vLLM) with the template of the adapter",
    )


def _at(expected: tuple[int, ...], seen: tuple[int, ...]) -> int:
    pairs = zip(expected, seen, strict=False)
    return next(
        (place for place, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(seen))
    )


_STATES: dict[str, Literal["ok", "truncated"]] = {"stop": "ok", "length": "truncated"}


def _said(answer: Answer, n_prompt_tokens: int) -> Said | Failed:
    if answer.finish_reason not in _STATES:
        return Failed(f"the server ended the answer: {answer.finish_reason}", is_fault=True)
    return Said(
        state=_STATES[answer.finish_reason],
        text=answer.text,
        n_prompt_tokens=n_prompt_tokens,
        n_tokens=answer.n_tokens,
        duration_s=round(answer.duration_s, 4),
    )
