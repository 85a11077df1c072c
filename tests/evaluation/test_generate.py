"""Generation against a scripted endpoint, with the pocket's real tokenizer.

The real vLLM answers in tests/test_round.py; here it misbehaves.
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.chat.template import ChatTokenizer
from harness.errors import ContractError
from harness.evaluation.cache import Cache
from harness.evaluation.client import Client
from harness.evaluation.generate import Generations, chat_route_agrees, generate
from harness.evaluation.turns import STREAMS, sampling_of
from harness.pocket import BASE_DIR
from harness.recipe import AskedModel, Eval
from harness.types import Item, Message, Sampling, Target
from tests import fakes
from tests.workbench import wait_for

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
        self.advanced = self.recalled = 0

    def ask(
        self,
        url: str,
        targets: list[Target],
        items: list[Item] = ITEMS,
        *,
        max_context: int = 100,
        serving: str = "s",
        elsewhere: str | None = None,
        **settings: Any,
    ) -> Generations:
        async def go() -> Generations:
            with Cache(self.home / "cache.sqlite") as cache:
                async with (
                    Client(url, retries=0) as client,
                    Client(elsewhere or url, retries=0, concurrency=2) as other,
                ):
                    return await generate(
                        items,
                        targets,
                        chats={each.model: self.chat for each in targets if not each.endpoint},
                        serving=serving,
                        settings=SETTINGS.model_copy(update=settings),
                        max_context=max_context,
                        client=client,
                        endpoints={each.name: other for each in targets if each.name},
                        cache=cache,
                        advance=self._advance,
                        recalled=self._recalled,
                    )

        return asyncio.run(go())

    def _advance(self, count: int) -> None:
        self.advanced += count

    def _recalled(self, count: int) -> None:
        self.recalled += count

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


def test_of_an_adapter_only_the_digest_counts(room: Room) -> None:
    """New weights never meet old answers; the same weights under another name do."""
    other_weights = CANDIDATE.model_copy(update={"model": "bot@" + "2" * 12})
    other_name = CANDIDATE.model_copy(update={"model": "robot@" + "1" * 12})
    with fakes.endpoint(good) as fake:
        room.ask(fake.url, [CANDIDATE])
        assert room.ask(fake.url, [other_weights]).n_from_cache == 0
        assert room.ask(fake.url, [other_name]).n_from_cache == 5
        assert room.ask(fake.url, [BASE]).n_from_cache == 0


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
        assert (room.advanced, room.recalled) == (10, 5)
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
        f"prompt of {n_ids} tokens and max_tokens = 8 exceed the base's context of 40"
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
    bad = list(room.chat.prompt_ids(ITEMS[2].messages))
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


TALK = Item(
    id="7" * 12,
    messages=(Message(role="user", content="0 + 0?"),),
    follow_ups=("And doubled?", "And again?"),
)


def counting(room: Room) -> Callable[[dict[str, Any]], fakes.Reply]:
    """Answers with how many turns of the assistant the prompt shows."""

    def reply(body: dict[str, Any]) -> fakes.Reply:
        status, value = fakes.completes(body["prompt"], "")
        for choice, ids in zip(value["choices"], body["prompt"], strict=True):
            choice["text"] = f"turn {room.chat.decode(ids).count('turn ') + 1}"
        return status, value

    return reply


def test_the_models_own_answers_are_part_of_the_next_prompt(room: Room) -> None:
    with fakes.endpoint(counting(room)) as fake:
        found = room.ask(fake.url, [CANDIDATE], [TALK])
    prompts = [request["prompt"] for request in fake.requests]
    said = [
        *TALK.messages,
        Message(role="assistant", content="turn 1"),
        Message(role="user", content="And doubled?"),
        Message(role="assistant", content="turn 2"),
        Message(role="user", content="And again?"),
    ]
    assert prompts == [[list(room.chat.prompt_ids(said[:n]))] for n in (1, 3, 5)]
    [record] = found.records
    assert (record.text, record.earlier) == ("turn 3", ("turn 1", "turn 2"))
    assert (record.n_prompt_tokens, record.n_tokens) == (len(prompts[2][0]), 2)
    assert (found.n_asked, found.n_from_cache, room.advanced) == (3, 0, 1)


def test_turns_go_in_batches_and_further_turns_do_not_wait_for_other_items(room: Room) -> None:
    talks = [
        TALK.model_copy(update={"id": item.id, "messages": item.messages, "follow_ups": ("Why?",)})
        for item in ITEMS[:4]
    ]
    held = threading.Event()

    def reply(body: dict[str, Any]) -> fakes.Reply:
        is_first = len(body["prompt"][0]) == len(room.chat.prompt_ids(ITEMS[3].messages))
        if is_first and list(room.chat.prompt_ids(ITEMS[3].messages)) in body["prompt"]:
            assert held.wait(10), "the second turn of the first batch is not asked meanwhile"
        elif not is_first:
            held.set()
        return good(body)

    with fakes.endpoint(reply) as fake:
        found = room.ask(fake.url, [CANDIDATE], talks)
    assert [each.state for each in found.records] == ["ok"] * 4
    assert [len(request["prompt"]) for request in fake.requests] == [2, 2, 2, 2]


def test_a_first_turn_is_asked_once_for_all_items_that_begin_with_it(room: Room) -> None:
    single = Item(id="8" * 12, messages=TALK.messages)
    with fakes.endpoint(counting(room)) as fake:
        together = room.ask(fake.url, [CANDIDATE], [TALK, single])
        assert together.n_asked == 3
        assert [each.text for each in together.records] == ["turn 3", "turn 1"]
        after = room.ask(fake.url, [CANDIDATE], [single], serving="t")
        assert room.ask(fake.url, [CANDIDATE], [TALK], serving="t").n_asked == 2
    assert after.n_asked == 1


def seeded(body: dict[str, Any]) -> fakes.Reply:
    """Every model says its seed."""
    return fakes.completes(body["prompt"], f"{body['model']} with {body['seed']}")


def test_every_sample_is_asked_with_a_seed_of_its_own(room: Room) -> None:
    """Ordered by target, item, sample; a batch is of one seed, which a request names once."""
    kept = ITEMS[1].model_copy(update={"sampling": Sampling(seed=2**32 - 1)})
    items = [ITEMS[0], kept, ITEMS[2]]
    with fakes.endpoint(seeded) as fake:
        found = room.ask(fake.url, [CANDIDATE, BASE], items, samples=2, seed=7)
    assert [(each.model, each.item_id, each.sample, each.text) for each in found.records] == [
        (target.model, item.id, sample, f"{target.model} with {seeds[sample]}")
        for target in (CANDIDATE, BASE)
        for item, seeds in zip(items, [(7, 8), (2**32 - 1, 0), (7, 8)], strict=True)
        for sample in range(2)
    ]
    assert (found.n_asked, found.n_from_cache, room.advanced) == (12, 0, 12)


def test_with_a_temperature_items_are_drawn_with_different_random_numbers() -> None:
    """Of more items than there are streams a few share one, and no seed is in two streams."""
    warm = SETTINGS.model_copy(update={"temperature": 1.0, "seed": 5})
    items = [ITEMS[0].model_copy(update={"id": f"{n:012x}"}) for n in range(256)]
    first = Counter(sampling_of(item, warm).seed or 0 for item in items)
    assert len(first) > STREAMS / 2
    assert max(first.values()) <= 12
    assert len({seed for start in first for seed in range(start, start + 128)}) == 128 * len(first)
    at_first = sampling_of(items[0], warm).seed or 0
    assert [sampling_of(items[0], warm, sample).seed for sample in (1, 127)] == [
        at_first + 1,
        at_first + 127,
    ]
    own = ITEMS[0].model_copy(update={"sampling": Sampling(seed=3)})
    assert [sampling_of(own, warm, sample).seed for sample in range(3)] == [3, 4, 5]


def test_more_samples_keep_the_answers_that_were_there(room: Room) -> None:
    with fakes.endpoint(seeded) as fake:
        first = room.ask(fake.url, [CANDIDATE], temperature=1.0)
        more = room.ask(fake.url, [CANDIDATE], temperature=1.0, samples=3)
    assert [each for each in more.records if each.sample == 0] == first.records
    assert (more.n_asked, more.n_from_cache) == (10, 5)


def test_each_sample_of_a_conversation_is_one_of_its_own(room: Room) -> None:
    def reply(body: dict[str, Any]) -> fakes.Reply:
        return fakes.completes(body["prompt"], f"seed {body['seed']}")

    with fakes.endpoint(reply) as fake:
        found = room.ask(fake.url, [CANDIDATE], [TALK], samples=2, seed=4)
    assert [(each.earlier, each.text) for each in found.records] == [
        (("seed 4", "seed 4"), "seed 4"),
        (("seed 5", "seed 5"), "seed 5"),
    ]
    assert found.n_asked == 6


def test_a_sample_that_fails_leaves_the_others(room: Room) -> None:
    with fakes.endpoint(lambda body: (500, "boom") if body["seed"] else seeded(body)) as fake:
        found = room.ask(fake.url, [CANDIDATE], ITEMS[:1], samples=2)
    assert [(each.sample, each.state) for each in found.records] == [(0, "ok"), (1, "failed")]
    assert found.n_faults == 1


def test_a_turn_that_fails_ends_the_talk_and_says_which(room: Room) -> None:
    def breaks(body: dict[str, Any]) -> fakes.Reply:
        later = "And doubled?" in room.chat.decode(body["prompt"][0])
        return (500, "boom") if later else good(body)

    with fakes.endpoint(breaks) as fake:
        broken = room.ask(fake.url, [CANDIDATE], [TALK])
    [record] = broken.records
    assert (record.state, record.text, len(record.earlier)) == ("failed", "", 1)
    assert (record.error or "").startswith("turn 2: ")
    assert (broken.n_faults, broken.n_asked) == (1, 2)
    with fakes.endpoint(good) as fake:
        again = room.ask(fake.url, [CANDIDATE], [TALK])
    assert (again.n_asked, again.records[0].state) == (2, "ok")


def test_a_talk_that_outgrows_the_context_fails_with_the_turn(room: Room) -> None:
    n_ids = len(room.chat.prompt_ids(TALK.messages))
    with fakes.endpoint(good) as fake:
        found = room.ask(fake.url, [CANDIDATE], [TALK], max_context=n_ids + 10)
    assert (found.records[0].error or "").startswith("turn 2: prompt of ")
    assert (found.n_asked, found.n_faults, found.n_from_cache) == (1, 0, 0)


def test_a_truncated_turn_goes_on_and_makes_the_whole_truncated(room: Room) -> None:
    def cut(body: dict[str, Any]) -> fakes.Reply:
        first = "And doubled?" not in room.chat.decode(body["prompt"][0])
        return fakes.completes(body["prompt"], "x", finish_reason="length" if first else "stop")

    with fakes.endpoint(cut) as fake:
        [record] = room.ask(fake.url, [CANDIDATE], [TALK]).records
        assert room.ask(fake.url, [CANDIDATE], [TALK]).records == [record]
    assert (record.state, record.text, record.earlier) == ("truncated", "x", ("x", "x"))


def test_an_item_may_be_asked_in_its_own_way(room: Room) -> None:
    own = ITEMS[1].model_copy(update={"sampling": Sampling(max_tokens=20, temperature=0.5)})
    with fakes.endpoint(good) as fake:
        room.ask(fake.url, [CANDIDATE], [ITEMS[0], own, ITEMS[2]])
        assert room.ask(fake.url, [CANDIDATE], [own], max_tokens=9).n_from_cache == 1
        [found] = room.ask(fake.url, [CANDIDATE], [own], max_context=25, seed=1).records
    asked = {
        (each["max_tokens"], each["temperature"], each["seed"], len(each["prompt"]))
        for each in fake.requests
    }
    assert asked == {(8, 0, 0, 2), (20, 0.5, sampling_of(own, SETTINGS).seed, 1)}
    assert "max_tokens = 20 exceed" in (found.error or "")


def test_shots_stand_between_the_system_prompt_and_the_item(room: Room) -> None:
    shots = (
        Message(role="user", content="2 + 2?"),
        Message(role="assistant", content="4"),
    )
    few = Target(role="other", model="pocket", system="Add.", name="few", shots=shots)
    item = ITEMS[0].model_copy(
        update={"messages": (Message(role="system", content="Be kind."), *ITEMS[0].messages)}
    )
    with fakes.endpoint(good) as fake:
        [record] = room.ask(fake.url, [few], [item]).records
    [request] = fake.requests
    messages = [
        Message(role="system", content="Add."),
        item.messages[0],
        *shots,
        *ITEMS[0].messages,
    ]
    assert request["prompt"] == [list(room.chat.prompt_ids(messages))]
    assert (record.role, record.target) == ("other", "few")


def hosted(url: str) -> Target:
    return Target(role="other", model="big", system="Add.", name="hosted", endpoint=url)


def test_another_endpoint_gets_one_chat_request_a_prompt(room: Room) -> None:
    def reply(body: dict[str, Any]) -> fakes.Reply:
        usage = {"prompt_tokens": 11, "completion_tokens": 3}
        said = f"{body['messages'][-1]['content']} indeed"
        return 200, fakes.says(said)[1] | {"usage": usage, "model": "big"}

    with fakes.endpoint(good) as own, fakes.endpoint(reply) as other:
        targets = [BASE, hosted(other.url)]
        found = room.ask(own.url, targets, [*ITEMS, TALK], elsewhere=other.url, max_context=40)
        again = room.ask(own.url, targets, [*ITEMS, TALK], elsewhere=other.url, max_context=40)
    assert again.records == found.records
    assert again.n_asked == 0
    asked = [request for request in other.requests if request["path"].endswith("/completions")]
    assert {request["path"] for request in asked} == {"/v1/chat/completions"}
    assert len(asked) == len(ITEMS) + 2, "the first turn of the talk is that of an item"
    longest = max(asked, key=lambda request: len(request["messages"]))
    assert [each["content"] for each in longest["messages"]] == [
        "Add.", "0 + 0?", "0 + 0? indeed", "And doubled?", "And doubled? indeed", "And again?",
    ]  # fmt: skip
    assert (longest["max_tokens"], longest["temperature"], longest["seed"]) == (8, 0, 0)
    record = found.records[-1]
    assert (record.target, record.text, record.n_tokens) == ("hosted", "And again? indeed", 3)
    assert (record.n_prompt_tokens, record.state) == (11, "ok")


def test_another_endpoint_is_another_answer_and_its_faults_are_its_own(room: Room) -> None:
    def reply(body: dict[str, Any]) -> fakes.Reply:
        if body["messages"][-1]["content"] == "1 + 1?":
            return 500, "boom"
        return 200, fakes.says("x")[1] | {"model": "big"}

    with fakes.endpoint(reply) as one, fakes.endpoint(reply) as two:
        found = room.ask(one.url, [hosted(one.url)], elsewhere=one.url)
        assert [each.state for each in found.records] == ["ok", "failed", "ok", "ok", "ok"]
        assert found.n_faults == 1
        assert room.ask(one.url, [hosted(one.url)], elsewhere=one.url).n_asked == 1
        assert room.ask(two.url, [hosted(two.url)], elsewhere=two.url).n_asked == 5


def test_who_may_answer_elsewhere_is_part_of_the_key(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that another model was once allowed to give is not the model's own."""
    with fakes.endpoint(lambda body: (200, fakes.says("x")[1] | {"model": "big"})) as fake:
        targets = [hosted(fake.url)]
        with monkeypatch.context() as patch:
            asked = AskedModel(model="big", endpoint=fake.url, answers_as="small")
            allowed = SETTINGS.model_copy(update={"targets": {targets[0].name: asked}})
            patch.setattr("tests.evaluation.test_generate.SETTINGS", allowed)
            assert room.ask(fake.url, targets, elsewhere=fake.url).n_asked == 5
            assert room.ask(fake.url, targets, elsewhere=fake.url).n_asked == 0
        assert room.ask(fake.url, targets, elsewhere=fake.url).n_asked == 5


