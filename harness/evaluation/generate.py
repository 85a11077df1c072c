"""Items in, generations out: every target answers every item, turn by turn and sample by sample.

What was asked before, in this run or another, is not asked again, so an interrupted run goes on
where it stopped. Knows nothing of scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from harness.evaluation.asking import Advance, Asking, Talk, require_same, unheard
from harness.evaluation.cache import Cache
from harness.evaluation.client import Client, all_of
from harness.evaluation.turns import Chat, conversation
from harness.recipe import Eval
from harness.types import Generation, Item, Target

_NO_ENDPOINTS: Mapping[str, Client] = MappingProxyType({})


class Generations(NamedTuple):
    """Generations ordered by target, then item, then sample."""

    records: list[Generation]
    n_asked: int
    """Prompts sent now; what two targets or two items have in common is asked once."""
    n_from_cache: int
    """Generations that needed no prompt."""
    n_faults: int
    """Prompts that brought no answer; asking again may help."""


async def generate(
    items: Sequence[Item],
    targets: Sequence[Target],
    *,
    chats: Mapping[str, Chat],
    serving: str,
    settings: Eval,
    max_context: int,
    client: Client,
    endpoints: Mapping[str, Client] = _NO_ENDPOINTS,
    cache: Cache,
    advance: Advance,
    recalled: Advance = unheard,
) -> Generations:
    """Ask every target every item `settings.samples` times, rendered by the chat of its model.

    `serving` is the digest of all that answers beside the adapter; `endpoints` has the client of
    every target with an endpoint of its own, by the target's name. A generation whose item has
    follow-ups holds the last answer and its counts; it is truncated where any of its answers is,
    and failed, with the turn, at the first that fails. What failed is not cached. `recalled` hears
    of those among the answers that the cache had, before `advance` does.

    Raises ContractError when an answer was made from other prompt ids than those sent, and
    DataError for an item that its template refuses.
    """
    asking = Asking(
        chats, serving, settings, max_context, client, endpoints, cache, advance, recalled
    )
    places = [
        (target, item, sample, asking.open(target, item, sample))
        for target in targets
        for item in items
        for sample in range(settings.samples)
    ]
    await asking.finish()
    return Generations(
        [_generation(*place) for place in places],
        asking.n_asked,
        sum(not talk.asked and talk.error is None for *_, talk in places),
        asking.n_faults,
    )


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
        messages = conversation(item, target)
        answer = await client.chat(
            target.model,
            messages,
            max_tokens=1,
            temperature=0,
            extra_body={"return_token_ids": True},
        )
        require_same(chat.prompt_ids(messages), answer.prompt_ids, item, target, "chat route")

    fitting = [
        item for item in items if len(chat.prompt_ids(conversation(item, target))) < max_context
    ]
    step = max(1, len(fitting) // max(1, settings.chat_sample))
    sample = fitting[::step][: settings.chat_sample]
    await all_of(one(item) for item in sample)
    return len(sample)


def _generation(target: Target, item: Item, sample: int, talk: Talk) -> Generation:
    """One talk as a record. What answers an answer that was cut short is no whole answer either,
    so one truncated turn makes it truncated."""
    texts, failed = [each.text for each in talk.said], talk.error is not None
    cut = any(each.state == "truncated" for each in talk.said)
    return Generation(
        item_id=item.id,
        role=target.role,
        model=target.model,
        sample=sample,
        state="failed" if failed else "truncated" if cut else "ok",
        text="" if failed else texts.pop(),
        n_prompt_tokens=talk.n_prompt_tokens,
        n_tokens=0 if failed else talk.said[-1].n_tokens,
        duration_s=None if failed else talk.said[-1].duration_s,
        error=f"turn {len(texts) + 1}: {talk.error}" if failed and item.follow_ups else talk.error,
        target=target.name,
        earlier=tuple(texts),
    )
