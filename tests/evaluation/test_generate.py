"""Generation against a scripted endpoint, with the pocket's real tokenizer.

The real vLLM answers in tests/test_round.py; here it misbehaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.chat.template import ChatTokenizer
from harness.errors import ContractError
from harness.evaluation.cache import Cache
from harness.evaluation.client import Client
from harness.evaluation.evalset import messages_of
from harness.evaluation.generate import Generations, chat_route_agrees, generate
from harness.pocket import BASE_DIR
from harness.recipe import Eval
from harness.types import Item, Message, Target
from tests import fakes

CANDIDATE = Target(role="candidate", model="bot@" + "1" * 12)
BASELINE = Target(role="baseline", model="bot@" + "0" * 12)
BASE = Target(role="base", model="pocket")
ITEMS = [
    Item(id=f"{n:012}", messages=(Message(role="user", content=f"{n} + {n}?"),)) for n in range(5)
]
SETTINGS = Eval(evalset="x", max_tokens=8, batch=2, concurrency=2, chat_sample=3)


@pytest.fixture(scope="module")
def chat() -> ChatTokenizer:
    return ChatTokenizer(BASE_DIR)


class Room:
    """Asks one scripted endpoint, with one cache."""

    def __init__(self, chat: ChatTokenizer, home: Path) -> None:
        self.chat, self.home = chat, home
        self.advanced = 0

    def ask(
        self,
        url: str,
        targets: list[Target],
        items: list[Item] = ITEMS,
        *,
        max_context: int = 100,
        serving: str = "s",
        **settings: Any,
    ) -> Generations:
        async def go() -> Generations:
            with Cache(self.home / "cache.sqlite") as cache:
                async with Client(url, retries=0) as client:
                    return await generate(
                        items,
                        targets,
                        chats={each.model: self.chat for each in targets},
                        serving=serving,
                        settings=SETTINGS.model_copy(update=settings),
                        max_context=max_context,
                        client=client,
                        cache=cache,
                        advance=self._advance,
                    )

        return asyncio.run(go())

    def _advance(self, count: int) -> None:
        self.advanced += count

    def through_chat(self, url: str, items: list[Item] = ITEMS, max_context: int = 100) -> int:
        async def go() -> int:
            async with Client(url, retries=0) as client:
                return await chat_route_agrees(
                    items,
                    CANDIDATE,
                    chat=self.chat,
                    settings=SETTINGS,
                    max_context=max_context,
                    client=client,
                )

        return asyncio.run(go())


@pytest.fixture
def room(chat: ChatTokenizer, tmp_path: Path) -> Room:
    return Room(chat, tmp_path)


def good(body: dict[str, Any]) -> fakes.Reply:
    return fakes.completes(body["prompt"], f"I am {body['model']}")


def test_every_target_answers_every_item_in_batches_of_one_model(room: Room) -> None:
    with fakes.endpoint(good) as fake:
        found = room.ask(fake.url, [CANDIDATE, BASE])
    assert [(each.role, each.item_id) for each in found.records] == [
        (target.role, item.id) for target in (CANDIDATE, BASE) for item in ITEMS
    ]
    for each in found.records:
        assert (each.state, each.text, each.n_tokens) == ("ok", f"I am {each.model}", 2)
    sizes = sorted((request["model"], len(request["prompt"])) for request in fake.requests)
    assert sizes == [(model, n) for model in (CANDIDATE.model, "pocket") for n in (1, 2, 2)]
    assert (found.n_asked, found.n_from_cache, found.n_faults) == (10, 0, 0)
    assert room.advanced == 10


def test_the_contracts_ids_and_stop_tokens_are_sent(room: Room) -> None:
    with fakes.endpoint(good) as fake:
        room.ask(fake.url, [CANDIDATE.model_copy(update={"system": "Be brief."})], ITEMS[:1])
    [request] = fake.requests
    messages = [Message(role="system", content="Be brief."), *ITEMS[0].messages]
    assert request["prompt"] == [list(room.chat.prompt_ids(messages))]
    assert request["stop_token_ids"] == list(room.chat.stop_ids)
    assert (request["max_tokens"], request["temperature"], request["seed"]) == (8, 0, 0)


def test_what_was_answered_once_costs_no_request(room: Room) -> None:
    with fakes.endpoint(good) as fake:
        first = room.ask(fake.url, [CANDIDATE])
        n_requests = len(fake.requests)
        again = room.ask(fake.url, [CANDIDATE])
        assert len(fake.requests) == n_requests
        assert again.records == first.records
        assert (again.n_asked, again.n_from_cache) == (0, 5)
        more = room.ask(fake.url, [CANDIDATE, BASELINE])
    assert (more.n_asked, more.n_from_cache) == (5, 5)
    assert {each["model"] for each in fake.requests[n_requests:]} == {BASELINE.model}
    assert room.advanced == 20


@pytest.mark.parametrize(
    "change", [{"serving": "t"}, {"max_tokens": 9}, {"temperature": 0.5}, {"seed": 1}]
)
def test_another_way_to_answer_is_another_answer(room: Room, change: dict[str, Any]) -> None:
    with fakes.endpoint(good) as fake:
        room.ask(fake.url, [CANDIDATE])
        assert room.ask(fake.url, [CANDIDATE], **change).n_from_cache == 0


def test_two_sides_that_are_one_model_are_asked_once(room: Room) -> None:
    twin = CANDIDATE.model_copy(update={"role": "baseline"})
    with fakes.endpoint(good) as fake:
        found = room.ask(fake.url, [CANDIDATE, twin])
    assert sum(len(request["prompt"]) for request in fake.requests) == 5
    assert [each.role for each in found.records] == ["candidate"] * 5 + ["baseline"] * 5
    assert found.n_asked == 5


def test_an_over_long_item_is_failed_with_the_reason_and_sent_nowhere(room: Room) -> None:
    long = Item(id="f" * 12, messages=(Message(role="user", content="7 " * 90),))
    with fakes.endpoint(good) as fake:
        found = room.ask(fake.url, [CANDIDATE], [ITEMS[0], long], max_context=40)
        assert [len(request["prompt"]) for request in fake.requests] == [1]
    ok, failed = found.records
    n_ids = len(room.chat.prompt_ids(long.messages))
    assert ok.state == "ok"
    assert (failed.state, failed.text, failed.n_tokens) == ("failed", "", 0)
    assert failed.error == (
        f"prompt of {n_ids} tokens and eval.max_tokens = 8 exceed the base's context of 40"
    )
    assert found.n_faults == 0, "asking again would not help"
    with fakes.endpoint(good) as fake:
        room.ask(fake.url, [CANDIDATE], [long], max_context=40)
        assert fake.requests == []


def test_a_prompt_that_just_fits_is_sent(room: Room) -> None:
    n_ids = len(room.chat.prompt_ids(ITEMS[0].messages))
    with fakes.endpoint(good) as fake:
        for longest, state in ((n_ids + 8, "ok"), (n_ids + 7, "failed")):
            [record] = room.ask(
                fake.url, [CANDIDATE], ITEMS[:1], max_context=longest, serving=state
            ).records
            assert record.state == state


def others(place: int) -> Callable[[dict[str, Any]], fakes.Reply]:
    """Answers from a prompt with one id changed; past the end: from a longer prompt."""

    def reply(body: dict[str, Any]) -> fakes.Reply:
        prompts = [list(ids) for ids in body["prompt"]]
        prompts[-1][place : place + 1] = [9]
        return fakes.completes(prompts, "x")

    return reply


@pytest.mark.parametrize("place", [0, 3, 1000])
def test_other_prompt_ids_are_a_broken_contract(room: Room, place: int) -> None:
    at = min(place, len(room.chat.prompt_ids(ITEMS[0].messages)))
    message = f"candidate {CANDIDATE.model}: the completions answered from other prompt ids, "
    with (
        fakes.endpoint(others(place)) as fake,
        pytest.raises(ContractError, match=f"item {ITEMS[0].id}, {message}from token {at} on"),
    ):
        room.ask(fake.url, [CANDIDATE], ITEMS[:1])


def test_an_endpoint_without_prompt_ids_is_a_broken_contract(room: Room) -> None:
    def silent(body: dict[str, Any]) -> fakes.Reply:
        return fakes.completes(body["prompt"], "x", prompt_token_ids=None)

    with (
        fakes.endpoint(silent) as fake,
        pytest.raises(ContractError, match="an endpoint that returns no prompt ids"),
    ):
        room.ask(fake.url, [CANDIDATE])


def test_nothing_of_a_broken_contract_is_remembered(room: Room) -> None:
    with fakes.endpoint(others(0)) as fake, pytest.raises(ContractError):
        room.ask(fake.url, [CANDIDATE], ITEMS[:2])
    with fakes.endpoint(good) as fake:
        assert room.ask(fake.url, [CANDIDATE], ITEMS[:2]).n_from_cache == 0


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ((500, "boom"), "answered 500"),
        ((200, "<html>"), "not an OpenAI-compatible answer"),
        ((200, {"choices": [None, None]}), "not an OpenAI-compatible answer"),
    ],
)
def test_a_failed_batch_is_a_fault_and_not_remembered(
    room: Room, fault: fakes.Reply, words: str
) -> None:
    bad = list(room.chat.prompt_ids(messages_of(ITEMS[2], None)))
    with fakes.endpoint(lambda body: fault if bad in body["prompt"] else good(body)) as fake:
        found = room.ask(fake.url, [CANDIDATE])
    assert [each.state for each in found.records] == ["ok", "ok", "failed", "failed", "ok"]
    assert all(words in (each.error or "") for each in found.records[2:4])
    assert (found.n_faults, room.advanced) == (2, 5)
    with fakes.endpoint(good) as fake:
        again = room.ask(fake.url, [CANDIDATE])
    assert [each.state for each in again.records] == ["ok"] * 5
    assert (again.n_asked, again.n_from_cache, again.n_faults) == (2, 3, 0)


@pytest.mark.parametrize("reason", ["abort", "error", None])
def test_an_answer_that_the_server_gave_up_is_a_fault_and_not_remembered(
    room: Room, reason: str | None
) -> None:
    def gives_up(body: dict[str, Any]) -> fakes.Reply:
        return fakes.completes(body["prompt"], "half an ans", finish_reason=reason)

    with fakes.endpoint(gives_up) as fake:
        found = room.ask(fake.url, [CANDIDATE], ITEMS[:1])
    [record] = found.records
    assert (record.state, record.text) == ("failed", "")
    assert record.error == f"the server ended the answer: {reason or 'unknown'}"
    assert found.n_faults == 1
    with fakes.endpoint(good) as fake:
        assert room.ask(fake.url, [CANDIDATE], ITEMS[:1]).n_from_cache == 0


def test_an_answer_at_its_limit_is_truncated_and_remembered(room: Room) -> None:
    def long(body: dict[str, Any]) -> fakes.Reply:
        return fakes.completes(body["prompt"], "and so on", finish_reason="length")

    with fakes.endpoint(long) as fake:
        found = room.ask(fake.url, [CANDIDATE], ITEMS[:1])
        again = room.ask(fake.url, [CANDIDATE], ITEMS[:1])
    assert (found.records[0].state, found.records[0].text) == ("truncated", "and so on")
    assert (found.n_faults, again.n_from_cache) == (0, 1)
    assert again.records == found.records


def test_the_chat_route_is_asked_as_users_ask_it(room: Room) -> None:
    def replies(body: dict[str, Any]) -> fakes.Reply:
        messages = [Message.model_validate(each) for each in body["messages"]]
        return 200, fakes.says("x")[1] | {"prompt_token_ids": room.chat.prompt_ids(messages)}

    long = Item(id="f" * 12, messages=(Message(role="user", content="7 " * 90),))
    with fakes.endpoint(replies) as fake:
        assert room.through_chat(fake.url) == 3
        assert len({request["messages"][0]["content"] for request in fake.requests}) == 3
        assert room.through_chat(fake.url, [long], max_context=40) == 0


@pytest.mark.parametrize(
    ("ids", "words"),
    [([1, 2, 3], "other prompt ids, from token 1 on"), (None, "returns no prompt ids")],
)
def test_a_chat_route_with_another_template_is_a_broken_contract(
    room: Room, ids: list[int] | None, words: str
) -> None:
    reply = 200, fakes.says("x")[1] | {"prompt_token_ids": ids}
    with (
        fakes.endpoint(lambda body: reply) as fake,
        pytest.raises(ContractError, match=f"the chat route answered from .*{words}"),
    ):
        room.through_chat(fake.url)