def test_another_sampling_elsewhere_is_another_answer(room: Room) -> None:
    with fakes.endpoint(lambda body: (200, fakes.says("x")[1] | {"model": "big"})) as fake:
        asked = [hosted(fake.url)]
        assert room.ask(fake.url, asked, elsewhere=fake.url).n_asked == 5
        assert room.ask(fake.url, asked, elsewhere=fake.url, temperature=0.5).n_asked == 5


def test_other_stop_tokens_are_another_answer(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    with fakes.endpoint(good) as fake:
        assert room.ask(fake.url, [CANDIDATE]).n_asked == 5
        stops = (*room.chat.stop_ids, 7)
        monkeypatch.setattr(room.chat, "stop_ids", stops)
        assert room.ask(fake.url, [CANDIDATE]).n_asked == 5


@pytest.mark.parametrize("damage", ["{", '{"state": "ok"}', '{"text": 7}'])
def test_what_the_cache_kept_damaged_is_asked_again(room: Room, damage: str) -> None:
    with fakes.endpoint(good) as fake:
        first = room.ask(fake.url, [CANDIDATE])
        with sqlite3.connect(room.home / "cache.sqlite") as connection:
            connection.execute("UPDATE cache SET value = ? WHERE rowid = 1", [damage])
        connection.close()
        again = room.ask(fake.url, [CANDIDATE])
        assert room.ask(fake.url, [CANDIDATE]).n_from_cache == 5
    assert (again.n_asked, again.n_from_cache) == (1, 4)
    assert [each.text for each in again.records] == [each.text for each in first.records]


KILLED = """
import sys
from pathlib import Path
from tests.evaluation.test_generate import CANDIDATE, ITEMS, TALK, ChatTokenizer, Room, BASE_DIR
Room(ChatTokenizer(BASE_DIR), Path(sys.argv[1])).ask(sys.argv[2], [CANDIDATE], [*ITEMS, TALK])
"""


@pytest.mark.parametrize("n_answered", [0, 2, 4])
def test_a_killed_run_asks_only_what_has_no_answer(room: Room, n_answered: int) -> None:
    """SIGKILL while a request is in flight; then the same again, here."""
    hanging, stop = threading.Event(), threading.Event()

    def slow(body: dict[str, Any]) -> fakes.Reply:
        with lock:
            answered.append(body["prompt"])
            is_last = len(answered) > n_answered
        if is_last:
            hanging.set()
            stop.wait(30)
        return counting(room)(body)

    lock, answered = threading.Lock(), list[list[list[int]]]()
    with fakes.endpoint(slow) as fake:
        arguments = [sys.executable, "-c", KILLED, str(room.home), fake.url]
        process = subprocess.Popen(arguments, cwd=Path(__file__).parents[2])
        assert hanging.wait(60)
        wait_for(lambda: n_kept(room.home) >= sum(map(len, answered[:n_answered])))
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = n_kept(room.home)
        stop.set()
    with fakes.endpoint(counting(room)) as fake:
        again = room.ask(fake.url, [CANDIDATE], [*ITEMS, TALK])
    assert again.n_asked == len(ITEMS) + 2 - kept
    with fakes.endpoint(counting(room)) as fake:
        whole = Room(room.chat, room.home / "fresh").ask(fake.url, [CANDIDATE], [*ITEMS, TALK])
    assert [each.text for each in again.records] == [each.text for each in whole.records]
    assert [each.earlier for each in again.records] == [each.earlier for each in whole.records]


def n_kept(home: Path) -> int:
    """Answers in the cache."""
    path = home / "cache.sqlite"
    if not path.exists():
        return 0
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT COUNT(*) FROM cache").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()
