"""Traffic through an alias while it moves: did every request get an answer, from a version that
the alias meant, with that version's own words?

Knows how to ask and how to judge answers; not what is asked: one server, several engines, or
replicas behind a load balancer. Used by test_flip.py for seconds and by benchmarks/flip.py for
minutes.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import httpx

QUESTION = "What is a cat?"
MAX_TOKENS = 8
STREAMED_OF_TEN = 3
MANY_CLIENTS = 16
FLIP_S = 1.0
TIMEOUT_S = 60.0


class Plan(NamedTuple):
    """What is asked, and how the alias moves while it is asked."""

    alias: str
    says: Mapping[str, str]
    """Version → its answer. The alias goes through them in this order, around and around; it
    points at the last one when the traffic begins."""
    move: Callable[[str], object]
    """Point the alias at a version; returns when every replica has been seen to know."""
    seconds: float
    every_s: float = FLIP_S
    n_clients: int = MANY_CLIENTS
    meanwhile: Callable[[], object] = lambda: None
    """Done once, beside the traffic, which goes on until it has returned."""


class Outcome(NamedTuple):
    """What happened. `errors`, `wrong` and `stale` hold a line for each such request."""

    n_requests: int
    n_streamed: int
    n_flips: int
    errors: tuple[str, ...]
    """No complete answer: a status other than 200, a connection that broke, a stream that ended
    early."""
    wrong: tuple[str, ...]
    """Words of another version than the one named, or two names in one answer."""
    stale: tuple[str, ...]
    """Answered by a version that the alias did not mean at any moment of the request."""
    answered: Mapping[str, int]
    """Version → complete answers."""
    latencies_s: tuple[float, ...]
    """Of complete answers, sorted."""

    @property
    def flawless(self) -> bool:
        return not (self.errors or self.wrong or self.stale)

    def latency_s(self, share: float) -> float:
        """The latency that `share` of the complete answers do not exceed."""
        return self.latencies_s[max(0, math.ceil(share * len(self.latencies_s)) - 1)]


class _Answer(NamedTuple):
    header: str
    """The version that the x-harness-version header names."""
    models: frozenset[str]
    """The names in the body, or in all the chunks of a stream."""
    text: str


class _Failed(Exception):
    """A request without a complete answer."""


class _Moves:
    """When the alias began and ended to mean what."""

    def __init__(self, first: str) -> None:
        self._began = [(0.0, first)]
        self._ended = [0.0]

    def begin(self, version: str) -> None:
        self._began.append((time.monotonic(), version))

    def end(self) -> None:
        self._ended.append(time.monotonic())

    def meant(self, started: float, ended: float) -> set[str]:
        """What the alias meant at any moment from `started` to `ended`: the last move that was
        complete before, and every one that overlaps."""
        last = max(place for place, end in enumerate(self._ended) if end <= started)
        return {version for began, version in self._began[last:] if began <= ended}

    def __len__(self) -> int:
        return len(self._ended) - 1


class _Tally:
    """The lists of an Outcome, while they grow."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.moves = _Moves([*plan.says][-1])
        self.errors, self.wrong, self.stale = list[str](), list[str](), list[str]()
        self.latencies_s = list[float]()
        self.answered = dict.fromkeys(plan.says, 0)
        self.n_requests = self.n_streamed = 0

    def judge(self, answer: _Answer, started: float, ended: float) -> None:
        version = answer.header
        self.latencies_s.append(ended - started)
        self.answered[version] = self.answered.get(version, 0) + 1
        if answer.models != {version}:
            self.wrong.append(f"{version} in the header, {sorted(answer.models)} in the body")
        if answer.text != self.plan.says.get(version):
            self.wrong.append(f"{version} said {answer.text!r}")
        meant = self.moves.meant(started, ended)
        if version not in meant:
            self.stale.append(f"{version} answered, {sorted(meant)} was meant")

    def outcome(self) -> Outcome:
        return Outcome(
            n_requests=self.n_requests,
            n_streamed=self.n_streamed,
            n_flips=len(self.moves),
            errors=tuple(self.errors),
            wrong=tuple(self.wrong),
            stale=tuple(self.stale),
            answered=self.answered,
            latencies_s=tuple(sorted(self.latencies_s)),
        )


def run(base_url: str, plan: Plan) -> Outcome:
    """Ask through the alias for the plan's seconds while it moves."""
    return asyncio.run(_run(base_url, plan))


def answers(base_url: str, versions: Sequence[str]) -> dict[str, str]:
    """What each version says, asked for by its own name and alone."""

    async def ask_all() -> dict[str, str]:
        async with _client(base_url) as client:
            return {version: (await _ask(client, version)).text for version in versions}

    return asyncio.run(ask_all())


async def _run(base_url: str, plan: Plan) -> Outcome:
    tally, stop = _Tally(plan), asyncio.Event()
    clients = [_keep_asking(base_url, tally, stop, place) for place in range(plan.n_clients)]
    tasks = [asyncio.create_task(each) for each in (*clients, _keep_flipping(tally, stop))]
    try:
        await asyncio.gather(asyncio.sleep(plan.seconds), asyncio.to_thread(plan.meanwhile))
    finally:
        stop.set()
        await asyncio.gather(*tasks)
    return tally.outcome()


async def _keep_flipping(tally: _Tally, stop: asyncio.Event) -> None:
    targets = itertools.cycle(tally.plan.says)
    while not await _set_within(stop, tally.plan.every_s):
        target = next(targets)
        tally.moves.begin(target)
        await asyncio.to_thread(tally.plan.move, target)
        tally.moves.end()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def _keep_asking(base_url: str, tally: _Tally, stop: asyncio.Event, place: int) -> None:
    async with _client(base_url) as client:
        for number in itertools.count(place):
            if stop.is_set():
                return
            streamed = number % 10 < STREAMED_OF_TEN
            tally.n_requests += 1
            tally.n_streamed += streamed
            started = time.monotonic()
            try:
                ask = _ask_streamed if streamed else _ask
                answer = await ask(client, tally.plan.alias)
            except (httpx.HTTPError, _Failed) as error:
                tally.errors.append(f"{'stream: ' if streamed else ''}{error!r}"[:400])
                continue
            tally.judge(answer, started, time.monotonic())


def _client(base_url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=base_url, timeout=TIMEOUT_S, trust_env=False)


def _body(model: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": QUESTION}]
    body = {"model": model, "messages": messages, "max_tokens": MAX_TOKENS, "temperature": 0}
    return body | fields


async def _ask(client: httpx.AsyncClient, model: str) -> _Answer:
    answer = await client.post("/v1/chat/completions", json=_body(model))
    if answer.status_code != 200:
        raise _Failed(f"{answer.status_code} {answer.text}")
    body = answer.json()
    text = body["choices"][0]["message"]["content"] or ""
    return _Answer(answer.headers["x-harness-version"], frozenset({body["model"]}), text)


async def _ask_streamed(client: httpx.AsyncClient, model: str) -> _Answer:
    body, models, text = _body(model, stream=True), set[str](), ""
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        if answer.status_code != 200:
            raise _Failed(f"{answer.status_code} {(await answer.aread()).decode()}")
        async for line in answer.aiter_lines():
            data = line.removeprefix("data: ")
            if data == "[DONE]":
                return _Answer(answer.headers["x-harness-version"], frozenset(models), text)
            if data:
                chunk = json.loads(data)
                models.add(str(chunk.get("model", chunk)))
                for choice in chunk.get("choices", ()):
                    text += choice["delta"].get("content") or ""
    raise _Failed(f"the stream ended after {text!r}")
