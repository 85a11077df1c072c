"""Items in, generations out: every target answers every item.

Prompts travel as the contract's token ids, in batches; what comes back must carry the same ids.
Answers are cached by content and written to the cache batch by batch, so an interrupted run goes
on where it stopped. Knows nothing of scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from harness.errors import ContractError, EndpointError
from harness.evaluation.answers import Answer
from harness.evaluation.cache import Cache
from harness.evaluation.client import Client, all_of
from harness.evaluation.evalset import messages_of
from harness.jsonio import digest
from harness.recipe import Eval
from harness.types import Generation, Item, Message, Target

Advance = Callable[[int], None]
"""Called with the number of prompts just finished."""


class Chat(Protocol):
    """The part of harness.chat.template.ChatTokenizer that is used here."""

    @property
    def stop_ids(self) -> tuple[int, ...]: ...
    @property
    def special_ids(self) -> tuple[int, ...]: ...
    def prompt_ids(self, messages: Sequence[Message]) -> tuple[int, ...]: ...


class Prompt(NamedTuple):
    """One question to one target, rendered."""

    target: Target
    item: Item
    ids: tuple[int, ...]
    key: str


class Generations(NamedTuple):
    """Generations ordered by target, then item."""

    records: list[Generation]
    n_asked: int
    """Prompts answered now; two targets that are the same model are asked once."""
    n_from_cache: int
    n_faults: int
    """Requests' prompts that brought no answer; asking again may help."""


async def generate(
    items: Sequence[Item],
    targets: Sequence[Target],
    *,
    chats: Mapping[str, Chat],
    serving: str,
    settings: Eval,
    max_context: int,
    client: Client,
    cache: Cache,
    advance: Advance,
) -> Generations:
    """Ask every target every item, rendered by the chat of its model.

    `serving` is the digest of all that answers beside the adapter; with a version's name it
    identifies the answer.
    A request that fails makes failed generations, which are not cached. Raises ContractError when
    an answer was made from other prompt ids than those sent.
    """
    prompts = [
        _prompt(target, item, chats[target.model], serving, settings)
        for target in targets
        for item in items
    ]
    cached = cache.get(prompt.key for prompt in prompts)
    done = {key: Generation.model_validate(value) for key, value in cached.items()}
    n_from_cache = sum(prompt.key in done for prompt in prompts)
    advance(n_from_cache)
    open_prompts = _unique(prompt for prompt in prompts if prompt.key not in done)
    faults: list[str] = []
    await all_of(
        _ask(
            batch,
            done,
            faults,
            chats[batch[0].target.model],
            settings,
            max_context,
            client,
            cache,
            advance,
        )
        for batch in _batches(open_prompts, settings.batch)
    )
    records = [
        done[prompt.key].model_copy(update={"role": prompt.target.role}) for prompt in prompts
    ]
    return Generations(records, len(open_prompts), n_from_cache, len(faults))


async def chat_route_agrees(
    items: Sequence[Item],
    target: Target,
    *,
    chat: Chat,
    settings: Eval,
    max_context: int,
    client: Client,
) -> int:
    """Send a sample of items through the chat route, as users do; its prompt ids must be ours.

    Returns how many were compared. Raises ContractError with the first that differs.
    """

    async def one(item: Item) -> None:
        messages = messages_of(item, target.system)
        answer = await client.chat(
            target.model,
            messages,
            max_tokens=1,
            temperature=0,
            extra_body={"return_token_ids": True},
        )
        _require_same(chat.prompt_ids(messages), answer.prompt_ids, item, target, "chat route")

    fitting = [
        item
        for item in items
        if len(chat.prompt_ids(messages_of(item, target.system))) < max_context
    ]
    step = max(1, len(fitting) // max(1, settings.chat_sample))
    sample = fitting[::step][: settings.chat_sample]
    await all_of(one(item) for item in sample)
    return len(sample)


def _prompt(target: Target, item: Item, chat: Chat, serving: str, settings: Eval) -> Prompt:
    ids = chat.prompt_ids(messages_of(item, target.system))
    model = "base" if target.role == "base" or "@" not in target.model else target.model
    key = digest(
        {
            "kind": "generation",
            "serving": serving,
            "model": model,
            "item": item.id,
            "prompt": ids,
            "stop": chat.stop_ids,
            "max_tokens": settings.max_tokens,
            "temperature": settings.temperature,
            "seed": settings.seed,
        }
    )
    return Prompt(target, item, ids, key)


def _unique(prompts: Iterable[Prompt]) -> list[Prompt]:
    """The candidate can be the baseline itself: the same question is asked once."""
    return list({prompt.key: prompt for prompt in prompts}.values())


def _batches(prompts: Sequence[Prompt], size: int) -> list[list[Prompt]]:
    """Batches of one model each, since a request names one model."""
    by_model: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        by_model.setdefault(prompt.target.model, []).append(prompt)
    return [
        group[start : start + size]
        for group in by_model.values()
        for start in range(0, len(group), size)
    ]


async def _ask(
    batch: list[Prompt],
    done: dict[str, Generation],
    faults: list[str],
    chat: Chat,
    settings: Eval,
    max_context: int,
    client: Client,
    cache: Cache,
    advance: Advance,
) -> None:
    fitting = []
    for prompt in batch:
        if len(prompt.ids) + settings.max_tokens > max_context:
            done[prompt.key] = _failed(
                prompt,
                f"prompt of {len(prompt.ids)} tokens and eval.max_tokens = {settings.max_tokens} "
                f"exceed the base's context of {max_context}",
            )
        else:
            fitting.append(prompt)
    try:
        answers = await _complete(fitting, chat, settings, client) if fitting else []
    except EndpointError as error:
        done |= {prompt.key: _failed(prompt, str(error)) for prompt in fitting}
        faults.extend(prompt.key for prompt in fitting)
        advance(len(batch))
        return
    for prompt, answer in zip(fitting, answers, strict=True):
        _require_same(prompt.ids, answer.prompt_ids, prompt.item, prompt.target, "completions")
        done[prompt.key] = _generation(prompt, answer)
        if done[prompt.key].state == "failed":
            faults.append(prompt.key)
    good = {prompt.key: done[prompt.key] for prompt in fitting}
    cache.put({key: each.dump() for key, each in good.items() if each.state != "failed"})
    advance(len(batch))


async def _complete(
    batch: list[Prompt], chat: Chat, settings: Eval, client: Client
) -> list[Answer]:
    return await client.complete(
        batch[0].target.model,
        [prompt.ids for prompt in batch],
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        seed=settings.seed,
        extra_body={"stop_token_ids": list(chat.stop_ids)},
    )


def _require_same(
    expected: tuple[int, ...],
    seen: tuple[int, ...] | None,
    item: Item,
    target: Target,
    route: str,
) -> None:
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


def _generation(prompt: Prompt, answer: Answer) -> Generation:
    if answer.finish_reason not in _STATES:
        return _failed(prompt, f"the server ended the answer: {answer.finish_reason}")
    return Generation(
        item_id=prompt.item.id,
        role=prompt.target.role,
        model=prompt.target.model,
        state=_STATES[answer.finish_reason],
        text=answer.text,
        n_prompt_tokens=len(prompt.ids),
        n_tokens=answer.n_tokens,
        duration_s=round(answer.duration_s, 4),
    )


def _failed(prompt: Prompt, error: str) -> Generation:
    return Generation(
        item_id=prompt.item.id,
        role=prompt.target.role,
        model=prompt.target.model,
        state="failed",
        text="",
        n_prompt_tokens=len(prompt.ids),
        n_tokens=0,
        error=error,
    )
