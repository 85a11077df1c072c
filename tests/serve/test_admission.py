"""Turns: order, fairness, and no trace of those who leave."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable

import pytest

import serve.admission
from serve.admission import PATIENCE_S, Turns
from serve.asgi import Disconnected, Message


class Clock:
    """Time as the test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(serve.admission, "monotonic", clock)
    return clock


class Client:
    """One request: waits for its turn, then stays in the engine until it is let go."""

    def __init__(self, turns: Turns, version: str, entered: list[str]) -> None:
        self.version = version
        self.inside = False
        self._entered = entered
        self._done = asyncio.Event()
        self.gone = asyncio.Event()
        self.task = asyncio.create_task(self._ask(turns))

    async def _ask(self, turns: Turns) -> None:
        with contextlib.suppress(Disconnected):
            async with turns.turn(self.version, self._receive):
                self._entered.append(self.version)
                self.inside = True
                try:
                    await self._done.wait()
                finally:
                    self.inside = False

    async def _receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    def finish(self) -> None:
        if self.inside:
            self._done.set()


class Room:
    """Clients of one Turns, in the order of their entrance."""

    def __init__(self, limit: int) -> None:
        self.turns = Turns(limit)
        self.entered: list[str] = []

    async def ask(self, version: str) -> Client:
        client = Client(self.turns, version, self.entered)
        await settle()
        return client


async def settle() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


def empty(turns: Turns) -> bool:
    return not (turns._running or turns._waiting or turns._queued)


def test_nobody_listens_for_a_client_that_was_called_in() -> None:
    async def scenario() -> None:
        room = Room(1)
        first, second = await room.ask("a"), await room.ask("b")
        first.finish()
        await settle()
        assert second.inside
        assert asyncio.all_tasks() == {asyncio.current_task(), second.task}
        second.finish()

    asyncio.run(scenario())


def test_within_the_limit_nobody_waits(clock: Clock) -> None:
    async def scenario() -> None:
        room = Room(2)
        clients = [await room.ask(version) for version in "abba"]
        assert room.entered == list("abba")
        for client in clients:
            client.finish()
        await settle()
        assert empty(room.turns)

    asyncio.run(scenario())


def test_a_newcomer_waits_and_a_patient_one_is_overtaken(clock: Clock) -> None:
    async def scenario() -> None:
        room = Room(1)
        first = await room.ask("hot")
        await room.ask("rare")
        clock.now += PATIENCE_S / 2
        second = await room.ask("hot")
        assert room.entered == ["hot", "hot"]
        first.finish()
        await settle()
        assert room.entered == ["hot", "hot"]
        second.finish()
        await settle()
        assert room.entered == ["hot", "hot", "rare"]

    asyncio.run(scenario())


def test_nobody_overtakes_the_impatient(clock: Clock) -> None:
    async def scenario() -> None:
        room = Room(1)
        running = await room.ask("hot")
        rare = await room.ask("rare")
        clock.now += PATIENCE_S
        await room.ask("hot")
        assert room.entered == ["hot"]
        running.finish()
        await settle()
        assert room.entered == ["hot", "rare"]
        rare.finish()
        await settle()
        assert room.entered == ["hot", "rare", "hot"]

    asyncio.run(scenario())


def test_those_who_wait_are_served_in_order_and_one_version_together(clock: Clock) -> None:
    async def scenario() -> None:
        room = Room(1)
        running = await room.ask("a")
        waiting = [await room.ask(version) for version in "bbcb"]
        running.finish()
        await settle()
        assert room.entered == list("abb")
        newcomer = await room.ask("b")  # c is patient, but another b waits longer
        assert not newcomer.inside
        for client in waiting[:2]:
            client.finish()
        await settle()
        assert room.entered == list("abbc")
        waiting[2].finish()
        await settle()
        assert room.entered == list("abbcbb")

    asyncio.run(scenario())


@pytest.mark.parametrize("leave", ["departure", "cancellation"])
def test_whoever_leaves_the_queue_lets_the_next_in(clock: Clock, leave: str) -> None:
    async def scenario() -> None:
        room = Room(1)
        await room.ask("hot")
        rare = await room.ask("rare")
        clock.now += PATIENCE_S
        hot = await room.ask("hot")
        assert not hot.inside
        if leave == "departure":
            rare.gone.set()
        else:
            rare.task.cancel()
        await settle()
        assert hot.inside
        assert rare.task.done()
        assert rare.task.cancelled() == (leave == "cancellation")
        assert room.entered == ["hot", "hot"]

    asyncio.run(scenario())


def test_one_called_in_while_it_is_cancelled_gives_its_turn_back(clock: Clock) -> None:
    async def scenario() -> None:
        room = Room(1)
        running = await room.ask("hot")
        rare = await room.ask("rare")
        running.finish()
        await asyncio.sleep(0)  # the turn is given, its owner has not seen it yet
        assert not rare.inside
        rare.task.cancel()
        await settle()
        assert not rare.inside
        assert empty(room.turns)

    asyncio.run(scenario())


def test_an_exception_within_gives_the_turn_back() -> None:
    async def scenario() -> None:
        turns = Turns(1)

        async def receive() -> Message:
            raise AssertionError("nobody waits")

        with pytest.raises(ValueError, match="mine"):
            async with turns.turn("a", receive):
                raise ValueError("mine")
        assert empty(turns)

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(8))
def test_any_schedule_keeps_the_limit_and_serves_everybody(clock: Clock, seed: int) -> None:
    rng = random.Random(seed)
    limit = rng.randint(1, 4)

    async def scenario() -> None:
        room = Room(limit)
        clients: list[Client] = []
        for _ in range(1500):
            await step(rng, room, clients, clock)
            inside = Counter(client.version for client in clients if client.inside)
            assert len(inside) <= limit
            assert room.turns._running == inside
            waiting = sum(not each.inside and not each.task.done() for each in clients)
            assert len(room.turns._waiting) == waiting
            if waiting:
                assert len(inside) == limit  # work conserving
        while clients:
            assert any(client.inside for client in clients)  # no wake-up is ever lost
            for client in clients:
                client.finish()
            await settle()
            clients = [client for client in clients if not client.task.done()]
        assert empty(room.turns)

    asyncio.run(scenario())


async def step(rng: random.Random, room: Room, clients: list[Client], clock: Clock) -> None:
    """One thing that can happen, and the rule that nobody overtakes an impatient head."""
    head = next(iter(room.turns._waiting.values()), None)
    impatient = head is not None and clock.now - head.since >= PATIENCE_S
    n_entered = len(room.entered)
    action: Callable[[Client], object] = rng.choices(
        [Client.finish, lambda each: each.gone.set(), lambda each: each.task.cancel()],
        weights=[8, 1, 1],
    )[0]
    if rng.random() < 0.5 or not clients:
        clients.append(await room.ask(rng.choice("aaaabbcdefg")))
    else:
        action(rng.choice(clients))
        await settle()
    clock.now += rng.choice([0, 0, PATIENCE_S / 3, PATIENCE_S])
    clients[:] = [client for client in clients if not client.task.done()]
    entered = room.entered[n_entered:]
    if impatient and head is not None and entered and head in room.turns._waiting.values():
        raise AssertionError(f"{entered} overtook {head}")
