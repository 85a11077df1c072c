"""Every fault that an endpoint of a judge can have: each item ends scored, or unscored with a
reason, once."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.errors import EndpointError
from harness.evaluation import pace, transport
from harness.evaluation.cache import Cache
from harness.evaluation.client import Client
from harness.evaluation.judging.ask import Seat
from harness.evaluation.judging.budget import BudgetSpent, Purse
from harness.evaluation.judging.identity import identify
from harness.evaluation.judging.verdicts import Verdicts, judge
from harness.jsonio import canonical
from harness.recipe import Budget, Judge, Price
from harness.types import Generation, Item, Message, Spending
from tests import fakes

KEY = "sk-SECRET-KEY"
PROMPT = "Asked: {prompt}\nGiven: {response}"
USAGE = {"prompt_tokens": 100, "completion_tokens": 10}


def items_of(names: Sequence[str]) -> tuple[list[Item], list[Generation]]:
    """An item a name, which the endpoint finds in its prompt, and an answer to it."""
    items = [
        Item(id=f"{number:012x}", messages=(Message(role="user", content=f"<{name}>"),))
        for number, name in enumerate(names)
    ]
    generations = [
        Generation(
            item_id=item.id,
            role="candidate",
            model="bot@" + "0" * 12,
            state="ok",
            text="Four.",
            n_prompt_tokens=5,
            n_tokens=2,
        )
        for item in items
    ]
    return items, generations


def name_in(request: dict[str, Any]) -> str:
    found = re.search(r"<(.*)>", request["messages"][-1]["content"])
    assert found
    return found[1]


def run(
    url: str,
    home: Path,
    names: Sequence[str],
    *,
    spent: Spending = Spending(),  # noqa: B008 - frozen
    keep: Callable[[Spending], None] = lambda spent: None,
    **settings: Any,
) -> Verdicts:
    chosen = Judge(endpoint=url, model="gpt-x", **settings)
    items, generations = items_of(names)

    async def go() -> Verdicts:
        with Cache(home / "cache.sqlite") as cache:
            async with Client(
                url,
                api_key=KEY,
                concurrency=chosen.concurrency,
                timeout_s=chosen.timeout_s,
                retries=chosen.retries,
                answers_as=chosen.answers_as,
            ) as client:
                seat = Seat(identify(chosen, "gpt-x", PROMPT, url), chosen, client, None, 1000)
                return await judge(
                    items,
                    generations,
                    [seat],
                    repeats=chosen.repeats,
                    cache=cache,
                    purse=Purse(chosen.budget, spent, keep),
                    advance=lambda count: None,
                )

    return asyncio.run(go())


def states(found: Verdicts, n_items: int) -> Counter[str]:
    """Counts by state, after the identity that no count may break."""
    counts = Counter[str](each.state for each in found.records)
    assert len(found.records) == len({each.item_id for each in found.records}) == n_items
    assert counts["scored"] + counts["unscored"] == n_items
    for each in found.records:
        is_scored = each.state == "scored"
        assert (each.score in (1, 2, 3, 4, 5)) == is_scored
        assert (each.score is None and each.expected is None) != is_scored
        assert each.reason
        assert KEY not in canonical(each.dump()).decode()
    return counts


Fault = tuple[Sequence[Callable[[], fakes.Reply]], int | str]
"""Replies, the last of them for ever, and the score or words of the reason."""


def always(*reply: Any, ends: int | str) -> Fault:
    return [lambda: reply], ends


def after(*reply: Any, ends: int | str) -> Fault:
    """First the fault, then a score."""
    return [lambda: reply, lambda: fakes.says(f"score {ends}")], ends


def said(content: Any, ends: int | str, **choice: Any) -> Fault:
    return always(*fakes.says(content, **choice), ends=ends)


BUSY = (429, {"error": {"message": "slow down"}})
SOON = {"retry-after": "0.05"}
DATED = {"date": "Wed, 21 Oct 2015 07:28:00 GMT", "retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}
NO_SCORE = "no line 'score N'"
FAULTS: dict[str, Fault] = {
    "fine": said("Right.\nscore 4", 4),
    "429 once, told when": after(*BUSY, SOON, ends=3),
    "429 once, told a date": after(*BUSY, DATED, ends=3),
    "429 once, not told": after(*BUSY, ends=2),
    "429 for ever": always(*BUSY, SOON, ends="answered 429"),
    "500 once": after(500, "boom", ends=5),
    "500 for ever": always(500, "boom", ends="answered 500"),
    "503 once": after(503, "", SOON, ends=1),
    "cut once": after(*fakes.cut(fakes.says("score 5")), ends=1),
    "cut for ever": always(*fakes.cut(fakes.says("score 5")), ends="APIConnectionError"),
    "hang once": ([lambda: fakes.hangs(2.5), lambda: fakes.says("score 2")], 2),
    "hang for ever": ([lambda: fakes.hangs(2.5)], "APITimeoutError"),
    "drip": ([lambda: fakes.drips(0.05)], "APITimeoutError"),
    "enormous": ([lambda: fakes.enormous(2**24)], "an answer of more than"),
    "401": always(401, {"error": {"message": f"bad key {KEY}"}}, ends="bad key ***"),
    "404": always(404, "", ends="answered 404"),
    "garbage": always(200, "\x00\x01 ~~ }{", ends="not an OpenAI-compatible answer"),
    "half a body": always(200, '{"choices": [{"mess', ends="not an OpenAI-compatible answer"),
    "not UTF-8": always(200, b'{"choices": "\xff\xfe"}', ends="not an OpenAI-compatible answer"),
    "no body": always(200, "", ends="not an OpenAI-compatible answer"),
    "null": always(200, None, ends="not an OpenAI-compatible answer"),
    "an error as 200": always(200, {"error": {"message": "no host"}}, ends="it says: no host"),
    "no choices": always(200, {"choices": []}, ends="without choices"),
    "wrong model": always(200, fakes.says("score 5")[1] | {"model": "gpt-y"}, ends="as 'gpt-y'"),
    "gave up": said("score 5", "the endpoint ended the judge's answer", finish_reason="error"),
    "prose around": said("I would say score 4, all in all.", NO_SCORE),
    "prose after": said("score 4\nThat is my opinion.", NO_SCORE),
    "6": said("score 6", NO_SCORE),
    "0": said("score 0", NO_SCORE),
    "-1": said("score -1", NO_SCORE),
    "4.5": said("score 4.5", NO_SCORE),
    "NaN": said("score NaN", NO_SCORE),
    "a bare number": said("5", NO_SCORE),
    "none": said("score: none", NO_SCORE),
    "empty": said("", NO_SCORE),
    "no content": said(None, NO_SCORE),
    "content_filter": said("score 5", "content filter", finish_reason="content_filter"),
    "length": said("score 5", "cut at judge.max_tokens", finish_reason="length"),
    "refusal": always(
        200, {"choices": [{"message": {"content": None, "refusal": "I can't."}}]}, ends="I can't."
    ),
}
_READ = (NO_SCORE, "I can't.", "content filter", "cut at judge.max_tokens")
REMEMBERED = {name for name, (_, ends) in FAULTS.items() if isinstance(ends, int) or ends in _READ}
"""What the judge did say, scored or not; the rest is asked again by the next run."""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(transport, "MAX_BYTES", 2**20)


def test_every_item_ends_scored_or_unscored_with_a_reason(tmp_path: Path) -> None:
    names = list(FAULTS)
    asked: Counter[str] = Counter()
    lock = threading.Lock()

    def answer(request: dict[str, Any]) -> fakes.Reply:
        name = name_in(request)
        with lock:
            asked[name] += 1
            n_before = asked[name] - 1
        replies, _ = FAULTS[name]
        return replies[min(n_before, len(replies) - 1)]()

    settings: dict[str, Any] = {"timeout_s": 1.5, "retries": 1, "concurrency": 8}
    with fakes.endpoint(answer) as fake:
        found = run(fake.url, tmp_path, names, **settings)
    states(found, len(names))
    for name, verdict in zip(names, found.records, strict=True):
        _, ends = FAULTS[name]
        if isinstance(ends, int):
            assert verdict.score == ends, name
        else:
            assert verdict.state == "unscored", name
            assert ends in verdict.reason, name
    assert set(asked) == set(names)
    n_faults = sum(name not in REMEMBERED for name in names)
    assert (found.n_calls, found.n_from_cache, found.n_faults) == (len(names), 0, n_faults)


def test_the_next_run_asks_again_for_faults_and_for_nothing_else(tmp_path: Path) -> None:
    names, is_healed = [each for each in FAULTS if "once" not in each], threading.Event()

    def answer(request: dict[str, Any]) -> fakes.Reply:
        if is_healed.is_set():
            return fakes.says("score 1")
        return FAULTS[name_in(request)][0][-1]()

    settings: dict[str, Any] = {"timeout_s": 1.5, "retries": 0, "concurrency": 8}
    with fakes.endpoint(answer) as fake:
        first = run(fake.url, tmp_path, names, **settings)
        fake.requests.clear()
        is_healed.set()
        second = run(fake.url, tmp_path, names, **settings)
        asked_again = {name_in(request) for request in fake.requests}
        third = run(fake.url, tmp_path, names, **settings)
    lost = set(names) - REMEMBERED
    assert asked_again == lost
    assert (second.n_calls, second.n_from_cache) == (len(lost), len(names) - len(lost))
    assert (third.n_calls, third.n_from_cache) == (0, len(names))
    assert third.records == second.records
    for name, before, now in zip(names, first.records, second.records, strict=True):
        assert now == before if name in REMEMBERED else now.score == 1, name


def test_a_key_goes_to_no_other_host(tmp_path: Path) -> None:
    with fakes.endpoint(lambda request: fakes.says("score 5")) as elsewhere:
        there = {"location": f"{elsewhere.url}/v1/chat/completions"}
        with fakes.endpoint(lambda request: (307, "", there)) as fake:
            found = run(fake.url, tmp_path, ["a", "b"], retries=2)
        assert elsewhere.requests == []
    assert states(found, 2)["unscored"] == 2
    assert all("not followed" in each.reason for each in found.records)


def test_repeats_are_asked_each_time_and_not_taken_from_the_first(tmp_path: Path) -> None:
    numbers = iter([1, 5, 5])
    with fakes.endpoint(lambda request: fakes.says(f"score {next(numbers)}")) as fake:
        found = run(fake.url, tmp_path, ["a"], repeats=3, temperature=1.0, concurrency=1)
        again = run(fake.url, tmp_path, ["a"], repeats=3, temperature=1.0, concurrency=1)
        assert len(fake.requests) == 3
    [verdict] = found.records
    assert sorted(each.score or 0 for each in verdict.opinions) == [1, 5, 5]
    assert again.records == found.records
    assert again.n_from_cache == 3


@pytest.mark.parametrize("tells", [True, False])
def test_an_endpoint_that_allows_so_many_a_second_scores_all(tmp_path: Path, tells: bool) -> None:
    """100 requests a second and 5 at once; 16 workers would send a thousand."""
    rate, burst, n_items = 100.0, 5.0, 200
    lock, bucket, filled, n_refused = threading.Lock(), burst, time.monotonic(), 0

    def answer(request: dict[str, Any]) -> fakes.Reply:
        nonlocal bucket, filled, n_refused
        with lock:
            now = time.monotonic()
            bucket, filled = min(burst, bucket + (now - filled) * rate), now
            if bucket >= 1:
                bucket -= 1
                return fakes.says("score 3")
            n_refused += 1
            return (*BUSY, SOON) if tells else BUSY

    names = [str(number) for number in range(n_items)]
    with fakes.endpoint(answer) as fake:
        found = run(fake.url, tmp_path, names, concurrency=16, retries=3)
        n_requests = len(fake.requests)
    assert states(found, n_items)["scored"] == n_items, [each.reason for each in found.records]
    assert n_requests == n_items + n_refused
    assert n_refused < n_items / 2, f"{n_refused} of {n_requests} requests refused"


def test_an_endpoint_that_refuses_everything_costs_few_requests(tmp_path: Path) -> None:
    names = [str(number) for number in range(300)]
    with fakes.endpoint(lambda request: BUSY) as fake:
        found = run(fake.url, tmp_path, names, concurrency=8, retries=2)
        n_requests = len(fake.requests)
    assert states(found, len(names))["unscored"] == len(names)
    assert all("slow down" in each.reason for each in found.records)
    assert found.n_faults == len(names)
    assert n_requests < 40


@pytest.mark.parametrize(
    ("budget", "n_at_least", "n_over"),
    [
        (Budget(calls=30), 30, 0),
        (Budget(tokens=3300), 30, 3),
        (Budget(money=30 * 3e-4 - 1e-9), 30, 3),
    ],
)
def test_a_spent_budget_stops_and_a_raised_one_goes_on(
    tmp_path: Path, budget: Budget, n_at_least: int, n_over: int
) -> None:
    names = [str(number) for number in range(100)]
    price = Price(input=2.0, output=10.0)
    kept = [Spending()]
    status, body = fakes.says("score 3")
    with fakes.endpoint(lambda request: (status, body | {"usage": USAGE})) as fake:
        settings: dict[str, Any] = {"price": price, "concurrency": 4}
        with pytest.raises(BudgetSpent) as caught:
            run(fake.url, tmp_path, names, keep=kept.append, budget=budget, **settings)
        n_first = len(fake.requests)
        assert n_at_least <= n_first <= n_at_least + n_over
        assert kept[-1].calls == n_first
        assert kept[-1].tokens == n_first * 110
        assert caught.value.exit_code == 75
        with pytest.raises(BudgetSpent):  # the same command again costs nothing
            run(fake.url, tmp_path, names, spent=kept[-1], budget=budget, **settings)
        assert len(fake.requests) == n_first
        found = run(fake.url, tmp_path, names, spent=kept[-1], budget=Budget(), **settings)
        assert len(fake.requests) == len(names)
    assert states(found, len(names))["scored"] == len(names)
    assert found.n_from_cache == n_first


def test_an_endpoint_that_is_not_there_is_a_reason(tmp_path: Path, unused_port: int) -> None:
    found = run(f"http://127.0.0.1:{unused_port}", tmp_path, ["a"], retries=1)
    assert "APIConnectionError" in found.records[0].reason
    with pytest.raises(EndpointError):
        Client("no url")
