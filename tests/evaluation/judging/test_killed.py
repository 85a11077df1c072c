"""Judging that is killed at any moment and started again: nothing is lost, and nothing is asked
twice but what was in flight."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import threading
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from harness.evaluation.cache import Cache
from harness.evaluation.client import Client
from harness.evaluation.judging.ask import Seat
from harness.evaluation.judging.budget import Purse
from harness.evaluation.judging.identity import identify
from harness.evaluation.judging.verdicts import judge
from harness.jsonio import digest, read_json, write_json
from harness.recipe import Judge
from harness.run import write_records
from harness.types import Generation, Item, Message, Spending
from tests import fakes

N_ITEMS = 150
N_KILLS = 10
CONCURRENCY = 4
LATENCY_S = 0.02


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__, "openai.resources.chat.completions"])
"""Processes that need not import the client library each."""


def start(url: str, home: Path) -> BaseProcess:
    process = FORKS.Process(target=judge_now, args=(url, home))
    process.start()
    return process


def ended(process: BaseProcess) -> int | None:
    process.join(60)
    return process.exitcode


def judge_now(url: str, home: Path) -> None:
    asyncio.run(judge_all(url, home))


async def judge_all(url: str, home: Path) -> None:
    """What the process that is killed does."""
    settings = Judge(endpoint=url, model="gpt-x", concurrency=CONCURRENCY)
    items = [
        Item(id=f"{n:012x}", messages=(Message(role="user", content=f"question {n}"),))
        for n in range(N_ITEMS)
    ]
    generations = [
        Generation(
            item_id=item.id,
            role="candidate",
            model="bot@" + "0" * 12,
            state="ok",
            text=f"Answer to {item.id}.",
            n_prompt_tokens=5,
            n_tokens=2,
        )
        for item in items
    ]
    path = home / "spending.json"
    spent = Spending.model_validate(read_json(path)) if path.exists() else Spending()
    purse = Purse(settings.budget, spent, lambda now: write_json(path, now.dump()))
    with Cache(home / "cache.sqlite") as cache:
        async with Client(url, concurrency=CONCURRENCY) as client:
            identity = identify(settings, "gpt-x", "{prompt} score {response}", "there")
            found = await judge(
                items,
                generations,
                [Seat(identity, settings, client, None, 1000)],
                repeats=1,
                cache=cache,
                purse=purse,
                advance=lambda count: None,
            )
    write_records(home / "verdicts.jsonl", found.records)


class Lives:
    """The endpoint's view: what was asked in each life of the process, and when to end it."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.process: BaseProcess | None = None
        self._left = 0
        self._delay_s = 0.0
        self._lock = threading.Lock()

    def begin(self, process: BaseProcess, n_requests: int, delay_s: float) -> None:
        with self._lock:
            self.process, self._left, self._delay_s = process, n_requests, delay_s

    def answer(self, request: dict[str, Any]) -> fakes.Reply:
        text = request["messages"][-1]["content"]
        with self._lock:
            self.asked[-1].append(text)
            self._left -= 1
            is_last = self._left == 0 and self.process is not None
        if is_last:
            threading.Timer(self._delay_s, self._kill).start()
        time.sleep(LATENCY_S)
        status, body = fakes.says(f"Because.\nscore {int(digest(text.encode()), 16) % 5 + 1}")
        return status, body | {"usage": {"prompt_tokens": 7, "completion_tokens": 3}}

    def _kill(self) -> None:
        assert self.process
        self.process.kill()


def test_ten_kills_lose_nothing_and_ask_nothing_twice_but_what_was_in_flight(
    tmp_path: Path,
) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    whole.mkdir()
    resumed.mkdir()
    moments, lives = random.Random(20), Lives()
    with fakes.endpoint(lives.answer) as fake:
        lives.asked.append([])
        assert ended(start(fake.url, whole)) == 0
        assert len(lives.asked.pop()) == N_ITEMS
        for _ in range(N_KILLS):
            lives.asked.append([])
            process = start(fake.url, resumed)
            lives.begin(process, moments.randint(1, 10), moments.uniform(0, LATENCY_S))
            assert ended(process) == -9
            assert not (resumed / "verdicts.jsonl").exists()
        lives.asked.append([])
        lives.process = None
        assert ended(start(fake.url, resumed)) == 0
    verdicts = (resumed / "verdicts.jsonl").read_bytes()
    assert verdicts == (whole / "verdicts.jsonl").read_bytes()
    assert verdicts.count(b'"scored"') == N_ITEMS
    n_twice = 0
    for number, life in enumerate(lives.asked):
        assert max(Counter(life).values()) == 1
        later = {text for other in lives.asked[number + 1 :] for text in other}
        again = later.intersection(life)
        assert len(again) <= CONCURRENCY
        assert again <= set(life[-2 * CONCURRENCY :])
        n_twice += len(again)
    n_requests = sum(map(len, lives.asked))
    assert n_requests == N_ITEMS + n_twice
    assert n_twice > 0, "no kill met a call in flight"
    spent = Spending.model_validate(read_json(resumed / "spending.json"))
    assert n_requests <= spent.calls <= n_requests + N_KILLS * CONCURRENCY
    assert (N_ITEMS - N_KILLS * CONCURRENCY) * 7 <= spent.prompt_tokens <= n_requests * 7
